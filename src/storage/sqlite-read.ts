import type { DatabaseSync, StatementSync } from "node:sqlite";
import { concat } from "../core/bytes.ts";
import type { FoundEntry, ListedEntry, ListQuery, StoredEntry } from "./adapter.ts";
import { boundsOf, keyOfBytes } from "./key-range.ts";
import { LARGE_BYTES, largeReader } from "./sqlite-large.ts";
import type { ReadEntry } from "./sqlite-large-cache.ts";
import { attempt } from "./sqlite-open.ts";
import { ENTRIES, LARGE_ID, LONG, namespaceId, textOf, VALUE } from "./sqlite-schema.ts";

/** Of several entries the values that are no longer are read as one. */
const JOINED_BYTES = 4096;

/** A value, metadata, when it expires, its version and the id of a value in pieces. */
type EntryRow = [Uint8Array | null, string | null, number | null, string, number | null];

/** A key, metadata or the id of one that stands apart, when it expires and its version. */
type ListedRow = [key: string | Uint8Array, string | number | null, number | null, string];

/** How long a value is, `null` where it is not among those read as one, and the rest of its entry; of none all is `null`. */
type JoinedRow = [length: number | null, string | null, number | null, version: string | null];

/** The entry under a key; `value: null` where it takes more than so many bytes. */
export type Find = (key: string, valueBytes: number) => FoundEntry | null;

/** How the row of one entry is read over a connection: without its value where that takes more than so many bytes. */
function rowFinder(
  database: DatabaseSync,
  namespace: string,
): (valueBytes: number, key: string) => EntryRow | undefined {
  // A value comes out as bytes: a trip through a JavaScript string costs more, the longer the dearer (bench/json-text.ts).
  // A key goes in as a string: to make bytes of it here costs more than to let SQLite take it for bytes.
  return arrays<EntryRow>(
    database.prepare(
      `SELECT ${VALUE} AS value, ${textOf("metadata")} AS metadata, expires_at, version, ${LARGE_ID} AS large FROM ${ENTRIES}
        WHERE namespace = ${namespaceId(database, namespace)} AND name = CAST(?2 AS BLOB)`,
    ),
  ).get;
}

/** How one entry is read over a connection. */
export function finder(database: DatabaseSync, namespace: string): Find {
  const rowOf = rowFinder(database, namespace);
  const { sizeOf, partsOf } = largeReader(database);
  return (key, valueBytes) => {
    const row = rowOf(valueBytes, key);
    if (row === undefined) return null;
    const large = row[4];
    const value = large !== null && sizeOf(large) <= valueBytes ? concat(partsOf(large)) : row[0];
    return { value, metadata: row[1], expiresAt: row[2], version: row[3] };
  };
}

/** An entry over a connection, its value in pieces where it is kept so. */
export function partsReader(database: DatabaseSync, namespace: string): (key: string) => ReadEntry | null {
  const rowOf = rowFinder(database, namespace);
  const { partsOf } = largeReader(database);
  return (key) =>
    attempt(() =>
      inOneView(database, () => {
        const row = rowOf(Number.MAX_SAFE_INTEGER, key);
        if (row === undefined) return null;
        const [value, metadata, expiresAt, version, large] = row;
        const rest = { metadata, expiresAt, version };
        return large === null
          ? { value: value as Uint8Array, ...rest }
          : { value: EMPTY, parts: partsOf(large), large, ...rest };
      }),
    );
}

const EMPTY = new Uint8Array(0);

