import type { DatabaseSync } from "node:sqlite";
import type { FoundEntry, ListQuery, ListResult, StoredEntry } from "./adapter.ts";

/** How many bytes the cached entries take at most, about, and how large one may be. */
const MAX_BYTES = 16_777_216;
const MAX_ENTRY_BYTES = 262_144;
const OVERHEAD_BYTES = 250;
/** How large a page may be. */
const MAX_PAGE_BYTES = 1_048_576;
/** How many keys are remembered that were asked for once. */
const MISSES = 8192;

/** A page of keys, and for which moment it was read. */
interface Page extends ListResult {
  readAt: number;
}

/**
 * Answers `get` and lists of keys from memory where nothing has been written since: SQLite says so by its `data_version`,
 * which changes with every commit of another connection, in this process or another. All reads of one turn of the event
 * loop share one read transaction, at whose beginning it is asked; `endTurn` ends it before its time. A key or a page is
 * kept from the second time on, so that a walk over all of them costs nothing.
 *
 * @see https://www.sqlite.org/pragma.html#pragma_data_version
 */
export function cachedReads(
  database: DatabaseSync,
  read: (key: string) => StoredEntry | null | undefined,
  readPage: (query: ListQuery) => ListResult,
) {
  const begin = database.prepare("BEGIN");
  // Where a read has failed on a damaged page, COMMIT fails once more.
  const end = database.prepare("ROLLBACK");
  const dataVersion = database.prepare("PRAGMA data_version");
  const entries = new Map<string, StoredEntry | null>();
  const pages = new Map<string, Page>();
  const missed = new Set<string>();
  let bytes = 0;
  let version: unknown;
  let inTurn = false;
  let hits = 0;
  let misses = 0;

  function endTurn(): void {
    if (!inTurn) return;
    inTurn = false;
    if (database.isOpen && database.isTransaction) end.run();
  }

  function beginTurn(): void {
    begin.run();
    inTurn = true;
    setImmediate(endTurn);
    const current = dataVersion.get()?.data_version;
    if (current === version) return;
    version = current;
    clear();
  }

  function clear(): void {
    entries.clear();
    pages.clear();
    bytes = 0;
  }

  function keep<T>(kept: Map<string, T>, key: string, value: T, size: number): void {
    if (!missed.delete(key)) {
      if (missed.size >= MISSES) missed.clear();
      missed.add(key);
      return;
    }
    // Seldom full, since every write empties it: then anew.
    if (bytes + size > MAX_BYTES) clear();
    kept.set(key, value);
    bytes += size;
  }

  return {
    /** What `read` says, of which `undefined` is not kept. */
    get(key: string): StoredEntry | null | undefined {
      if (!inTurn) beginTurn();
      const known = entries.get(key);
      if (known !== undefined) {
        hits += 1;
        return known;
      }
      misses += 1;
      const entry = read(key);
      if (entry === undefined) return entry;
      const size = sizeOf(key, entry);
      if (size <= MAX_ENTRY_BYTES) keep(entries, key, entry, size);
      return entry;
    },

    /** A page may hold what has expired since it was read. */
    list(query: ListQuery): ListResult {
      const { prefix, cursor, limit, valueBytes, now } = query;
      if (valueBytes !== null) return readPage(query);
      if (!inTurn) beginTurn();
      const name = JSON.stringify([prefix, cursor, limit]);
      const known = pages.get(name);
      // What had expired for the moment before would live again for an earlier one.
      if (known !== undefined && known.readAt <= now) return known;
      const page = readPage(query);
      const size = page.entries.reduce((sum, entry) => sum + sizeOf(entry.key, entry), name.length * 2);
      if (size <= MAX_PAGE_BYTES) keep(pages, name, { ...page, readAt: now }, size);
      return page;
    },
    endTurn,
    counts: () => ({ hits, misses }),
  };
}

/** What an entry takes in memory, about. */
function sizeOf(key: string, entry: FoundEntry | null): number {
  return (entry?.value?.length ?? 0) + (key.length + (entry?.metadata?.length ?? 0)) * 2 + OVERHEAD_BYTES;
}
