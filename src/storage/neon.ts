import type { StorageAdapter, WriteOperation, WriteOptions, WriteOutcome } from "./adapter.ts";
import { missingDriver } from "./driver.ts";
import { migrateFirst } from "./migrate-first.ts";
import { failureOf, retried, sqlState } from "./postgres-errors.ts";
import { migrateDatabase } from "./postgres-migrate.ts";
import { postgresReads } from "./postgres-reads.ts";
import {
  type Answer,
  checkNamespace,
  type Database,
  type Encoding,
  type PostgresSql,
  postgresSql,
} from "./postgres-sql.ts";
import { changesOf, inOneStatement, keysOf, planOf, putsOf, runAll, settled } from "./postgres-writes.ts";

/** What is used of the function that `neon()` of `@neondatabase/serverless` makes. */
export interface NeonSqlLike {
  query(text: string, values: unknown[], options: NeonOptions): PromiseLike<unknown>;
  transaction(queries: never[], options: NeonOptions & { isolationLevel: "ReadCommitted" }): Promise<unknown>;
}

export interface NeonOptions {
  arrayMode: false;
  fullResults: true;
  fetchOptions?: { signal: AbortSignal };
}

export interface NeonStorageOptions {
  /** `postgres://user:password@….neon.tech/database`. */
  url?: string;
  /** Instead of a URL: what `neon()` of `@neondatabase/serverless` made. */
  sql?: NeonSqlLike;
  /** Adapters with different namespaces see nothing of each other in one database. Default `default`. */
  namespace?: string;
}

/** How long a request may take. */
const REQUEST_MS = 10_000;
/**
 * How many bytes of values go into one request or answer: Neon takes 64 MB, and in a JSON string a value takes up to twice
 * its length.
 */
