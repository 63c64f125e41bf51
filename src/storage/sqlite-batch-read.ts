import { isLive } from "../core/entry.ts";
import { KvError } from "../core/errors.ts";
import { keyBytes } from "../core/key.ts";
import type { FoundEntry, StorageAdapter, StoredEntry, WriteOperation, WriteOptions } from "./adapter.ts";
import type { Row, SqliteConnection, Statement } from "./sqlite-batch.ts";
import { withinBytes } from "./value-budget.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

const GET = `SELECT metadata, expires_at AS expiresAt, version, value FROM workertown_kv
  WHERE namespace = ?1 AND name = unhex(?2)`;

const MANY = `SELECT hex(name) AS name, metadata, expires_at AS expiresAt, version, octet_length(value) AS bytes,
    CASE WHEN octet_length(value) <= ?2 THEN value END AS value
  FROM workertown_kv WHERE namespace = ?1 AND name IN (SELECT unhex(value) FROM json_each(?3))`;

const VALUES = `SELECT hex(kv.name) AS name, kv.value AS value FROM json_each(?2) AS wanted CROSS JOIN workertown_kv AS kv
  WHERE kv.namespace = ?1 AND kv.name = unhex(wanted.value->>0) AND kv.version = wanted.value->>1`;

const IN_RANGE = `FROM workertown_kv WHERE namespace = ?1 AND name >= unhex(?2) AND name < unhex(?3)
  AND (expires_at IS NULL OR expires_at > ?4) ORDER BY name LIMIT ?5 + 1`;

const LIST = `SELECT hex(name) AS name, metadata, expires_at AS expiresAt, version, NULL AS value ${IN_RANGE}`;

/** A page and one entry more. Of that, and of those after the one that takes the values to ?6 bytes, no value is read. */
const LIST_VALUES = `SELECT hex(kv.name) AS name, metadata, expires_at AS expiresAt, version,
    CASE WHEN position <= ?5 AND before < ?6 THEN value END AS value
  FROM (SELECT id, row_number() OVER page AS position, sum(bytes) OVER page - bytes AS before
    FROM (SELECT rowid AS id, name, octet_length(value) AS bytes ${IN_RANGE})
    WINDOW page AS (ORDER BY name ROWS UNBOUNDED PRECEDING))
  JOIN workertown_kv AS kv ON kv.rowid = id ORDER BY kv.name`;

interface Found extends FoundEntry {
  value: Uint8Array | null;
  bytes: number;
}

export type SqliteReads = ReturnType<typeof sqliteReads>;

export function sqliteReads({ read }: Pick<SqliteConnection, "read">, namespace: string, answerBytes: number) {
  const get: StorageAdapter["get"] = async (key) => {
    const [row] = await read({ sql: GET, parameters: [namespace, hexOf(key)] });
    return row === undefined ? null : (entryOf(row) as StoredEntry);
  };

  const list: StorageAdapter["list"] = async ({ prefix, cursor, limit, valueBytes, now }) => {
    // No byte of UTF-8 is 0xFF, and nothing stands between a key and the same one with a zero byte at its end.
    const lower = cursor === null ? hexOf(prefix) : `${hexOf(cursor)}00`;
    const range = [namespace, lower, `${hexOf(prefix)}FF`, now, limit];
    const rows =
      valueBytes === null
        ? await read({ sql: LIST, parameters: range })
        : await read({ sql: LIST_VALUES, parameters: [...range, Math.min(valueBytes, answerBytes)] });
    const page = valueBytes === null ? rows.slice(0, limit) : rows.filter(({ value }) => value !== null);
    const entries = page.map((row) => ({ key: keyOf(row), ...entryOf(row) }));
    return { entries, cursor: rows.length > page.length ? (entries.at(-1)?.key ?? null) : null };
  };

  /** Which version is stored under each of some keys, and the value where it is no longer than `share`. */
  const state = (keys: readonly string[], share = 0): Statement => ({
    sql: MANY,
    parameters: [namespace, share, JSON.stringify(keys.map(hexOf))],
  });

  /**
   * What is stored under the keys of operations at one moment, with the values that their reads answer within
   * `valueBytes`: the short ones at once, the others by their versions.
   */
  const find = (operations: readonly WriteOperation[], { now, valueBytes = 0 }: Omit<WriteOptions, "atomic">) =>
    untilQuiet(async () => {
      const keys = [...new Set(operations.map(({ key }) => key))];
      const share = Math.floor(Math.min(valueBytes, answerBytes) / (keys.length || 1));
      const found = foundOf(await read(state(keys, share)));
      const missing = readWithin(operations, found, now, valueBytes).filter(([, { value }]) => value === null);
      for (const piece of piecesOf(missing, answerBytes, ([, { bytes }]) => bytes)) {
        const wanted = JSON.stringify(piece.map(([key, { version }]) => [hexOf(key), version]));
        const rows = await read({ sql: VALUES, parameters: [namespace, wanted] });
        if (rows.length < piece.length) return undefined;
        for (const row of rows) (found.get(keyOf(row)) as Found).value = bytesOf(row.value);
      }
      return found;
    });

  const getMany: Required<StorageAdapter>["getMany"] = async (keys, valueBytes) => {
    const gets = keys.map((key) => ({ kind: "get" as const, key }));
    const found = await find(gets, { now: Number.NEGATIVE_INFINITY, valueBytes });
    return keys.map((key) => found.get(key) ?? null).map(withinBytes(valueBytes));
  };

  return { get, getMany, list, state, find };
}

