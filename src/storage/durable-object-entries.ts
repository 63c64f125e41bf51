import { isLive } from "../core/entry.ts";
import { keyBytes } from "../core/key.ts";
import type {
  FoundEntry,
  ListedEntry,
  ListQuery,
  ListResult,
  StoredEntry,
  WriteOperation,
  WriteOptions,
  WriteOutcome,
} from "./adapter.ts";
import { decide } from "./decide.ts";
import { MIGRATIONS, migrateObject, type ObjectStorageLike } from "./durable-object-schema.ts";
import { boundsOf, keyOfBytes } from "./key-range.ts";

/** What a row may hold of a value: 2 MB is the most that SQLite takes there, key and metadata included. */
const CHUNK_BYTES = 1_048_576;
/** An answer to `getMany` ends after the entry that takes its values to this many bytes. */
const ANSWER_BYTES = 10_485_760;
/** As a budget, for no value at all: the shortest has one byte. */
const NO_VALUES = -1;

// Text goes in and out as bytes, which no JavaScript string ever holds.
const ENTRY = `metadata, expires_at AS expiresAt, version, bytes, CASE WHEN bytes <= ? THEN CAST(value AS BLOB) END AS value`;
const FIND = `SELECT ${ENTRY} FROM workertown_kv WHERE name = ?`;
const LIST = `SELECT name, ${ENTRY} FROM workertown_kv
  WHERE name >= ? AND name < ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY name LIMIT ?`;
const PUT = `INSERT INTO workertown_kv (name, metadata, expires_at, version, updated_at, bytes, value)
  VALUES (?, ?, ?, ?, ?, ?, CAST(? AS TEXT))
  ON CONFLICT (name) DO UPDATE SET metadata = excluded.metadata, expires_at = excluded.expires_at,
    version = excluded.version, updated_at = excluded.updated_at, bytes = excluded.bytes, value = excluded.value`;
const DELETE = "DELETE FROM workertown_kv WHERE name = ?";
const CHUNKS = "SELECT CAST(value AS BLOB) AS value FROM workertown_kv_chunk WHERE name = ? ORDER BY part";
const PUT_CHUNK = "INSERT INTO workertown_kv_chunk (name, part, value) VALUES (?, ?, CAST(? AS TEXT))";
const SWEEP = `DELETE FROM workertown_kv WHERE name IN
  (SELECT name FROM workertown_kv WHERE expires_at <= ? ORDER BY expires_at LIMIT ?) RETURNING 1`;
const NEXT_EXPIRY =
  "SELECT expires_at AS at FROM workertown_kv WHERE expires_at IS NOT NULL ORDER BY expires_at LIMIT 1";

interface Row extends Omit<StoredEntry, "value"> {
  bytes: number;
  /** `null` where it is over the budget or in chunks. */
  value: ArrayBuffer | null;
}

interface ListedRow extends Row {
  name: ArrayBuffer;
}

/** The entries of one Durable Object: the calls of the adapter, each done in one turn and so at one moment. */
export interface ObjectEntries {
  /** The entries under the first keys: as many as one answer holds, at least one. */
  getMany(keys: readonly string[], valueBytes: number): (FoundEntry | null)[];
  write(operations: readonly WriteOperation[], options: WriteOptions): WriteOutcome[];
  list(query: ListQuery): ListResult;
  migrate(): string[];
  sweep(now: number, limit: number): number;
  /** The first moment at which an entry expires, `null` for never. */
  nextExpiry(): number | null;
}

