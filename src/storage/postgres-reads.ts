/** The reads that the adapters for PostgreSQL share. */
import type { FoundEntry, ListQuery, ListResult, StorageAdapter, StoredEntry } from "./adapter.ts";
import { entryOf, keyOf, type PostgresSql, type Run, rowsOf } from "./postgres-sql.ts";

/** The reads; no answer of `getMany` holds more than `answerBytes` of values at once. */
export function postgresReads(
  sql: PostgresSql,
  run: Run,
  answerBytes = Number.MAX_SAFE_INTEGER,
): Required<Pick<StorageAdapter, "get" | "getMany" | "list">> {
  return {
    async get(key) {
      const [row] = await rowsOf(run(sql.get(key)));
      return row === undefined ? null : (entryOf(row) as StoredEntry);
    },

    /** In one query, but for values of more than their share: of those come as many as fit, in further queries. */
    async getMany(keys, valueBytes) {
      const found = new Map<string, FoundRow>();
      let wanted = [...new Set(keys)];
      let each = Math.floor(Math.min(valueBytes, answerBytes) / wanted.length);
      while (wanted.length > 0) {
        for (const key of wanted) found.delete(key);
        for (const [key, row] of await findMany(sql, run, wanted, each)) found.set(key, row);
        const missing = missingOf(keys, found, valueBytes);
        const bytesOf = (key: string) => found.get(key)?.bytes ?? 0;
        wanted = firstWithin(missing, bytesOf, answerBytes);
        each = Math.max(...wanted.map(bytesOf));
      }
      const fits = within(valueBytes);
      return keys.map((key) => {
        const row = found.get(key);
        if (row === undefined) return null;
        return fits(row.bytes) ? row.entry : { ...row.entry, value: null };
      });
    },

    list: (query) => listOf(sql, run, query),
  };
}

export interface FoundRow {
  entry: FoundEntry;
  bytes: number;
}

/** What is under several keys, without the values of more than `each` bytes. */
export async function findMany(
  sql: PostgresSql,
  run: Run,
  keys: readonly string[],
  each: number,
): Promise<Map<string, FoundRow>> {
  const rows = await rowsOf(run(sql.many(keys, each)));
  return new Map(rows.map((row) => [keyOf(row), { entry: entryOf(row), bytes: row.bytes }]));
}

export async function listOf(sql: PostgresSql, run: Run, query: ListQuery): Promise<ListResult> {
  const rows = await rowsOf(run(sql.list(query)));
  const full = query.valueBytes === null ? -1 : rows.findIndex(({ value }) => value === null);
  const page = rows.slice(0, Math.min(query.limit, full === -1 ? rows.length : full));
  const entries = page.map((row) => ({ key: keyOf(row), ...entryOf({ ...row, value: row.value ?? null }) }));
  return { entries, cursor: rows.length > page.length ? (entries.at(-1)?.key ?? null) : null };
}

/** Says of one size after another whether there is room for it in what those before it left. */
function within(valueBytes: number): (bytes: number) => boolean {
  let left = valueBytes;
  return (bytes) => {
    if (bytes > left) return false;
    left -= bytes;
    return true;
  };
}

/** The keys whose value there is room for, but which was left out. */
function missingOf(keys: readonly string[], found: ReadonlyMap<string, FoundRow>, valueBytes: number): string[] {
  const fits = within(valueBytes);
  const missing = keys.filter((key) => {
    const row = found.get(key);
    return row !== undefined && fits(row.bytes) && row.entry.value === null;
  });
  return [...new Set(missing)];
}

/** As many of the first as take `limit` bytes together, at least one. */
export function firstWithin<T>(items: readonly T[], bytesOf: (item: T) => number, limit: number): T[] {
  const fits = within(limit);
  const end = items.findIndex((item, index) => !fits(bytesOf(item)) && index > 0);
  return items.slice(0, end === -1 ? items.length : end);
}
