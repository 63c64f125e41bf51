import { KvError } from "../core/errors.ts";
import { keyBytes } from "../core/key.ts";
import type { FoundEntry, ListedEntry, ListQuery, ListResult, StoredEntry } from "./adapter.ts";
import { entryOf, keyOf, type Row, type Run, selectMany, selectOne, selectPage } from "./mysql-sql.ts";
import { withinBytes } from "./value-budget.ts";

/** How many bytes of names one statement may hold, before they are written in hexadecimal. */
const NAMES_BYTES = 262_144;
/** What a name counts for at least: MariaDB makes a table of its own of 1,000 or more of them. */
const NAME_BYTES = 300;

export interface MysqlReads {
  get(key: string): Promise<StoredEntry | null>;
  getMany(keys: readonly string[], valueBytes: number): Promise<(FoundEntry | null)[]>;
  list(query: ListQuery): Promise<ListResult>;
}

/** `answerBytes`: how many bytes of values the engine answers at once. */
export function mysqlReads(run: Run, namespace: Uint8Array, answerBytes = Number.MAX_SAFE_INTEGER): MysqlReads {
  /** The rows under keys, with values that are no longer than `share`. */
  async function rowsUnder(keys: readonly string[], share: number): Promise<Map<string, Row>> {
    const found = new Map<string, Row>();
    const names = [...new Set(keys)].map(keyBytes);
    for (const chunk of chunksOf(names, (name) => Math.max(name.length, NAME_BYTES), NAMES_BYTES)) {
      const { rows } = await run(selectMany(namespace, chunk, share));
      for (const row of rows) found.set(keyOf(row), row);
    }
    return found;
  }

  /** Of rows whose values were too long for their share, those that are still there, with their values. */
  async function longRows(rows: readonly Row[]): Promise<Map<string, Row>> {
    const found = new Map<string, Row>();
    for (const chunk of chunksOf(rows, ({ bytes }) => Number(bytes), answerBytes)) {
      const whole = await rowsUnder(chunk.map(keyOf), Number.MAX_SAFE_INTEGER);
      for (const [key, row] of whole) found.set(key, withValue(row));
    }
    return found;
  }

  return {
    async get(key) {
      const { rows } = await run(selectOne(namespace, keyBytes(key)));
      return rows[0] === undefined ? null : (entryOf(withValue(rows[0])) as StoredEntry);
    },

    /** In one statement, but for values of more than their share: those that fit are read by others. */
    async getMany(keys, valueBytes) {
      const budget = Math.min(valueBytes, Number.MAX_SAFE_INTEGER);
      const found = await rowsUnder(keys, Math.floor(Math.min(budget, answerBytes) / (keys.length || 1)));
      let left = budget;
      // By key, not by row: a value that is asked for twice is answered twice.
      for (const key of keys) left -= valueIn(found.get(key))?.length ?? 0;
      const long = keys.flatMap((key) => {
        const row = found.get(key);
        if (row === undefined || valueIn(row) !== null || Number(row.bytes) > left) return [];
        left -= Number(row.bytes);
        return [row];
      });
      // One that is gone meanwhile counts as absent.
      for (const row of long) found.delete(keyOf(row));
      for (const [key, row] of await longRows(long)) found.set(key, row);
      const entries = keys.map((key) => found.get(key)).map((row) => (row === undefined ? null : entryOf(row)));
      return entries.map(withinBytes(budget));
    },

    async list(query) {
      const { limit, valueBytes } = query;
      const share = valueBytes === null ? null : Math.floor(valueBytes / limit);
      const { rows } = await run(selectPage(namespace, query, share));
      const count = valueBytes === null ? Math.min(limit, rows.length) : countWithin(rows, limit, valueBytes);
      const page = rows.slice(0, count);
      const cursor = rows.length > count ? keyOf(page.at(-1) as Row) : null;
      if (valueBytes === null) return { entries: page.map(listed), cursor };
      const longer = await longRows(page.filter((row) => valueIn(row) === null));
      // One that is gone meanwhile is left out.
      const whole = page.map((row) => (valueIn(row) === null ? longer.get(keyOf(row)) : row));
      return { entries: whole.filter((row) => row !== undefined).map(listed), cursor };
    },
  };
}

function valueIn(row: Row | undefined): Uint8Array | null {
  return (row?.value ?? null) as Uint8Array | null;
}

/** The row itself. The server answers NULL for what is longer than its packets, which were longer when it was written. */
function withValue(row: Row): Row {
  if (valueIn(row) !== null) return row;
  throw new KvError("unavailable", "A value is longer than the database's max_allowed_packet: raise that to read it");
}

function listed(row: Row): ListedEntry {
  return { key: keyOf(row), ...entryOf(row) };
}

/** How many rows a page holds that stops after the one that takes its values to `valueBytes`. */
function countWithin(rows: readonly Row[], limit: number, valueBytes: number): number {
  let count = 0;
  for (let total = 0; count < Math.min(limit, rows.length) && total < valueBytes; count++) {
    total += Number(rows[count]?.bytes);
  }
  return count;
}

/** Neighbours together, as long as their sizes come to `most`; one that is larger stands alone. */
export function chunksOf<T>(items: readonly T[], sizeOf: (item: T) => number, most: number): T[][] {
  const chunks: T[][] = [];
  let room = 0;
  for (const item of items) {
    const size = sizeOf(item);
    if (size > room) {
      chunks.push([]);
      room = most;
    }
    chunks.at(-1)?.push(item);
    room -= size;
  }
  return chunks;
}
