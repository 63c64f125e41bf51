import { Buffer } from "node:buffer";
import { KvError } from "../core/errors.ts";
import { LATE, within } from "../core/within.ts";
import { unavailable } from "./failures.ts";
import { errnoOf, failureOf, isContention } from "./mysql-errors.ts";
import type { Parameter, Result, Row, Run, Statement } from "./mysql-sql.ts";
import type { MysqlDatabase } from "./mysql-write.ts";

/** What is used of a pool of `mysql2/promise`. */
export interface MysqlPoolLike {
  getConnection(): Promise<MysqlConnectionLike>;
  end(): Promise<unknown>;
}

export interface MysqlConnectionLike {
  execute(sql: string, values: Parameter[]): Promise<[unknown, ...unknown[]]>;
  query(sql: string, values: Parameter[]): Promise<[unknown, ...unknown[]]>;
  release(): void;
  destroy(): void;
  /** The connection itself, of which each use of the pool makes a wrapper. */
  readonly connection: object;
}

/** What is used of the connection itself. */
interface Core {
  on?(event: "error", listener: () => void): unknown;
  once?(event: "end", listener: () => void): unknown;
  stream?: { destroy?(): unknown };
}

export interface MysqlPool extends MysqlDatabase {
  /** A connection until its `release`, which ends it where a statement has failed for another reason than contention. */
  reserve(): Promise<{ run: Run; release(): void }>;
  close(): Promise<void>;
}

/** How long to wait for a connection, and for the answer to a statement. */
export const CONNECT_MS = 5000;
const ANSWER_MS = 10_000;
const CLOSE_MS = 2000;

/** What a session must be like: nothing is cut silently, each statement commits, no wait is longer than the callers'. */
const SETTINGS = [
  `SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', autocommit = 1,
    innodb_lock_wait_timeout = 5, lock_wait_timeout = 5`,
  // Without the locks of gaps, which make writers of different keys wait for each other.
  "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
];

/** A pool whose connections are set up before their first use, and thrown away where they did not answer. */
export function mysqlPool(make: () => MysqlPoolLike | Promise<MysqlPoolLike>, own: boolean): MysqlPool {
  const ready = new WeakSet<object>();
  const cores = new Set<Core>();
  let making: Promise<MysqlPoolLike> | undefined;
  let packet = Number.POSITIVE_INFINITY;

  function pool(): Promise<MysqlPoolLike> {
    making ??= Promise.resolve(make()).catch((error) => {
      making = undefined;
      throw error;
    });
    return making;
  }

  async function acquire(): Promise<MysqlConnectionLike> {
    const source = await pool();
    const waiting = source.getConnection();
    const connection = await within(CONNECT_MS, waiting).catch((error) => {
      throw unavailable(error);
    });
    if (connection === LATE) {
      waiting.then((late) => late.release()).catch(() => {});
      throw new KvError("unavailable", `The database gave no connection in ${CONNECT_MS / 1000} s`);
    }
    if (!ready.has(connection.connection)) await prepare(connection);
    return connection;
  }

  async function prepare(connection: MysqlConnectionLike): Promise<void> {
    const core: Core = connection.connection;
    // Without a listener an error of an idle connection would end the process.
    core.on?.("error", () => cores.delete(core));
    core.once?.("end", () => cores.delete(core));
    cores.add(core);
    try {
      for (const sql of SETTINGS) await ask(connection, { sql, values: [] });
      const { rows } = await ask(connection, { sql: "SELECT @@max_allowed_packet AS packet", values: [] });
      packet = Number(rows[0]?.packet);
    } catch (error) {
      destroy(connection);
      throw error;
    }
    ready.add(core);
  }

  function destroy(connection: MysqlConnectionLike): void {
    connection.destroy();
    const core: Core = connection.connection;
    cores.delete(core);
    // The driver only closes its half, which a server that has stopped never answers.
    core.stream?.destroy?.();
  }

  async function reserve(): Promise<{ run: Run; release(): void }> {
    const connection = await acquire();
    let broken = false;
    return {
      async run(statement) {
        if (broken) throw unavailable(new Error("A statement before this one failed"));
        try {
          return await ask(connection, statement);
        } catch (error) {
          broken ||= !isContention(error);
          throw error;
        }
      },
      release: () => (broken ? destroy(connection) : connection.release()),
    };
  }

  async function session<T>(work: (run: Run) => Promise<T>): Promise<T> {
    const { run, release } = await reserve();
    try {
      return await work(run);
    } finally {
      release();
    }
  }

  return {
    run: (statement) => session((run) => run(statement)),
    session,
    reserve,
    packet: () => packet,
    insertIds: true,
    async close() {
      const source = own ? await making?.catch(() => undefined) : undefined;
      if (
        source === undefined ||
        (await within(
          CLOSE_MS,
          source.end().catch(() => {}),
        )) !== LATE
      )
        return;
      for (const core of cores) core.stream?.destroy?.();
    },
  };
}

/** What the server answers to a statement. */
async function ask(connection: MysqlConnectionLike, statement: Statement): Promise<Result> {
  const { sql, prepared = false, commits = false } = statement;
  const values = statement.values.map((value) => (value instanceof Uint8Array ? bufferOf(value) : value));
  let answer: [unknown, ...unknown[]] | typeof LATE;
  try {
    answer = await within(ANSWER_MS, prepared ? connection.execute(sql, values) : connection.query(sql, values));
  } catch (error) {
    const { code, fatal } = error as { code?: unknown; fatal?: unknown };
    const lost = errnoOf(error) === undefined && (fatal === true || typeof code === "string");
    throw lost ? unavailable(error, commits) : failureOf(error, commits);
  }
  if (answer === LATE) throw unavailable(new Error(`No answer in ${ANSWER_MS / 1000} s`), commits);
  const [result] = answer;
  if (Array.isArray(result)) return { rows: result.map(rowOf), affectedRows: 0, insertId: 0 };
  const { affectedRows, insertId } = result as { affectedRows: number; insertId: number };
  return { rows: [], affectedRows, insertId: Number(insertId) };
}

/** The same bytes as the driver knows them: it sends another kind of array as text. */
function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A row with plain arrays of bytes: `slice` of a Buffer does not copy. */
function rowOf(row: Record<string, unknown>): Row {
  for (const [name, value] of Object.entries(row)) {
    if (Buffer.isBuffer(value)) row[name] = new Uint8Array(value.buffer, value.byteOffset, value.length);
  }
  return row;
}
