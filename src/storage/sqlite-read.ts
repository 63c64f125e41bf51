import { Buffer } from "node:buffer";
import type { DatabaseSync } from "node:sqlite";
import { keyBytes } from "../core/key.ts";
import type { FoundEntry, ListQuery, StoredEntry } from "./adapter.ts";
import { boundsOf, keyOfBytes } from "./key-range.ts";
import { attempt } from "./sqlite-open.ts";

/** A longer value is read by another thread, since it takes as long as many short ones. */
const LARGE_BYTES = 262_144;

interface ManyRow extends FoundEntry {
  name: Uint8Array;
  bytes: number;
}

/** A key, metadata, when it expires, its version and the length of its value. */
type ListedRow = [key: string | Uint8Array, string | null, number | null, string, bytes: number];

/** Reads over a connection. */
export function reads(database: DatabaseSync, namespace: string) {
  // Text goes in and out as bytes: a trip through a JavaScript string costs more, the longer the dearer (bench/json-text.ts).
  const entry = "CAST(value AS BLOB) AS value, metadata, expires_at AS expiresAt, version";
  const get = database.prepare(`SELECT ${entry} FROM workertown_kv WHERE namespace = ? AND name = ?`);
  const getSmall = database.prepare(
    `SELECT CASE WHEN octet_length(value) <= ${LARGE_BYTES} THEN CAST(value AS BLOB) END AS value,
      metadata, expires_at AS expiresAt, version FROM workertown_kv WHERE namespace = ? AND name = ?`,
  );
  const getMany = database.prepare(
    `SELECT name, metadata, expires_at AS expiresAt, version, octet_length(value) AS bytes,
      CASE WHEN octet_length(value) <= ? THEN CAST(value AS BLOB) END AS value
      FROM workertown_kv WHERE namespace = ? AND name IN (SELECT unhex(value) FROM json_each(?))`,
  );
  const list = database.prepare(
    `SELECT ${readsNul(database) ? "CAST(name AS TEXT)" : "name"} AS key, metadata, expires_at, version,
      octet_length(value) FROM workertown_kv WHERE namespace = ? AND name >= ? AND name < ?
      AND (expires_at IS NULL OR expires_at > ?) ORDER BY name LIMIT ?`,
  );
  // Lists of columns cost less than objects, where the runtime has them.
  const inArrays = typeof list.setReturnArrays === "function";
  if (inArrays) list.setReturnArrays(true);

  function page({ limit, valueBytes, now, ...query }: ListQuery) {
    const found: unknown[] = list.all(namespace, ...boundsOf(query), now, limit + 1);
    const rows = (inArrays ? found : found.map((row) => Object.values(row as object))) as ListedRow[];
    const count = valueBytes === null ? Math.min(limit, rows.length) : countWithin(rows, limit, valueBytes);
    const entries = rows.slice(0, count).map(([name, metadata, expiresAt, version]) => {
      const key = typeof name === "string" ? name : keyOfBytes(name);
      const value = valueBytes === null ? null : (get.get(namespace, keyBytes(key)) as unknown as StoredEntry).value;
      return { key, value, metadata, expiresAt, version };
    });
    return { entries, cursor: rows.length > count ? (entries.at(-1)?.key ?? null) : null };
  }

  /** In one query, but for values of more than their share: those are read singly, as long as they fit. */
  function many(keys: readonly string[], valueBytes: number): (FoundEntry | null)[] {
    const share = Math.floor(Math.min(valueBytes, Number.MAX_SAFE_INTEGER) / (keys.length || 1));
    const names = JSON.stringify(keys.map((key) => Buffer.from(key).toString("hex")));
    const rows = getMany.all(share, namespace, names) as unknown as ManyRow[];
    const found = new Map(rows.map((row) => [keyOfBytes(row.name), row]));
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
    get: (key: string) =>
      attempt(() => (get.get(namespace, keyBytes(key)) as unknown as StoredEntry | undefined) ?? null),

    /** The entry, or `undefined` where its value is large. */
    getSmall: (key: string): StoredEntry | null | undefined =>
      attempt(() => {
        const row = getSmall.get(namespace, keyBytes(key)) as unknown as FoundEntry | undefined;
        if (row === undefined) return null;
        return row.value === null ? undefined : (row as StoredEntry);
      }),

    getMany: (keys: readonly string[], valueBytes: number) =>
      attempt(() => inOneView(database, () => many(keys, valueBytes))),

    list: (query: ListQuery) =>
      attempt(() => (query.valueBytes === null ? page(query) : inOneView(database, () => page(query)))),
  };
}

/** How many rows a page holds that stops after the one that takes its values to `valueBytes`. */
function countWithin(rows: readonly ListedRow[], limit: number, valueBytes: number): number {
  let count = 0;
  for (let total = 0; count < Math.min(limit, rows.length) && total < valueBytes; count++) {
    total += rows[count]?.[4] ?? 0;
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

/** Whether text comes back whole where a NUL is in it: Deno cuts it there. */
function readsNul(database: DatabaseSync): boolean {
  return database.prepare("SELECT CAST(x'610062' AS TEXT) AS text").get()?.text === "a\0b";
}
