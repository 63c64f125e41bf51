import type { DatabaseSync, StatementSync } from "node:sqlite";
import { concat } from "../core/bytes.ts";
import { keyBytes } from "../core/key.ts";
import type { FoundEntry, ListedEntry, ListQuery, StoredEntry } from "./adapter.ts";
import { boundsOf, keyOfBytes } from "./key-range.ts";
import { LARGE_BYTES, largeReader } from "./sqlite-large.ts";
import type { ReadEntry } from "./sqlite-large-cache.ts";
import { attempt } from "./sqlite-open.ts";
import { ENTRIES, LARGE_ID, namespaceId, textOf, VALUE } from "./sqlite-schema.ts";

/** A value, metadata, when it expires, its version and the id of a value in pieces. */
type EntryRow = [Uint8Array | null, string | null, number | null, string, number | null];

/** A key, metadata or the id of one that stands apart, when it expires and its version. */
type ListedRow = [key: string | Uint8Array, string | number | null, number | null, string];

/** The entry under a key; `value: null` where it takes more than so many bytes. */
export type Find = (key: string, valueBytes: number) => FoundEntry | null;

/** How one entry is read over a connection. */
export function finder(database: DatabaseSync, namespace: string): Find {
  // Text goes in and out as bytes: a trip through a JavaScript string costs more, the longer the dearer (bench/json-text.ts).
  const rowOf = arrays<EntryRow>(
    database.prepare(
      `SELECT ${VALUE} AS value, ${textOf("metadata")} AS metadata, expires_at, version, ${LARGE_ID} AS large FROM ${ENTRIES}
        WHERE namespace = ${namespaceId(database, namespace)} AND name = ?2`,
    ),
  ).get;
  const { sizeOf, partsOf } = largeReader(database);
  return (key, valueBytes) => {
    const row = rowOf(valueBytes, keyBytes(key));
    if (row === undefined) return null;
    const [short, metadata, expiresAt, version, large] = row;
    const value = large !== null && sizeOf(large) <= valueBytes ? concat(partsOf(large)) : short;
    return { value, metadata, expiresAt, version };
  };
}

/** An entry over a connection, its value in pieces where it is kept so. */
export function partsReader(database: DatabaseSync, namespace: string): (key: string) => ReadEntry | null {
  const find = finder(database, namespace);
  const { partsOf } = largeReader(database);
  const largeOf = database.prepare(
    `SELECT ${LARGE_ID} AS large FROM workertown_kv_entry
      WHERE namespace = ${namespaceId(database, namespace)} AND name = ?`,
  );
  return (key) =>
    attempt(() =>
      inOneView(database, () => {
        const large = largeOf.get(keyBytes(key))?.large as number | null | undefined;
        const entry = find(key, typeof large === "number" ? NO_VALUE : Number.MAX_SAFE_INTEGER);
        if (entry === null || typeof large !== "number") return entry as StoredEntry | null;
        return { ...entry, value: EMPTY, parts: partsOf(large), large };
      }),
    );
}

/** As a limit of bytes, for no value at all: the shortest has one. */
const NO_VALUE = 0;
const EMPTY = new Uint8Array(0);

/** Reads over a connection. */
export function reads(database: DatabaseSync, namespace: string) {
  const find = finder(database, namespace);
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

  /** One by one, which costs less than one query with all the keys in it. */
  function many(keys: readonly string[], valueBytes: number): (FoundEntry | null)[] {
    let left = valueBytes;
    return keys.map((key) => {
      const entry = find(key, left);
      left -= entry?.value?.length ?? 0;
      return entry;
    });
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
