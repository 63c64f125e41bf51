import { keyBytes } from "../core/key.ts";
import type { StorageAdapter } from "./adapter.ts";
import { missingDriver } from "./driver.ts";
import { mysqlAdapter } from "./mysql-adapter.ts";
import { CONNECT_MS, type MysqlPoolLike, mysqlPool } from "./mysql-pool.ts";
import { MAX_NAMESPACE } from "./mysql-sql.ts";
import { checkMysqlUrl, driverOptions } from "./mysql-url.ts";

export type { MysqlConnectionLike, MysqlPoolLike } from "./mysql-pool.ts";

export interface MysqlStorageOptions {
  /** `mysql://user:password@host:3306/database`; options of mysql2 may follow: `?ssl=true&connectionLimit=20`. */
  url?: string;
  /** Instead of a URL: a pool of `mysql2/promise`, with its defaults for types. Its sessions are set up anew. */
  pool?: MysqlPoolLike;
  /** Adapters with different namespaces see nothing of each other in one database. Default `default`. */
  namespace?: string;
}

/** How many callers may wait for a connection: as many as the store lets in. */
const QUEUE = 1000;
/** More than there are forms of prepared statements. */
const PREPARED = 64;

/**
 * Storage in MySQL 8 or MariaDB by `mysql2`. Strongly consistent, with conditions and atomic batches of any number of
 * operations, as durable as the server is set to be: a write is answered when it is committed.
 *
 * Throws a `TypeError` for bad options. Rejects with `unavailable` where the server cannot be reached, refuses the login or
 * does not answer in time, with `storage_full` where its disk is full, and with `too_large` where a value is longer than its
 * `max_allowed_packet`.
 */
export function mysqlStorage(options: MysqlStorageOptions): StorageAdapter {
  checkOptions(options);
  const { url, pool, namespace = "default" } = options;
  return mysqlAdapter(
    mysqlPool(() => pool ?? open(url as string), pool === undefined),
    keyBytes(namespace),
  );
}

function checkOptions({ url, pool, namespace = "default" }: MysqlStorageOptions): void {
  if ((url === undefined) === (pool === undefined)) throw new TypeError("url: Expected either a url or a pool");
  if (url !== undefined) checkMysqlUrl(url);
  // The driver's pool for callbacks has this method, which makes the one for promises.
  if (pool !== undefined && (typeof pool.getConnection !== "function" || "promise" in pool)) {
    throw new TypeError('pool: Expected a pool of "mysql2/promise"');
  }
  const bytes = keyBytes(namespace).length;
  if (bytes > 0 && bytes <= MAX_NAMESPACE) return;
  throw new TypeError(`namespace: Expected a name of 1 to ${MAX_NAMESPACE} bytes, got one of ${bytes}`);
}

/** A pool of our own. What the URL says of other options holds. */
async function open(url: string): Promise<MysqlPoolLike> {
  const { createPool } = await import("mysql2/promise").catch(missingDriver("mysql2"));
  return createPool({
    ...driverOptions(url),
    connectTimeout: CONNECT_MS,
    keepAliveInitialDelay: 10_000,
    queueLimit: QUEUE,
    maxPreparedStatements: PREPARED,
    trace: false,
  });
}
