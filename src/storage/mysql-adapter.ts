import { KvError } from "../core/errors.ts";
import type { StorageAdapter, StorageView } from "./adapter.ts";
import { migrateFirst } from "./migrate-first.ts";
import { gatheredGet, gatheredWrite } from "./mysql-gather.ts";
import { migrateMysql } from "./mysql-migrate.ts";
import type { MysqlPool } from "./mysql-pool.ts";
import { mysqlReads } from "./mysql-read.ts";
import { COMMIT, MAX_KEY, MIGRATIONS, plain, type Run, SNAPSHOT, sweep } from "./mysql-sql.ts";
import { checkPacket, mysqlWrites, retried } from "./mysql-write.ts";

/** How many walks may each hold a connection at once. */
const VIEWS = 4;
const LOCK = "LEFT(CONCAT('workertown_kv.', DATABASE()), 64)";
/** How long an instance waits for the migration of another, in seconds. */
const MIGRATION_S = 8;

/** The adapter over a pool. Other `migrations` are for the test of an upgrade. */
export function mysqlAdapter(pool: MysqlPool, namespace: Uint8Array, migrations = MIGRATIONS): StorageAdapter {
  const reads = mysqlReads(pool.run, namespace);
  return migrateFirst({
    engine: "mysql",
    capabilities: {
      consistency: "strong",
      conditional: true,
      atomic: { operations: Number.MAX_SAFE_INTEGER, bytes: Number.MAX_SAFE_INTEGER },
      ordered: true,
      snapshot: true,
      reportsDelete: true,
      maxKey: MAX_KEY,
      // The server's own limit is lower most of the time, and known when it has answered once: see `check`.
      maxValue: 536_870_912,
      maxMetadata: 1_048_576,
    },
    ...reads,
    get: gatheredGet(reads),
    write: gatheredWrite(mysqlWrites(pool, namespace)),
    check: (operation) => checkPacket(operation, pool.packet()),
    snapshot: snapshots(pool, namespace),
    migrate: () => migrateMysql(pool.run, (work) => alone(pool, MIGRATION_S, work), migrations),
    sweep: async (now, limit) => {
      const swept = await alone(pool, 0, (run) => retried(() => run(sweep(namespace, now, limit))));
      return swept?.affectedRows ?? 0;
    },
    ping: async () => {
      await pool.run(plain("SELECT 1"));
    },
    close: pool.close,
  });
}

/** Does what one instance at a time may do; answers `undefined` where another still does it after `seconds`. */
function alone<T>(pool: MysqlPool, seconds: number, work: (run: Run) => Promise<T>): Promise<T | undefined> {
  return pool.session(async (run) => {
    const { rows } = await run(plain(`SELECT GET_LOCK(${LOCK}, ${seconds}) AS held`));
    if (Number(rows[0]?.held) !== 1) return undefined;
    try {
      return await work(run);
    } finally {
      // Where that fails the connection ends, and the lock with it.
      await run(plain(`SELECT RELEASE_LOCK(${LOCK})`)).catch(() => {});
    }
  });
}

/** Read transactions, each with a connection to itself. */
function snapshots(pool: MysqlPool, namespace: Uint8Array): () => Promise<StorageView> {
  let views = 0;
  return async () => {
    if (views === VIEWS) throw new KvError("unavailable", `No more than ${VIEWS} exports can run at once`);
    views += 1;
    const { run, release } = await pool.reserve().catch((error) => {
      views -= 1;
      throw error;
    });
    const close = async () => {
      await run(COMMIT).catch(() => {});
      release();
      views -= 1;
    };
    try {
      for (const statement of SNAPSHOT) await run(statement);
    } catch (error) {
      await close();
      throw error;
    }
    return { list: mysqlReads(run, namespace).list, close };
  };
}
