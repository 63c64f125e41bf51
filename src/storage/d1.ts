import { KvError } from "../core/errors.ts";
import { LATE, within } from "../core/within.ts";
import type { StorageAdapter } from "./adapter.ts";
import { OUTCOME_UNKNOWN } from "./failures.ts";
import { type Row, type SqliteConnection, type Statement, sqliteBatchStorage } from "./sqlite-batch.ts";

/** What is used of a D1 binding. */
export interface D1DatabaseLike {
  prepare(sql: string): D1StatementLike;
  batch(statements: D1StatementLike[]): Promise<{ results: unknown[] }[]>;
}

export interface D1StatementLike {
  bind(...values: unknown[]): D1StatementLike;
  all(): Promise<{ results: unknown[] }>;
}

export interface D1StorageOptions {
  /** Adapters with different namespaces see nothing of each other in one database. Default `default`. */
  namespace?: string;
}

/** How long one call of the binding may take: the store has a deadline of its own above. */
const CALL_MS = 10_000;

/**
 * Storage in a Cloudflare D1 database, by its binding. Strongly consistent, with conditions and atomic batches of 1,000
 * operations and 10 MB. A Worker has nothing that runs in the background, so that one write in 16 removes some expired
 * entries with it.
 *
 * Rejects with `unavailable` where D1 is overloaded, restarts or does not answer, with `storage_full` where the database has
 * reached its size, and with `too_large` where an entry exceeds a row.
 *
 * @see https://developers.cloudflare.com/d1/platform/limits/
 */
export function d1Storage(database: D1DatabaseLike, { namespace = "default" }: D1StorageOptions = {}): StorageAdapter {
  if (typeof (database as Partial<D1DatabaseLike> | undefined)?.prepare !== "function") {
    throw new TypeError(`database: Expected the binding of a D1 database, got ${typeof database}`);
  }
  if (namespace === "") throw new TypeError(`namespace: Expected a name, got ""`);
  return sqliteBatchStorage({
    engine: "d1",
    capabilities: {
      consistency: "strong",
      conditional: true,
      atomic: { operations: 1000, bytes: 10_000_000 },
      ordered: true,
      snapshot: false,
      reportsDelete: true,
      // A row has room for 2,000,000 bytes in all, and so has the list of 1,000 keys in one parameter.
      maxKey: 512,
      maxValue: 1_900_000,
      maxMetadata: 4096,
    },
    connection: connectionOf(database),
    namespace,
    answerBytes: 3_145_728,
    sweepEvery: 16,
  });
}

function connectionOf(database: D1DatabaseLike): SqliteConnection {
  const prepared = ({ sql, parameters }: Statement) => database.prepare(sql).bind(...parameters);
  const rowsOf = ({ results }: { results: unknown[] }) => results as readonly Row[];
  return {
    read: (statement) => attempt("", async () => rowsOf(await prepared(statement).all())),
    write: (statements) =>
      attempt(OUTCOME_UNKNOWN, async () => (await database.batch(statements.map(prepared))).map(rowsOf)),
  };
}

async function attempt<T>(unknown: string, step: () => Promise<T>): Promise<T> {
  try {
    const result = await within(CALL_MS, step());
    if (result !== LATE) return result;
  } catch (error) {
    throw failureOf(error, unknown);
  }
  throw new KvError("unavailable", `D1 did not answer in ${CALL_MS / 1000} s${unknown}`);
}

/** D1's errors carry what happened in their text only: "D1_ERROR: no such table: t: SQLITE_ERROR". */
function failureOf(error: unknown, unknown: string): unknown {
  const message = error instanceof Error ? error.message : "";
  if (/SQLITE_FULL|exceeded maximum DB size/i.test(message)) {
    return new KvError("storage_full", "The database has reached its size; nothing was changed", { cause: error });
  }
  if (/SQLITE_TOOBIG|string or blob too big/i.test(message)) {
    return new KvError("too_large", "The entry is larger than a row of D1; nothing was changed", { cause: error });
  }
  if (/SQLITE_(ERROR|CONSTRAINT|MISMATCH|RANGE|AUTH)|D1_TYPE_ERROR|D1_COLUMN_NOTFOUND/.test(message)) return error;
  const undone = /overloaded|Too many|Cannot resolve/i.test(message) ? "" : unknown;
  return new KvError("unavailable", `D1 cannot be used at the moment${undone}`, { cause: error });
}