export function objectEntries(storage: ObjectStorageLike, migrations = MIGRATIONS): ObjectEntries {
  function rows<T>(...query: Parameters<ObjectStorageLike["sql"]["exec"]>): Iterable<T> {
    return storage.sql.exec(...query) as Iterable<T>;
  }

  function entryOf(row: Row, name: ArrayBuffer | Uint8Array, valueBytes: number): FoundEntry {
    const { metadata, expiresAt, version, bytes, value } = row;
    const entry = { metadata, expiresAt, version };
    if (bytes > valueBytes) return { ...entry, value: null };
    return { ...entry, value: value === null ? fromChunks(name, bytes) : new Uint8Array(value) };
  }

  function fromChunks(name: ArrayBuffer | Uint8Array, bytes: number): Uint8Array {
    const value = new Uint8Array(bytes);
    let at = 0;
    for (const chunk of rows<{ value: ArrayBuffer }>(CHUNKS, name)) {
      value.set(new Uint8Array(chunk.value), at);
      at += chunk.value.byteLength;
    }
    return value;
  }

  /** The entry under a key, its value only where that takes at most `valueBytes`. */
  function find(key: string, valueBytes: number): FoundEntry | null {
    const name = keyBytes(key);
    const [row] = rows<Row>(FIND, valueBytes, name);
    return row === undefined ? null : entryOf(row, name, valueBytes);
  }

  function put(key: string, { value, metadata, expiresAt, version }: StoredEntry, now: number): void {
    const name = keyBytes(key);
    const whole = value.length <= CHUNK_BYTES;
    rows(PUT, name, metadata, expiresAt, version, now, value.length, whole ? value : null);
    if (whole) return;
    for (const [part, chunk] of chunksOf(value).entries()) rows(PUT_CHUNK, name, part, chunk);
  }

  return {
    getMany(keys, valueBytes) {
      const found: (FoundEntry | null)[] = [];
      let bytes = 0;
      for (const key of keys) {
        if (bytes >= ANSWER_BYTES) break;
        const entry = find(key, valueBytes - bytes);
        bytes += entry?.value?.length ?? 0;
        found.push(entry);
      }
      return found;
    },

    write(operations, options) {
      const firstKind = new Map(operations.toReversed().map(({ key, kind }) => [key, kind]));
      let left = options.valueBytes ?? 0;
      /** With its value where that will be answered. */
      const stored = (key: string): FoundEntry | null => {
        const entry = find(key, firstKind.get(key) === "get" ? left : NO_VALUES);
        if (entry?.value != null && isLive(entry, options.now)) left -= entry.value.length;
        return entry;
      };
      return storage.transactionSync(() => {
        const { outcomes, changes } = decide(operations, options, stored);
        for (const [key, entry] of changes) {
          if (entry === null) rows(DELETE, keyBytes(key));
          else put(key, entry, options.now);
        }
        return outcomes;
      });
    },

    list({ prefix, cursor, limit, valueBytes, now }) {
      const budget = valueBytes === null ? NO_VALUES : Number.MAX_SAFE_INTEGER;
      const entries: ListedEntry[] = [];
      let bytes = 0;
      for (const row of rows<ListedRow>(LIST, budget, ...boundsOf({ prefix, cursor }), now, limit + 1)) {
        const isFull = valueBytes !== null && entries.length > 0 && bytes >= valueBytes;
        if (isFull || entries.length === limit) return { entries, cursor: entries.at(-1)?.key ?? null };
        entries.push({ key: keyOfBytes(row.name), ...entryOf(row, row.name, budget) });
        bytes += row.bytes;
      }
      return { entries, cursor: null };
    },

    migrate: () => storage.transactionSync(() => migrateObject(rows, migrations)),

    sweep: (now, limit) => [...rows(SWEEP, now, limit)].length,

    nextExpiry: () => [...rows<{ at: number }>(NEXT_EXPIRY)][0]?.at ?? null,
  };
}

/** A value in pieces for rows, each of them UTF-8: a character is not cut. */
function chunksOf(value: Uint8Array): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let from = 0; from < value.length; ) {
    let to = Math.min(from + CHUNK_BYTES, value.length);
    while (((value[to] ?? 0) & 0xc0) === 0x80) to--;
    chunks.push(value.subarray(from, to));
    from = to;
  }
  return chunks;
}