const REQUEST_BYTES = 16_777_216;
const REQUEST_OPERATIONS = 1000;
/** A Worker does nothing in the background, so that about one write in so many removes a few expired entries. */
const SWEEP_EVERY = 16;
const SWEEP_LIMIT = 20;
/** Division by zero: the guard of a transaction. */
const GUARDED = "22012";

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const decode = (value: Uint8Array) => decoder.decode(value);
const hex = (bytes: Uint8Array) => `\\x${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
/** The driver escapes the strings of an array; of an array of bytes it makes nothing that PostgreSQL reads. */
const ENCODING: Encoding = {
  keys: (keys) => keys.map(hex),
  text: decode,
  texts: (values) => values.map(decode),
};

/**
 * Storage in a table of a Neon database, by `@neondatabase/serverless` over HTTP: for where there are no connections, such
 * as Workers. The table is that of `postgresStorage`. A batch with conditions reads first, and writes in a transaction that
 * fails where somebody else has been faster; then it starts again.
 *
 * Throws a `TypeError` for bad options. Rejects with `unavailable` where Neon cannot be reached, refuses the login or has no
 * time, and with `storage_full` where its disk is full.
 *
 * @see https://neon.com/docs/serverless/serverless-driver
 */
export function neonStorage(options: NeonStorageOptions): StorageAdapter {
  const { url, sql: given, namespace = "default" } = options;
  checkOptions(options);
  const database = neonDatabase(given === undefined ? () => open(url as string) : async () => given);
  const sql = postgresSql(namespace, ENCODING);
  return migrateFirst({
    engine: "neon",
    capabilities: {
      consistency: "strong",
      conditional: true,
      atomic: { operations: REQUEST_OPERATIONS, bytes: REQUEST_BYTES },
      ordered: true,
      snapshot: false,
      reportsDelete: true,
      maxKey: 2048,
      maxValue: REQUEST_BYTES,
      maxMetadata: 4096,
    },
    ...postgresReads(sql, database.run, REQUEST_BYTES),
    write: writer(sql, database),
    migrate: () => migrateDatabase(database),
    sweep: async (now, limit) => (await database.run(sql.sweep(now, limit))).rowCount ?? 0,
  });
}

function checkOptions({ url, sql, namespace = "default" }: NeonStorageOptions): void {
  if ((url === undefined) === (sql === undefined)) throw new TypeError('url: Expected either "url" or "sql"');
  // What is wrong is not quoted, as the driver would: there may be a password in it.
  const valid = url === undefined || (/^postgres(ql)?:\/\/[^/]*@[^/]+\/[^/?]/.test(url) && URL.canParse(url));
  if (!valid) throw new TypeError("url: Expected postgres://user:password@host/database, got something else");
  checkNamespace(namespace);
}

async function open(url: string): Promise<NeonSqlLike> {
  const name = "@neondatabase/serverless";
  const { neon } = await import("@neondatabase/serverless").catch(missingDriver(name));
  return neon(url, { disableWarningInBrowsers: true });
}

/** Each query is a request, and so is each transaction. */
function neonDatabase(open: () => Promise<NeonSqlLike>): Database {
  const options = () =>
    ({ arrayMode: false, fullResults: true, fetchOptions: { signal: AbortSignal.timeout(REQUEST_MS) } }) as const;

  function ask<T>(writes: boolean, request: (sql: NeonSqlLike) => PromiseLike<unknown>): Promise<T> {
    return retried(async () => {
      const sql = await open();
      try {
        return (await request(sql)) as T;
      } catch (error) {
        throw failureOf(error, writes);
      }
    });
  }

  return {
    run: ({ text, values = [], writes = false }) => ask<Answer>(writes, (sql) => sql.query(text, values, options())),

    batch: (queries) =>
      ask<Answer[]>(true, (sql) => {
        const { fetchOptions, ...given } = options();
        const requests = queries.map(({ text, values = [] }) => sql.query(text, values, given));
        return sql.transaction(requests as never[], { ...given, fetchOptions, isolationLevel: "ReadCommitted" });
      }),
  };
}

function writer(sql: PostgresSql, database: Database): StorageAdapter["write"] {
  const { run, batch } = database;

  async function writeMany(operations: readonly WriteOperation[], options: WriteOptions): Promise<WriteOutcome[]> {
    const puts = putsOf(operations, options.now);
    if (puts !== null) {
      await runAll(database, changesOf(sql, puts));
      return operations.map(() => "written");
    }
    const { outcomes } = await settled(async () => {
      const plan = await planOf(sql, run, operations, options, REQUEST_BYTES);
      if (plan === null || plan.changes.size === 0) return plan;
      try {
        const guards = [sql.lock(keysOf(operations)), sql.guard(plan.versions)];
        await batch([...guards, ...changesOf(sql, plan.changes, plan.versions)]);
        return plan;
      } catch (error) {
        if (sqlState(error) === GUARDED) return null;
        throw error;
      }
    });
    return outcomes;
  }

  async function write(operations: readonly WriteOperation[], options: WriteOptions): Promise<WriteOutcome[]> {
    const [first] = operations;
    const single = operations.length === 1 && first && inOneStatement(sql, run, first, options.now);
    if (single) return [await single];
    if (options.atomic) return writeMany(operations, options);
    const outcomes: WriteOutcome[] = [];
    for (const part of partsOf(operations)) outcomes.push(...(await writeMany(part, options)));
    return outcomes;
  }

  return async (operations, options) => {
    const sweeps = Math.random() * SWEEP_EVERY < 1;
    const swept = sweeps && run(sql.sweep(options.now, SWEEP_LIMIT)).catch(() => {});
    const outcomes = await write(operations, options);
    await swept;
    return outcomes;
  };
}

/** Operations in parts of what one request takes. */
function partsOf(operations: readonly WriteOperation[]): WriteOperation[][] {
  const parts: WriteOperation[][] = [];
  let bytes = 0;
  for (const operation of operations) {
    const size = operation.kind === "put" ? operation.entry.value.length : 0;
    const part = parts.at(-1);
    if (part !== undefined && bytes + size <= REQUEST_BYTES && part.length < REQUEST_OPERATIONS) {
      part.push(operation);
      bytes += size;
    } else {
      parts.push([operation]);
      bytes = size;
    }
  }
  return parts;
}
