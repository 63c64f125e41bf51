import { KvError } from "../core/errors.ts";
import type {
  Awaitable,
  StorageAdapter,
  StorageView,
  StoredEntry,
  WriteOperation,
  WriteOptions,
  WriteOutcome,
} from "./adapter.ts";
import { inKeyOrder } from "./in-order.ts";
import { migrateFirst } from "./migrate-first.ts";
import { gathered } from "./postgres-gather.ts";
import { migrateDatabase } from "./postgres-migrate.ts";
import { type Connections, callersPool, ownPool, type PostgresPoolLike, postgresConnections } from "./postgres-pool.ts";
import { findMany, listOf, postgresReads } from "./postgres-reads.ts";
import {
  checkNamespace,
  type Encoding,
  type PostgresSql,
  postgresSql,
  type Run,
  type TimedEntry,
} from "./postgres-sql.ts";
import { changesOf, inOneStatement, keysOf, planOf, putsOf, runAll, settled } from "./postgres-writes.ts";

export type { PostgresClientLike, PostgresPoolLike, PostgresQuery } from "./postgres-pool.ts";

export interface PostgresStorageOptions {
  /** `postgres://user:password@host:5432/database`, with the parameters that `pg` knows, and `pgbouncer=true`. */
  url?: string;
  /** Instead of a URL: a `Pool` of `pg` that the caller has made, and closes. */
  pool?: PostgresPoolLike;
  /** How many connections the pool for the URL may hold, at least 2. Default 10. */
  connections?: number;
  /** Adapters with different namespaces see nothing of each other in one database. Default `default`. */
  namespace?: string;
}

/** Gets and puts of one turn go together, as long as each value is small. */
const GATHER = { most: 128, lanes: 4 };
const GATHERED_BYTES = 65_536;

/**
 * Storage in a table of a PostgreSQL database, 12 or later, by `pg`. A write is answered when it is committed; whether it is
 * on the disk by then is for the server's `synchronous_commit`. Several instances may share the table.
 *
 * Throws a `TypeError` for bad options. Rejects with `unavailable` where the server cannot be reached, refuses the login or
 * has no time, and with `storage_full` where its disk is full.
 *
 * @see https://node-postgres.com/apis/pool
 */
export function postgresStorage(options: PostgresStorageOptions): StorageAdapter {
  const { url, pool, namespace = "default", connections = 10 } = options;
  checkOptions(options);
  const pooled = url !== undefined && /[?&]pgbouncer=true(&|$)/.test(url);
  const source = pool === undefined ? ownPool(url as string, connections, !pooled) : callersPool(pool);
  const database = postgresConnections(source, !pooled);
  const sql = postgresSql(namespace, ENCODING);
  const reads = postgresReads(sql, database.run);
  const views = Math.max(1, Math.floor((pool === undefined ? connections : (pool.options?.max ?? 10)) / 2));

  return migrateFirst({
    engine: "postgres",
    capabilities: {
      consistency: "strong",
      conditional: true,
      atomic: { operations: Number.MAX_SAFE_INTEGER, bytes: Number.MAX_SAFE_INTEGER },
      ordered: true,
      snapshot: true,
      reportsDelete: true,
      // An entry of the index takes 2,704 bytes at most, with the namespace. A message takes 1 GB.
      maxKey: 2048,
      maxValue: 268_435_456,
      maxMetadata: 1_048_576,
    },
    ...reads,
    get: gatheredGet(sql, database.run, reads.get),
    write: writer(sql, database),
    snapshot: snapshots(sql, database, views),
    migrate: () => migrateDatabase(database),
    sweep: async (now, limit) => (await database.run(sql.sweep(now, limit))).rowCount ?? 0,
    close: source.close,
  });
}

