/**
 * What MySQL, MariaDB and PlanetScale are asked, in the form that all of them take. Texts go both ways as bytes, so that no
 * character set of a connection can change them.
 */

import { keyBytes } from "../core/key.ts";
import type { FoundEntry, ListQuery, StoredEntry } from "./adapter.ts";
import { boundsOf, keyOfBytes } from "./key-range.ts";

export type Parameter = Uint8Array | number | null;

export interface Statement {
  sql: string;
  values: readonly Parameter[];
  /** Whether it has few forms and runs often, so that a connection may keep it prepared. */
  prepared?: boolean;
  /** Whether it leaves open what was changed where its answer is lost. */
  commits?: boolean;
}

/** A row by its columns: integers as numbers or decimal strings, `VARBINARY` and what is cast to it as bytes. */
export type Row = Readonly<Record<string, unknown>>;

export interface Result {
  rows: readonly Row[];
  affectedRows: number;
  insertId: number;
}

/** Rejects with a `KvError` where the engine fails, and with the driver's own error where SQL is refused. */
export type Run = (statement: Statement) => Promise<Result>;

/** One step of the schema: a statement that may run twice, since none can be undone. */
export interface Migration {
  name: string;
  sql: string;
}

export const MIGRATIONS: readonly Migration[] = [
  {
    name: "0001-create-table",
    sql: `CREATE TABLE IF NOT EXISTS workertown_kv (
      namespace VARBINARY(255) NOT NULL,
      name VARBINARY(2048) NOT NULL,
      metadata MEDIUMTEXT,
      expires_at BIGINT,
      version VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
      updated_at BIGINT NOT NULL,
      value LONGTEXT NOT NULL,
      PRIMARY KEY (namespace, name),
      KEY workertown_kv_expires (namespace, expires_at)
    ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`,
  },
];

/** What an index of InnoDB has room for beside a namespace of 255 bytes. */
export const MAX_KEY = 2048;
export const MAX_NAMESPACE = 255;

export const SCHEMA_TABLE = `CREATE TABLE IF NOT EXISTS workertown_kv_schema (
  version INT NOT NULL PRIMARY KEY,
  name VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  migrated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
) ENGINE=InnoDB`;

export const plain = (sql: string): Statement => ({ sql, values: [] });
export const BEGIN = plain("START TRANSACTION");
export const ROLLBACK = plain("ROLLBACK");
/** Begins a transaction that shows one moment. */
export const SNAPSHOT = [
  plain("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"),
  plain("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"),
];
export const COMMIT: Statement = { ...plain("COMMIT"), commits: true };

const LIVE = "(expires_at IS NULL OR expires_at > ?)";
const BESIDE = "CAST(metadata AS BINARY) AS metadata, expires_at AS expiresAt, version";
/** The value where it is no longer than the parameter, and its length; a length is only known by reading the value. */
const SHORT_VALUE = `OCTET_LENGTH(value) AS bytes,
  CASE WHEN OCTET_LENGTH(value) <= ? THEN CAST(value AS BINARY) END AS value`;

const marks = (count: number) => Array(count).fill("?").join(", ");

export function selectOne(namespace: Uint8Array, name: Uint8Array): Statement {
  return {
    sql: `SELECT ${BESIDE}, CAST(value AS BINARY) AS value FROM workertown_kv WHERE namespace = ? AND name = ?`,
    values: [namespace, name],
    prepared: true,
  };
}

/** How many names a prepared statement has: others repeat their last name up to the next of these numbers. */
const PREPARED_NAMES = [4, 16, 64];

export function selectMany(namespace: Uint8Array, names: readonly Uint8Array[], share: number): Statement {
  const size = PREPARED_NAMES.find((count) => count >= names.length);
  const padded = Array.from(
    { length: size ?? names.length },
    (_, index) => names[index] ?? (names.at(-1) as Uint8Array),
  );
  return {
    sql: `SELECT name, ${BESIDE}, ${SHORT_VALUE} FROM workertown_kv
      WHERE namespace = ? AND name IN (${marks(padded.length)})`,
    values: [share, namespace, ...padded],
    prepared: size !== undefined,
  };
}

export function selectVersions(namespace: Uint8Array, names: readonly Uint8Array[]): Statement {
  return {
    sql: `SELECT name, version, expires_at AS expiresAt FROM workertown_kv
      WHERE namespace = ? AND name IN (${marks(names.length)})`,
    values: [namespace, ...names],
  };
}

/** One row more than the page may hold. Values are there where they are no longer than `share`; `null` for none. */
export function selectPage(namespace: Uint8Array, query: ListQuery, share: number | null): Statement {
  return {
    sql: `SELECT name, ${BESIDE}${share === null ? "" : `, ${SHORT_VALUE}`} FROM workertown_kv FORCE INDEX (PRIMARY)
      WHERE namespace = ? AND name >= ? AND name < ? AND ${LIVE} ORDER BY name LIMIT ${query.limit + 1}`,
    values: [...(share === null ? [] : [share]), namespace, ...boundsOf(query), query.now],
  };
}

/** An entry on its way in. */
export interface Put {
  key: string;
  entry: StoredEntry;
  /** Epoch milliseconds. */
  now: number;
}