/** How several entries are read: `value: null` where it takes more than what those before it leave of so many bytes. */
function manyFinder(database: DatabaseSync, namespace: string, find: Find) {
  const text = "CASE typeof(value) WHEN 'integer' THEN long.text ELSE value END";
  // One row for all of them: what takes longest about a short entry is to hand over a row of its own.
  const { get } = arrays<[values: Uint8Array | null, rows: string]>(
    database.prepare(
      `SELECT CAST(string_agg(short, '') AS BLOB) AS shorts,
          json_group_array(json_array(octet_length(short), ${textOf("metadata")}, expires_at, version)) AS rows
        FROM (
          SELECT CASE WHEN octet_length(${text}) <= ${JOINED_BYTES} THEN ${text} END AS short, metadata, expires_at, version
            FROM (SELECT CAST(value AS BLOB) AS asked FROM json_each(?))
            LEFT JOIN workertown_kv_entry ON namespace = ${namespaceId(database, namespace)} AND name = asked ${LONG})`,
    ),
  );

  return (keys: readonly string[], valueBytes: number): (FoundEntry | null)[] => {
    const [values, rows] = get(JSON.stringify(keys)) as [Uint8Array | null, string];
    let left = valueBytes;
    let at = 0;

    function entryOf([length, metadata, expiresAt, version]: JoinedRow, index: number): FoundEntry | null {
      if (version === null) return null;
      if (length === null) return find(keys[index] as string, left);
      const value = values?.subarray(at, at + length) as Uint8Array;
      at += length;
      return { value: length <= left ? value : null, metadata, expiresAt, version };
    }

    return (JSON.parse(rows) as JoinedRow[]).map((row, index) => {
      const entry = entryOf(row, index);
      left -= entry?.value?.length ?? 0;
      return entry;
    });
  };
}

/** Reads over a connection. */
export function reads(database: DatabaseSync, namespace: string) {
  const find = finder(database, namespace);
  const many = manyFinder(database, namespace, find);
  const whole = (key: string) => find(key, Number.MAX_SAFE_INTEGER) as StoredEntry | null;
  const list = arrays<ListedRow>(
    database.prepare(
      `SELECT ${readsNul(database) ? "CAST(name AS TEXT)" : "name"} AS key, metadata, expires_at, version
        FROM workertown_kv_entry WHERE namespace = ${namespaceId(database, namespace)}
        AND name >= ? AND name < ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY name LIMIT ?`,
    ),
  ).all;
  const apart = arrays<[string]>(database.prepare("SELECT text FROM workertown_kv_text WHERE id = ?")).get;

  function page({ limit, valueBytes, now, ...query }: ListQuery) {
    const rows = list(...boundsOf(query), now, limit + 1);
    const entries: ListedEntry[] = [];
    let left = valueBytes ?? Number.POSITIVE_INFINITY;
    for (const [name, kept, expiresAt, version] of rows) {
      if (entries.length === limit || left <= 0) break;
      const key = typeof name === "string" ? name : keyOfBytes(name);
      const value = valueBytes === null ? null : (whole(key)?.value ?? null);
      left -= value?.length ?? 0;
      // Here and not in the query, where it would cost something for every key.
      const metadata = typeof kept === "number" ? (apart(kept)?.[0] ?? null) : kept;
      entries.push({ key, value, metadata, expiresAt, version });
    }
    return { entries, cursor: rows.length > entries.length ? (entries.at(-1)?.key ?? null) : null };
  }

  return {
    get: (key: string) => attempt(() => whole(key)),

    /** The entry, or `undefined` where its value is large. */
    getSmall: (key: string): StoredEntry | null | undefined =>
      attempt(() => {
        const entry = find(key, LARGE_BYTES);
        return entry !== null && entry.value === null ? undefined : (entry as StoredEntry | null);
      }),

    getMany: (keys: readonly string[], valueBytes: number) =>
      attempt(() => inOneView(database, () => many(keys, valueBytes))),

    list: (query: ListQuery) => attempt(() => inOneView(database, () => page(query))),
  };
}

/** A statement whose rows are lists of columns: they cost less than objects, where the runtime has them. */
function arrays<Row>(statement: StatementSync) {
  type Parameters = (string | number | null | Uint8Array)[];
  const native = typeof statement.setReturnArrays === "function";
  if (native) statement.setReturnArrays(true);
  const rowOf = (row: unknown) => Object.values(row as object) as Row;
  return {
    get(...parameters: Parameters): Row | undefined {
      const row: unknown = statement.get(...parameters);
      return native || row === undefined ? (row as Row | undefined) : rowOf(row);
    },
    all(...parameters: Parameters): Row[] {
      const rows: unknown[] = statement.all(...parameters);
      return native ? (rows as Row[]) : rows.map(rowOf);
    },
  };
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