function checkOptions({ url, pool, connections = 10, namespace = "default" }: PostgresStorageOptions): void {
  if ((url === undefined) === (pool === undefined)) throw new TypeError('url: Expected either "url" or "pool"');
  // A URL without a host names it in a parameter. What is wrong is not quoted: there may be a password in it.
  const valid = url === undefined || (/^postgres(ql)?:\/\//.test(url) && URL.canParse(url.replace("@/", "@host/")));
  if (!valid) throw new TypeError("url: Expected postgres://user:password@host:5432/database, got something else");
  if (!Number.isInteger(connections) || connections < 2) {
    throw new TypeError(`connections: Expected a whole number of at least 2, got ${connections}`);
  }
  checkNamespace(namespace);
}

function gatheredGet(sql: PostgresSql, run: Run, get: (key: string) => Awaitable<StoredEntry | null>) {
  return gathered<string, StoredEntry | null>(async (keys) => {
    const [first] = keys;
    if (keys.length === 1 && first !== undefined) return [await get(first)];
    const found = await findMany(sql, run, keys, GATHERED_BYTES);
    return keys.map((key) => {
      const entry = found.get(key)?.entry ?? null;
      return entry?.value === null ? get(key) : (entry as StoredEntry | null);
    });
  }, GATHER);
}

function writer(sql: PostgresSql, database: Connections): StorageAdapter["write"] {
  const { run, transaction } = database;
  const inOrder = inKeyOrder();
  const put = gathered<[key: string, entry: TimedEntry], WriteOutcome>(async (puts) => {
    await runAll(database, changesOf(sql, new Map(puts)));
    return puts.map(() => "written");
  }, GATHER);

  async function writeOne(operation: WriteOperation, options: WriteOptions): Promise<WriteOutcome[]> {
    const { kind, key, condition } = operation;
    if (kind === "put" && condition === undefined && operation.entry.value.length <= GATHERED_BYTES) {
      return [await put([key, { ...operation.entry, now: options.now }])];
    }
    const outcome = inOneStatement(sql, run, operation, options.now);
    return outcome === null ? writeMany([operation], options) : [await outcome];
  }

  async function writeMany(operations: readonly WriteOperation[], options: WriteOptions): Promise<WriteOutcome[]> {
    const puts = putsOf(operations, options.now);
    if (puts !== null) {
      await runAll(database, changesOf(sql, puts));
      return operations.map(() => "written");
    }
    return transaction(async (runInside) => {
      await runInside(sql.lock(keysOf(operations)));
      const plan = await settled(() => planOf(sql, runInside, operations, options));
      const commit = plan.changes.size > 0;
      if (commit) for (const query of changesOf(sql, plan.changes, plan.versions)) await runInside(query);
      return { commit, result: plan.outcomes };
    });
  }

  return async (operations, options) => {
    if (operations.every(({ kind }) => kind === "get")) {
      return (await settled(() => planOf(sql, run, operations, options))).outcomes;
    }
    const [first] = operations;
    if (operations.length === 1 && first !== undefined) return inOrder([first.key], () => writeOne(first, options));
    return inOrder(keysOf(operations), () => writeMany(operations, options));
  };
}

function snapshots(sql: PostgresSql, { view }: Connections, most: number): () => Promise<StorageView> {
  let open = 0;
  return async () => {
    if (open >= most) throw new KvError("unavailable", `Of exports no more than ${most} can run at once`);
    open++;
    try {
      const { run, close } = await view();
      return {
        list: (query) => listOf(sql, run, query),
        close() {
          open--;
          close();
        },
      };
    } catch (error) {
      open--;
      throw error;
    }
  };
}

const BYTEA = 17;
const TEXT = 25;

/** Bytes go to the server as they are, in the binary form: nothing is escaped, and no string is made of a value. */
const ENCODING: Encoding = {
  keys: (keys) => binaryArray(BYTEA, keys),
  text: (value) => value,
  texts: (values) => binaryArray(TEXT, values),
};

/** An array in PostgreSQL's binary form: a header of five integers, then the length and bytes of each element. */
function binaryArray(type: number, elements: readonly Uint8Array[]): Uint8Array {
  const length = elements.reduce((sum, { length }) => sum + 4 + length, 20);
  const array = new Uint8Array(length);
  const view = new DataView(array.buffer);
  for (const [index, integer] of [1, 0, type, elements.length, 1].entries()) view.setInt32(index * 4, integer);
  let at = 20;
  for (const element of elements) {
    view.setInt32(at, element.length);
    array.set(element, at + 4);
    at += 4 + element.length;
  }
  return array;
}
