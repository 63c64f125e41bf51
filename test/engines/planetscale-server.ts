/** The HTTP interface of PlanetScale as its client knows it, in front of a real MariaDB. It is ours, and not Vitess. */
import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import mysql, { type FieldPacket, type Pool, type PoolConnection, type ResultSetHeader } from "mysql2/promise";
import { planetscaleStorage } from "../../src/storage/planetscale.ts";
import type { Engine } from "./engine.ts";
import { type Mysql, startMysql } from "./mysql-server.ts";

export { missing } from "./mysql-server.ts";

export interface Planetscale extends Engine {
  url: string;
  secret: string;
  mysql: Mysql;
  /** The statements that came, for as long as the test does not empty the list. */
  statements: string[];
  /** What to answer instead of asking the database. */
  answer: ((query: string) => { status: number; body: unknown } | undefined) | undefined;
  refuse(refused: boolean): Promise<void>;
}

/** Names of PlanetScale for MySQL's numbers of types; all others are BLOB here. */
const TYPES: Readonly<Record<number, string>> = { 3: "INT32", 8: "INT64", 246: "DECIMAL", 253: "VARBINARY", 6: "NULL" };

export async function startPlanetscale(): Promise<Planetscale> {
  const database = await startMysql();
  const secret = randomBytes(12).toString("hex");
  const sessions = new Map<string, PoolConnection>();
  let pool: Pool;
  let refused = false;
  let port = 0;

  async function execute(query: string, id: string | undefined): Promise<object> {
    const known = id === undefined ? undefined : sessions.get(id);
    const connection = known ?? (await pool.getConnection());
    const session = id ?? randomBytes(8).toString("hex");
    if (/^START TRANSACTION/.test(query)) sessions.set(session, connection);
    const ends = !sessions.has(session) || /^(COMMIT|ROLLBACK)/.test(query);
    try {
      const [result, fields] = await connection.query({
        sql: query,
        rowsAsArray: true,
        typeCast: (field) => field.buffer(),
      });
      return { session: { id: session }, result: resultOf(result as unknown as Rows, fields) };
    } catch (error) {
      const { errno, message } = error as { errno?: number; message: string };
      const text = `target: kv.-.primary: vttablet: rpc error: code = Unknown desc = ${message} (errno ${errno}) (sqlstate HY000)`;
      return { session: { id: session }, error: { code: "UNKNOWN", message: text } };
    } finally {
      if (ends) {
        sessions.delete(session);
        connection.release();
      }
    }
  }

  const server = createServer(async (request, response) => {
    const answer = (status: number, body: unknown) => {
      response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
    };
    const { query, session } = JSON.parse(await textOf(request)) as { query: string; session?: { id: string } };
    const expected = `Basic ${btoa(`kv:${secret}`)}`;
    if (refused || request.headers.authorization !== expected) {
      return answer(401, { error: { code: "unauthenticated", message: "Invalid username or password" } });
    }
    engine.statements.push(query);
    const given = engine.answer?.(query);
    answer(given?.status ?? 200, given?.body ?? (await execute(query, session?.id)));
  });

  const listen = () => new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const connect = () => {
    pool = mysql.createPool({ uri: database.url, connectionLimit: 64 });
  };
  connect();
  await listen();
  port = (server.address() as AddressInfo).port;
  const url = `http://kv:${secret}@127.0.0.1:${port}`;

  const engine: Planetscale = {
    url,
    secret,
    mysql: database,
    statements: [],
    answer: undefined,
    open: (namespace) => planetscaleStorage({ url, namespace }),
    async kill() {
      server.close();
      server.closeAllConnections();
      await database.kill();
      sessions.clear();
    },
    async start() {
      await database.start();
      connect();
      await listen();
    },
    pause: database.pause,
    resume: database.resume,
    async cut() {
      server.closeAllConnections();
      await database.cut();
    },
    async refuse(now) {
      refused = now;
    },
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await database[Symbol.asyncDispose]();
    },
  };
  return engine;
}

type Rows = (Buffer | null)[][] | ResultSetHeader;

function resultOf(result: Rows, fields: FieldPacket[]): object {
  if (!Array.isArray(result)) {
    return { rowsAffected: `${result.affectedRows}`, insertId: `${result.insertId}` };
  }
  return {
    fields: fields.map(({ name, columnType, characterSet }) => {
      return { name, type: TYPES[columnType ?? 0] ?? "BLOB", charset: characterSet };
    }),
    rows: result.map((row) => ({
      lengths: row.map((column) => `${column?.length ?? -1}`),
      values: Buffer.concat(row.flatMap((column) => column ?? [])).toString("base64"),
    })),
  };
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
