import { isLive } from "../core/entry.ts";
import { compareKeys } from "../core/key.ts";
import type { ListedEntry, StorageAdapter, StoredEntry } from "./adapter.ts";
import { decide } from "./decide.ts";
import { withinBytes } from "./value-budget.ts";

/**
 * Storage in the memory of this process, gone with it: for tests, and the reference that every other adapter is held to.
 * Each call makes a store of its own.
 */
export function memoryStorage(): StorageAdapter {
  const entries = new Map<string, StoredEntry>();
  /** The keys in order, or `null` where a key came or went since the last list. */
  let sorted: string[] | null = null;

  function store(key: string, entry: StoredEntry | null): void {
    if (entries.has(key) !== (entry !== null)) sorted = null;
    if (entry === null) entries.delete(key);
    else entries.set(key, entry);
  }

  return {
    engine: "memory",
    capabilities: {
      consistency: "strong",
      conditional: true,
      atomic: { operations: Number.MAX_SAFE_INTEGER, bytes: Number.MAX_SAFE_INTEGER },
      ordered: true,
      snapshot: false,
      reportsDelete: true,
      maxKey: Number.MAX_SAFE_INTEGER,
      maxValue: Number.MAX_SAFE_INTEGER,
      maxMetadata: Number.MAX_SAFE_INTEGER,
    },

    get: (key) => entries.get(key) ?? null,

    getMany: (keys, valueBytes) => keys.map((key) => entries.get(key) ?? null).map(withinBytes(valueBytes)),

    write(operations, options) {
      const { outcomes, changes } = decide(operations, options, (key) => entries.get(key) ?? null);
      for (const [key, entry] of changes) store(key, entry);
      return outcomes;
    },

    list({ prefix, cursor, limit, valueBytes, now }) {
      sorted ??= [...entries.keys()].sort(compareKeys);
      const page: ListedEntry[] = [];
      let bytes = 0;
      for (let index = firstAfter(sorted, cursor, prefix); sorted[index]?.startsWith(prefix); index++) {
        const key = sorted[index] as string;
        const entry = entries.get(key) as StoredEntry;
        if (!isLive(entry, now)) continue;
        if (page.length === limit || (valueBytes !== null && page.length > 0 && bytes >= valueBytes)) {
          return { entries: page, cursor: page.at(-1)?.key ?? null };
        }
        page.push({ ...entry, key, value: valueBytes === null ? null : entry.value });
        bytes += entry.value.length;
      }
      return { entries: page, cursor: null };
    },

    sweep(now, limit) {
      let removed = 0;
      for (const [key, entry] of entries) {
        if (removed === limit) break;
        if (isLive(entry, now)) continue;
        store(key, null);
        removed++;
      }
      return removed;
    },
  };
}

/** The index of the first key after the cursor, or without one of the first that is not before the prefix. */
function firstAfter(sorted: readonly string[], cursor: string | null, prefix: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const key = sorted[middle] as string;
    if (cursor === null ? compareKeys(key, prefix) < 0 : compareKeys(key, cursor) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
