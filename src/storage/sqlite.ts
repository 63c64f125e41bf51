import { Buffer } from "node:buffer";
import { resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { keyBytes } from "../core/key.ts";
import type { FoundEntry, ListQuery, StorageAdapter, StorageView, StoredEntry } from "./adapter.ts";
import { failureOf, migrateDatabase, openDatabase } from "./sqlite-open.ts";
import { writerThread } from "./sqlite-thread.ts";
import { localWriter } from "./sqlite-write.ts";

export interface SqliteStorageOptions {
  /** A file, made where there is none, or `:memory:`. Default `kv.sqlite` in the working directory. */
  path?: string;
  /** Adapters with different namespaces see nothing of each other in one file. Default `default`. */
  namespace?: string;
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Storage in one SQLite file, by the `node:sqlite` of Node, Bun or Deno. A write is answered when it is on the disk: the log
 * is flushed at each commit (`synchronous = FULL`), and writes that arrive in the same turn share one commit. A loss of
 * power loses nothing that was answered, as long as the disk keeps what it says it flushed.
 *
 * Throws an `Error` of one line where the file cannot be used. Several processes on one machine may share the file.
 *
 * @see https://www.sqlite.org/pragma.html#pragma_synchronous
 */
export function sqliteStorage({
  path = "kv.sqlite",
  namespace = "default",
}: SqliteStorageOptions = {}): StorageAdapter {
  if (path === "") throw new TypeError(`path: Expected a file or ":memory:", got ""`);
  if (namespace === "") throw new TypeError(`namespace: Expected a name, got ""`);
  // Once, so that a later change of the working directory does not matter.
  const file = path === ":memory:" ? path : resolve(path);
  const database = openDatabase(file);
  const here = () => localWriter(database, namespace);
  const writer = file === ":memory:" ? here() : writerThread({ path: file, namespace }, here);

  return {
    engine: "sqlite",
    capabilities: {
      consistency: "strong",
      conditional: true,
      atomic: { operations: Number.MAX_SAFE_INTEGER, bytes: Number.MAX_SAFE_INTEGER },
      ordered: true,
      snapshot: path !== ":memory:",
      reportsDelete: true,
      // What SQLite itself takes in one row is 1,000,000,000 bytes.
      maxKey: 65_536,
      maxValue: 536_870_912,
      maxMetadata: 1_048_576,
    },
    ...reads(database, namespace),
    // In memory there is no second connection to see the moment by.
    ...(path !== ":memory:" && { snapshot: () => attempt(() => snapshotOf(file, namespace)) }),
    write: writer.write,
    migrate: () => attempt(() => migrateDatabase(database)),
    sweep: writer.sweep,
    async close() {
      await writer.close();
      database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
      database.close();
    },
  };
}

interface Row extends StoredEntry {
  name: Uint8Array;
}

/** A read transaction on a connection of its own: it sees what was there when it began. */
function snapshotOf(path: string, namespace: string): StorageView {
  const database = new DatabaseSync(path, { readOnly: true });
  database.exec("BEGIN");
  database.prepare("SELECT 1 FROM workertown_kv LIMIT 1").get();
  return { list: reads(database, namespace).list, close: () => database.close() };
}

interface ManyRow extends FoundEntry {
  name: Uint8Array;
  bytes: number;
}

interface ListedRow extends Omit<Row, "value"> {
  bytes: number;
}

function reads(database: DatabaseSync, namespace: string): Pick<StorageAdapter, "get" | "getMany" | "list"> {
  // Text goes in and out as bytes: a trip through a JavaScript string costs more, the longer the dearer (bench/json-text.ts).
  const entry = "CAST(value AS BLOB) AS value, metadata, expires_at AS expiresAt, version";
  const get = database.prepare(`SELECT ${entry} FROM workertown_kv WHERE namespace = ? AND name = ?`);
  const getMany = database.prepare(
    `SELECT name, metadata, expires_at AS expiresAt, version, octet_length(value) AS bytes,
      CASE WHEN octet_length(value) <= ? THEN CAST(value AS BLOB) END AS value
      FROM workertown_kv WHERE namespace = ? AND name IN (SELECT unhex(value) FROM json_each(?))`,
  );
  const list = database.prepare(
    `SELECT name, metadata, expires_at AS expiresAt, version, octet_length(value) AS bytes FROM workertown_kv
      WHERE namespace = ? AND name >= ? AND name < ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY name LIMIT ?`,
  );

  function page({ limit, valueBytes, now, ...query }: ListQuery) {
    const rows = list.all(namespace, ...boundsOf(query), now, limit + 1) as unknown as ListedRow[];
    const count = valueBytes === null ? Math.min(limit, rows.length) : countWithin(rows, limit, valueBytes);
    const entries = rows.slice(0, count).map(({ name, metadata, expiresAt, version }) => {
      const value = valueBytes === null ? null : (get.get(namespace, name) as unknown as Row).value;
      return { key: decoder.decode(name), value, metadata, expiresAt, version };
    });
    return { entries, cursor: rows.length > count ? (entries.at(-1)?.key ?? null) : null };
  }

  /** In one query, but for values of more than their share: those are read singly, as long as they fit. */
  function many(keys: readonly string[], valueBytes: number): (FoundEntry | null)[] {
    const share = Math.floor(Math.min(valueBytes, Number.MAX_SAFE_INTEGER) / (keys.length || 1));
    const names = JSON.stringify(keys.map((key) => Buffer.from(key).toString("hex")));
    const rows = getMany.all(share, namespace, names) as unknown as ManyRow[];
    const found = new Map(rows.map((row) => [decoder.decode(row.name), row]));
    let left = valueBytes;
    // By key, not by row: a value that is asked for twice is answered twice.
    for (const key of keys) left -= found.get(key)?.value?.length ?? 0;
    return keys.map((key) => {
      const row = found.get(key);
      if (row === undefined) return null;
      const { bytes, name, ...entry } = row;
      if (entry.value !== null || bytes > left) return entry;
      left -= bytes;
      return get.get(namespace, name) as unknown as StoredEntry;
    });
  }

  return {
    get: (key) => attempt(() => (get.get(namespace, keyBytes(key)) as unknown as StoredEntry | undefined) ?? null),

    getMany: (keys, valueBytes) => attempt(() => inOneView(database, () => many(keys, valueBytes))),

    list: (query) => attempt(() => (query.valueBytes === null ? page(query) : inOneView(database, () => page(query)))),
  };
}

/** From the prefix or the first key after the cursor, to the end of the prefix: no byte of UTF-8 is 0xFF. */
function boundsOf({ prefix, cursor }: Pick<ListQuery, "prefix" | "cursor">): [lower: Uint8Array, upper: Uint8Array] {
  const start = keyBytes(prefix);
  const upper = new Uint8Array(start.length + 1).fill(0xff);
  upper.set(start);
  // No key is before "\0", and an empty BLOB would be bound as NULL by some drivers.
  return [keyBytes(cursor === null ? prefix || "\0" : `${cursor}\0`), upper];
}

/** How many rows a page holds that stops after the one that takes its values to `valueBytes`. */
function countWithin(rows: readonly ListedRow[], limit: number, valueBytes: number): number {
  let count = 0;
  for (let total = 0; count < Math.min(limit, rows.length) && total < valueBytes; count++) {
    total += rows[count]?.bytes ?? 0;
  }
  return count;
}

/** Several reads of one moment, whatever other processes write in between. */
function inOneView<T>(database: DatabaseSync, read: () => T): T {
  if (database.isTransaction) return read();
  database.exec("BEGIN");
  try {
    return read();
  } finally {
    database.exec("COMMIT");
  }
}

function attempt<T>(step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw failureOf(error);
  }
}
