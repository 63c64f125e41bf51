import { valueLength } from "../core/entry.ts";
import type { StorageAdapter, StoredEntry } from "./adapter.ts";

export interface CacheOptions {
  /** How many bytes the entries in the cache may take together, counted as they are in memory, about. */
  maxBytes: number;
  /** How old an entry may be that is served from the cache, in seconds: other instances' writes are seen after that. */
  maxAge: number;
  /** Epoch milliseconds. */
  now(): number;
}

interface Cached {
  entry: StoredEntry;
  bytes: number;
  /** The epoch millisecond from which it is too old. */
  until: number;
}

/** What an entry takes besides its texts: about, by measurement. */
const OVERHEAD_BYTES = 250;
/** How long a read may be joined. */
const JOIN_MS = 1000;

/**
 * An adapter that answers `get` from memory where it can. It is coherent with the writes that go through it: a key with a
 * write in flight is neither served from the cache nor put into it, whatever comes of that write. Writes that others make
 * are seen `maxAge` later at most. What is not in the cache is asked for once, however many wait for it. Conditions, batches
 * and lists always ask the engine. The least recently used go first.
 */
export function cached(adapter: StorageAdapter, { maxBytes, maxAge, now }: CacheOptions): StorageAdapter {
  if (!(maxBytes > 0 && maxAge > 0)) {
    throw new TypeError(`runtime.cache: expected { maxBytes, maxAge } greater than 0, got ${maxBytes} and ${maxAge}`);
  }
  /** In the order of their last use. */
  const entries = new Map<string, Cached>();
  /** Reads that others may join, and when they began. */
  const reads = new Map<string, { entry: Promise<StoredEntry | null>; since: number }>();
  /** How many writes of each key are in flight. */
  const writes = new Map<string, number>();
  let bytes = 0;

  function drop(key: string): void {
    bytes -= entries.get(key)?.bytes ?? 0;
    entries.delete(key);
  }

  function keep(key: string, entry: StoredEntry, readAt: number): void {
    drop(key);
    const size = valueLength(entry) + (key.length + (entry.metadata?.length ?? 0)) * 2 + OVERHEAD_BYTES;
    if (size > maxBytes) return;
    // A view would keep the whole buffer that it is a part of.
    const isView = entry.parts === undefined && entry.value.byteLength < entry.value.buffer.byteLength;
    const own = isView ? { ...entry, value: new Uint8Array(entry.value) } : entry;
    entries.set(key, { entry: own, bytes: size, until: readAt + maxAge * 1000 });
    bytes += size;
    for (const oldest of entries.keys()) {
      if (bytes <= maxBytes) break;
      drop(oldest);
    }
  }

  function read(key: string): Promise<StoredEntry | null> {
    const since = now();
    /** Whether no write of the key has begun meanwhile: it would have taken this read from the list. */
    const isFresh = () => reads.get(key) === reading && reads.delete(key);
    const entry: Promise<StoredEntry | null> = (async () => adapter.get(key))().then(
      (found) => {
        if (isFresh() && found !== null) keep(key, found, since);
        return found;
      },
      (error) => {
        isFresh();
        throw error;
      },
    );
    const reading = { entry, since };
    reads.set(key, reading);
    return entry;
  }

  /** On Workers a read ends with the request that began it, whether it was answered or not: a new one is begun then. */
  function joined(key: string): Promise<StoredEntry | null> | undefined {
    const reading = reads.get(key);
    return reading !== undefined && now() - reading.since < JOIN_MS ? reading.entry : undefined;
  }

  function begin(key: string): void {
    drop(key);
    reads.delete(key);
    writes.set(key, (writes.get(key) ?? 0) + 1);
  }

  function end(key: string): void {
    const others = (writes.get(key) ?? 1) - 1;
    if (others === 0) writes.delete(key);
    else writes.set(key, others);
  }

  return {
    ...adapter,

    get(key) {
      const hit = entries.get(key);
      if (hit !== undefined && hit.until > now()) {
        entries.delete(key);
        entries.set(key, hit);
        return hit.entry;
      }
      return writes.has(key) ? adapter.get(key) : (joined(key) ?? read(key));
    },

    getMany: async (keys, valueBytes) =>
      adapter.getMany?.(keys, valueBytes) ?? Promise.all(keys.map((key) => adapter.get(key))),

    async write(operations, options) {
      const keys = operations.filter(({ kind }) => kind !== "get").map(({ key }) => key);
      for (const key of keys) begin(key);
      try {
        return await adapter.write(operations, options);
      } finally {
        for (const key of keys) end(key);
      }
    },

    async ping() {
      await (adapter.ping ? adapter.ping() : adapter.get("ready"));
    },
  };
}