// The expiry is the last: what an update reads of a row is what the assignments before it have left.
const COLUMNS = ["metadata", "version", "value", "updated_at", "expires_at"] as const;
const INSERT = `INSERT INTO workertown_kv (namespace, name, ${COLUMNS.join(", ")}) VALUES`;
const ROW = `(${marks(2 + COLUMNS.length)})`;
const REPLACE = `ON DUPLICATE KEY UPDATE ${COLUMNS.map((column) => `${column} = VALUES(${column})`).join(", ")}`;

function columnsOf({ entry, now }: Put): Parameter[] {
  const { metadata, version, value, expiresAt } = entry;
  return [metadata === null ? null : keyBytes(metadata), keyBytes(version), value, now, expiresAt];
}

/** Puts whatever is there. */
export function upsert(namespace: Uint8Array, puts: readonly Put[]): Statement {
  return {
    sql: `${INSERT} ${Array(puts.length).fill(ROW).join(", ")} ${REPLACE}`,
    values: puts.flatMap((put) => [namespace, keyBytes(put.key), ...columnsOf(put)]),
    prepared: puts.length === 1,
  };
}

/** Puts where there is nothing, not even what has expired; an error says that there was. */
export function insert(namespace: Uint8Array, put: Put): Statement {
  return { sql: `${INSERT} ${ROW}`, values: [namespace, keyBytes(put.key), ...columnsOf(put)] };
}

/**
 * Puts where nothing lives. Where something does, `LAST_INSERT_ID(1)` tells so as the `insertId`: what the number of
 * affected rows says of a row that stays as it is depends on the connection's flags.
 */
export function create(namespace: Uint8Array, put: Put): Statement {
  const kept = (column: string) => (column === "updated_at" ? "updated_at + 0 * LAST_INSERT_ID(1)" : column);
  const updates = COLUMNS.map((column) => `${column} = IF(expires_at <= ?, VALUES(${column}), ${kept(column)})`);
  return {
    sql: `${INSERT} ${ROW} ON DUPLICATE KEY UPDATE ${updates.join(", ")}`,
    values: [namespace, keyBytes(put.key), ...columnsOf(put), ...COLUMNS.map(() => put.now)],
    prepared: true,
  };
}

/** Puts where there is a live entry, of one of these versions (`"*"`: of any). Without a prepared form for many versions. */
export function replace(namespace: Uint8Array, put: Put, versions: Versions): Statement {
  const only = among(versions);
  return {
    sql: `UPDATE workertown_kv SET ${COLUMNS.map((column) => `${column} = ?`).join(", ")}
      WHERE namespace = ? AND name = ? AND ${LIVE}${only.sql}`,
    values: [...columnsOf(put), namespace, keyBytes(put.key), put.now, ...only.values],
    prepared: only.values.length < 2,
  };
}

/** Deletes a live entry, of one of these versions. */
export function removeLive(namespace: Uint8Array, name: Uint8Array, versions: Versions, now: number): Statement {
  const only = among(versions);
  return {
    sql: `DELETE FROM workertown_kv WHERE namespace = ? AND name = ? AND ${LIVE}${only.sql}`,
    values: [namespace, name, now, ...only.values],
    prepared: only.values.length < 2,
  };
}

export type Versions = "*" | readonly string[];

function among(versions: Versions): { sql: string; values: Uint8Array[] } {
  if (versions === "*") return { sql: "", values: [] };
  // As bytes: for the text types "a " is "a".
  return { sql: ` AND CAST(version AS BINARY) IN (${marks(versions.length)})`, values: versions.map(keyBytes) };
}

export function remove(namespace: Uint8Array, names: readonly Uint8Array[]): Statement {
  return {
    sql: `DELETE FROM workertown_kv WHERE namespace = ? AND name IN (${marks(names.length)})`,
    values: [namespace, ...names],
  };
}

/**
 * Locks names for a transaction, in their order, whether they are there or not: an absent one becomes a row that counts as
 * expired and that nobody else sees. It must be replaced or removed before the commit.
 */
export function lock(namespace: Uint8Array, names: readonly Uint8Array[]): Statement {
  return {
    sql: `INSERT INTO workertown_kv (namespace, name, version, value, updated_at, expires_at)
      VALUES ${Array(names.length).fill("(?, ?, '', '', 0, 0)").join(", ")} ON DUPLICATE KEY UPDATE version = version`,
    values: names.flatMap((name) => [namespace, name]),
  };
}

/** Removes up to `limit` of what has expired; not the rows of `lock`, which would make it wait for their transactions. */
export function sweep(namespace: Uint8Array, now: number, limit: number): Statement {
  return {
    sql: `DELETE FROM workertown_kv WHERE namespace = ? AND expires_at BETWEEN 1 AND ?
      ORDER BY expires_at LIMIT ${Math.trunc(limit)}`,
    values: [namespace, now],
  };
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

export function keyOf(row: Row): string {
  return keyOfBytes(row.name as Uint8Array);
}

/** Whether a row is one that `lock` has made. */
export function isLock(row: Row): boolean {
  return row.version === "";
}

/** What a row holds, with the value where it was read. */
export function entryOf({ metadata = null, expiresAt, version, value = null }: Row): FoundEntry {
  return {
    value: value as Uint8Array | null,
    metadata: metadata === null ? null : decoder.decode(metadata as Uint8Array),
    expiresAt: expiresAt === null ? null : Number(expiresAt),
    version: version as string,
  };
}