/** The stored entries whose values reads answer within so many bytes: what a batch has put itself counts, but is there. */
function readWithin(
  operations: readonly WriteOperation[],
  found: ReadonlyMap<string, Found>,
  now: number,
  valueBytes: number,
): [key: string, Found][] {
  const changed = new Map<string, number>();
  const read: [string, Found][] = [];
  let left = valueBytes;
  for (const operation of operations) {
    const { kind, key } = operation;
    if (kind !== "get") {
      changed.set(key, kind === "put" ? operation.entry.value.length : 0);
      continue;
    }
    const entry = found.get(key);
    const stored = entry !== undefined && !changed.has(key) && isLive(entry, now) ? entry : undefined;
    const bytes = changed.get(key) ?? stored?.bytes ?? 0;
    if (bytes > left) continue;
    left -= bytes;
    if (stored !== undefined) read.push([key, stored]);
  }
  return [...new Map(read)];
}

/** The rows of `state`, by key. */
export function foundOf(rows: readonly Row[]): Map<string, Found> {
  return new Map(rows.map((row) => [keyOf(row), { ...entryOf(row), bytes: Number(row.bytes) }]));
}

function entryOf({ value, metadata, expiresAt, version }: Row) {
  return {
    value: value === null ? null : bytesOf(value),
    metadata: metadata as string | null,
    expiresAt: expiresAt === null ? null : Number(expiresAt),
    version: version as string,
  };
}

function bytesOf(text: unknown): Uint8Array {
  return encoder.encode(text as string);
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0").toUpperCase());

/** A key in hexadecimal: the form that no driver, and no JSON of SQLite, cuts at a NUL. */
export function hexOf(key: string): string {
  let hex = "";
  for (const byte of keyBytes(key)) hex += HEX[byte];
  return hex;
}

function keyOf({ name }: Row): string {
  const hex = name as string;
  const bytes = Uint8Array.from({ length: hex.length / 2 }, (_, index) =>
    Number.parseInt(hex.slice(index * 2, index * 2 + 2), 16),
  );
  return decoder.decode(bytes);
}

/** Neighbours in pieces of at most so many bytes together; what is larger by itself makes a piece of its own. */
export function piecesOf<T>(items: readonly T[], bytes: number, sizeOf: (item: T) => number): T[][] {
  const pieces: T[][] = [];
  let room = 0;
  for (const item of items) {
    const size = sizeOf(item);
    if (size > room || pieces.length === 0) {
      pieces.push([]);
      room = bytes;
    }
    pieces.at(-1)?.push(item);
    room -= size;
  }
  return pieces;
}

const TRIES = 30;

/** What an attempt comes to; where others wrote in between (`undefined`) it is made again after a moment. */
export async function untilQuiet<T>(attempt: () => Promise<T | undefined>): Promise<T> {
  for (let tries = 0; tries < TRIES; tries++) {
    const result = await attempt();
    if (result !== undefined) return result;
    await new Promise((resolve) => setTimeout(resolve, Math.random() * Math.min(2 ** tries, 100)));
  }
  throw new KvError("unavailable", "Too many others write the same keys at the moment; nothing was changed");
}
