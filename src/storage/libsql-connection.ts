import { KvError } from "../core/errors.ts";
import { LATE, within } from "../core/within.ts";
import { missingDriver } from "./driver.ts";
import { OUTCOME_UNKNOWN, unavailable } from "./failures.ts";
import type { Row, SqliteConnection, Statement } from "./sqlite-batch.ts";

/** What is used of a client of `@libsql/client`. */
export interface LibsqlClientLike {
  /** `file` where the database is a file of this machine. */
  readonly protocol: string;
  execute(statement: LibsqlStatement): Promise<{ rows: readonly unknown[] }>;
  batch(statements: LibsqlStatement[], mode: "write"): Promise<{ rows: readonly unknown[] }[]>;
  transaction(mode: "deferred"): Promise<LibsqlTransactionLike>;
  close(): void;
}

export interface LibsqlStatement {
  sql: string;
  args: (string | number | null)[];
}

export interface LibsqlTransactionLike {
  execute(statement: LibsqlStatement): Promise<{ rows: readonly unknown[] }>;
  close(): void;
}

/** How long one call of the driver may take: the store has a deadline of its own above. */
const CALL_MS = 10_000;
/** How long to wait for other writers' locks. Of that, a file's driver stops the process for the first at a time. */
const BUSY_FILE_MS = 100;
const BUSY_RETRY_MS = 10;
const BUSY_DEADLINE_MS = 4000;
/** How many calls to a server may be under way: enough that requests which hang leave room for others. */
const CONCURRENCY = 256;
/** Of calls to a file each has a connection of its own, and more than a few only wait for each other's locks. */
const CONCURRENCY_FILE = 4;

export function isFileUrl(url: string): boolean {
  return /^file:/i.test(url);
}

/** A client of our own, with a deadline on each request. The web build needs no native part and runs everywhere. */
export async function openClient(url: string, authToken: string | undefined): Promise<LibsqlClientLike> {
  const given = { url, ...(authToken !== undefined && { authToken }) };
  if (isFileUrl(url)) {
    const { createClient } = await import("@libsql/client").catch(missingDriver("@libsql/client"));
    const client = createClient({ ...given, timeout: BUSY_FILE_MS, concurrency: CONCURRENCY_FILE });
    try {
      await attempt("", () => client.execute("PRAGMA journal_mode = WAL"));
      return client;
    } catch (error) {
      client.close();
      throw error;
    }
  }
  const { createClient } = await import("@libsql/client/web").catch(missingDriver("@libsql/client"));
  const timed = (request: Request) => fetch(request, { signal: AbortSignal.timeout(CALL_MS) });
  return createClient({ ...given, fetch: timed, concurrency: CONCURRENCY });
}

/** A connection over a client of the caller's, or over one that is made for the first call and closed with it. */
export function connectionOf(
  client: LibsqlClientLike | (() => Promise<LibsqlClientLike>),
  snapshot: boolean,
): SqliteConnection {
  let opening: Promise<LibsqlClientLike> | undefined;

  async function opened(): Promise<LibsqlClientLike> {
    if (typeof client !== "function") return client;
    opening ??= client().catch((error) => {
      opening = undefined;
      // A `TypeError` says that the driver is missing or that the URL is none.
      throw error instanceof TypeError ? error : failureOf(error, "");
    });
    return opening;
  }

  return {
    async read(statement) {
      const driver = await opened();
      return attempt("", async () => rowsOf(await driver.execute(asArgs(statement))));
    },
    async write(statements) {
      const driver = await opened();
      const [first, ...others] = statements.map(asArgs);
      if (first === undefined) return [];
      return attempt(OUTCOME_UNKNOWN, async () => {
        if (others.length === 0) return [rowsOf(await driver.execute(first))];
        return (await driver.batch([first, ...others], "write")).map(rowsOf);
      });
    },
    ...(snapshot && {
      async snapshot() {
        await opened();
        // It holds its connection for as long as a walk lasts: one of its own, so that the others go on.
        const own = typeof client === "function" ? await client() : client;
        const view = await attempt("", () => own.transaction("deferred")).catch((error) => {
          if (own !== client) own.close();
          throw error;
        });
        const read = (statement: Statement) => attempt("", async () => rowsOf(await view.execute(asArgs(statement))));
        // The moment is that of the first read.
        await read({ sql: "SELECT 1 FROM workertown_kv LIMIT 1", parameters: [] });
        const close = () => {
          view.close();
          if (own !== client) own.close();
        };
        return { read, close };
      },
    }),
    ...(typeof client === "function" && {
      close: async () => (await opening?.catch(() => undefined))?.close(),
    }),
  };
}

function asArgs({ sql, parameters }: Statement): LibsqlStatement {
  return { sql, args: [...parameters] };
}

function rowsOf({ rows }: { rows: readonly unknown[] }): readonly Row[] {
  return rows as readonly Row[];
}

/** A step within its deadline, made again while others hold the lock; its failures as the store knows them. */
async function attempt<T>(unknown: string, step: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + BUSY_DEADLINE_MS;
  for (;;) {
    try {
      const result = await within(CALL_MS, step());
      if (result !== LATE) return result;
      throw new KvError("unavailable", `The database did not answer in ${CALL_MS / 1000} s${unknown}`);
    } catch (error) {
      if (!isBusy(error) || performance.now() > deadline) throw failureOf(error, unknown);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * BUSY_RETRY_MS));
    }
  }
}

interface DriverError {
  code?: unknown;
  cause?: { code?: unknown; status?: unknown };
}

function isBusy(error: unknown): boolean {
  const { code } = error as DriverError;
  return code === "SQLITE_BUSY" || code === "TRANSACTION_BUSY";
}

/** The codes of what was wrong with a statement, which is a fault of ours or what a guard is there for. */
const REFUSED =
  /^(SQLITE_(ERROR|UNKNOWN|INTERNAL|CONSTRAINT|MISMATCH|MISUSE|RANGE|AUTH|SCHEMA)|SQL_[A-Z_]+|ARGS_[A-Z_]+|URL_[A-Z_]+)$/;
/** The codes of what failed before anything was done, or was undone whole. */
const UNDONE =
  /^(SQLITE_(?!IOERR)[A-Z]+|TRANSACTION_[A-Z]+|BLOCKED|CLIENT_CLOSED|ECONNREFUSED|ENOTFOUND|EAI_AGAIN|UND_ERR_CONNECT_TIMEOUT)$/;

/** The error as the store knows it, or itself where the statement was refused. */
function failureOf(error: unknown, unknown: string): unknown {
  if (error instanceof KvError) return error;
  const { code, cause } = error as DriverError;
  if (typeof code === "string" && REFUSED.test(code)) return error;
  if (code === "SQLITE_FULL")
    return new KvError("storage_full", "The disk is full; nothing was changed", { cause: error });
  if (code === "SQLITE_TOOBIG" || cause?.status === 413) {
    return new KvError("too_large", "The entry is larger than the database takes; nothing was changed", {
      cause: error,
    });
  }
  const status = typeof cause?.status === "number" ? cause.status : 500;
  const undone = status < 500 || [code, cause?.code].some((known) => typeof known === "string" && UNDONE.test(known));
  return unavailable(error, !undone && unknown !== "");
}
