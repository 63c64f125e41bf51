/**
 * A server of Hrana 2 over HTTP (JSON) on one SQLite file, as much of it as `@libsql/client` asks for: what Debian and npm
 * have no server of. Error codes, messages and limits are those of libsql-server with its defaults.
 *
 *     node libsql-hrana.ts <file> <port> <token>
 *
 * `POST /test/refuse?on=1` refuses the token from then on, `POST /test/cut` ends every connection, `GET /test/requests`
 * counts the pipelines so far.
 *
 * @see https://github.com/tursodatabase/libsql/blob/main/docs/HRANA_2_SPEC.md
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { argv } from "node:process";
import { DatabaseSync } from "node:sqlite";

const [, , path, port, token] = argv as [string, string, string, string, string];

/** `max_row_size` and `--max-response-size`. */
const ROW_BYTES = 5_000_000;
const RESPONSE_BYTES = 10_000_000;

type Value =
  | { type: "null" }
  | { type: "integer" | "text"; value: string }
  | { type: "float"; value: number }
  | { type: "blob"; base64: string };

interface Stmt {
  sql?: string;
  sql_id?: number;
  args?: Value[];
}

type Cond = { type: "ok"; step: number } | { type: "not"; cond: Cond };

type Request =
  | { type: "execute"; stmt: Stmt }
  | { type: "batch"; batch: { steps: { stmt: Stmt; condition?: Cond }[] } }
  | { type: "store_sql"; sql_id: number; sql: string }
  | { type: "close_sql" | "close" };

class StepError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

const database = new DatabaseSync(path);
database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");

const CODES: Readonly<Record<number, string>> = {
  5: "SQLITE_BUSY",
  8: "SQLITE_READONLY",
  13: "SQLITE_FULL",
  18: "SQLITE_TOOBIG",
  19: "SQLITE_CONSTRAINT",
};

function stepError(error: unknown, phase: "prepare" | "step"): StepError {
  const { errcode, message } = error as { errcode?: number; message: string };
  if (phase === "prepare") return new StepError("SQL_INPUT_ERROR", `SQL input error: ${message} (at offset 0)`);
  return new StepError(CODES[(errcode ?? 1) & 0xff] ?? "SQLITE_UNKNOWN", `SQLite error: ${message}`);
}

function argument(value: Value): null | number | bigint | string | Uint8Array {
  if (value.type === "null") return null;
  if (value.type === "integer") return BigInt(value.value);
  if (value.type === "blob") return Buffer.from(value.base64, "base64");
  return value.value;
}

function result(value: unknown): Value {
  if (value === null) return { type: "null" };
  if (typeof value === "bigint") return { type: "integer", value: `${value}` };
  if (typeof value === "number") return { type: "float", value };
  if (typeof value === "string") return { type: "text", value };
  return {
    type: "blob",
    base64: Buffer.from(value as Uint8Array)
      .toString("base64")
      .replace(/=+$/, ""),
  };
}

function run(stmt: Stmt, sqls: ReadonlyMap<number, string>) {
  const sql = stmt.sql ?? (sqls.get(stmt.sql_id as number) as string);
  const args = (stmt.args ?? []).map(argument);
  const bytes = args.reduce((sum: number, arg) => sum + (typeof arg === "string" ? Buffer.byteLength(arg) : 0), 0);
  if (bytes > ROW_BYTES) throw new StepError("SQLITE_TOOBIG", "SQLite error: string or blob too big");
  let statement: ReturnType<DatabaseSync["prepare"]>;
  try {
    statement = database.prepare(sql);
  } catch (error) {
    throw stepError(error, "prepare");
  }
  statement.setReadBigInts(true);
  statement.setReturnArrays(true);
  try {
    const cols = statement.columns().map(({ name, type }) => ({ name, decltype: type }));
    if (cols.length === 0) {
      const { changes } = statement.run(...args);
      return { cols, rows: [], affected_row_count: Number(changes), last_insert_rowid: "0" };
    }
    const rows = (statement.all(...args) as unknown as unknown[][]).map((row) => row.map(result));
    const total = JSON.stringify(rows).length;
    if (total > RESPONSE_BYTES) throw new StepError("RESPONSE_TOO_LARGE", "Response is too large");
    return { cols, rows, affected_row_count: 0, last_insert_rowid: null };
  } catch (error) {
    throw error instanceof StepError ? error : stepError(error, "step");
  }
}

function batch(steps: { stmt: Stmt; condition?: Cond }[], sqls: ReadonlyMap<number, string>) {
  const results: unknown[] = [];
  const errors: unknown[] = [];
  const holds = (cond: Cond): boolean => {
    return cond.type === "ok" ? results[cond.step] != null : !holds(cond.cond);
  };
  for (const [index, { stmt, condition }] of steps.entries()) {
    results[index] = null;
    errors[index] = null;
    if (condition !== undefined && !holds(condition)) continue;
    try {
      results[index] = run(stmt, sqls);
    } catch (error) {
      errors[index] = { message: (error as Error).message, code: (error as StepError).code };
    }
  }
  return { step_results: results, step_errors: errors };
}

function answer(request: Request, sqls: Map<number, string>): unknown {
  const { type } = request;
  try {
    if (type === "execute") return ok({ type, result: run(request.stmt, sqls) });
    if (type === "batch") return ok({ type, result: batch(request.batch.steps, sqls) });
    if (type === "store_sql") sqls.set(request.sql_id, request.sql);
    return ok({ type });
  } catch (error) {
    return { type: "error", error: { message: (error as Error).message, code: (error as StepError).code } };
  }
}

const ok = (response: unknown) => ({ type: "ok", response });

let refused = false;
let requests = 0;

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const reply = (status: number, body: unknown) => {
    response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
  };
  const url = new URL(request.url ?? "/", "http://localhost");
  if (url.pathname === "/test/requests") return reply(200, requests);
  if (url.pathname === "/test/refuse") {
    refused = url.searchParams.get("on") === "1";
    return reply(200, null);
  }
  if (url.pathname === "/test/cut") {
    reply(200, null);
    setTimeout(() => server.closeAllConnections(), 5);
    return;
  }
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  if (refused || request.headers.authorization !== `Bearer ${token}`) {
    return reply(401, { error: "Unauthorized: `The JWT is invalid`" });
  }
  if (url.pathname !== "/v2/pipeline") return reply(404, { error: "Not found" });
  requests += 1;
  const { baton, requests: asked } = JSON.parse(Buffer.concat(chunks).toString()) as {
    baton?: string;
    requests: Request[];
  };
  if (baton || asked.at(-1)?.type !== "close") return reply(501, { error: "This server keeps no streams" });
  const sqls = new Map<number, string>();
  const results = asked.map((one) => answer(one, sqls));
  if (database.isTransaction) database.exec("ROLLBACK");
  reply(200, { baton: null, base_url: null, results });
}

const server = createServer((request, response) => void handle(request, response).catch(() => response.destroy()));
server.listen(Number(port), "127.0.0.1");
