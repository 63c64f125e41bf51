import type { DatabaseSync } from "node:sqlite";
import { lengthOf } from "../core/bytes.ts";
import { inParts } from "../core/entry.ts";
import type { StoredEntry } from "./adapter.ts";
import { LARGE_ID, namespaceId, textOf } from "./sqlite-schema.ts";

/** How much of large values is kept. */
const MAX_BYTES = 33_554_432;
/** How many are remembered that were asked for once. */
const MISSES = 64;

/** An entry as the thread reads it: of a value in pieces with its id. */
export type ReadEntry = StoredEntry & { large?: number };

interface Head {
  id: number | null;
  metadata: string | null;
  expiresAt: number | null;
  version: string;
}

/**
 * Answers reads of large values: those that were asked for twice from memory, the others by `read`. What stands under an id
 * never changes, so that only the row of the entry has to be looked at.
 */
export function largeReads(
  database: DatabaseSync,
  namespace: string,
  read: (key: string) => Promise<ReadEntry | null>,
) {
  const head = database.prepare(
    `SELECT ${LARGE_ID} AS id, ${textOf("metadata")} AS metadata, expires_at AS expiresAt, version
      FROM workertown_kv_entry WHERE namespace = ${namespaceId(database, namespace)} AND name = CAST(? AS BLOB)`,
  );
  /** In the order of their last use. */
  const kept = new Map<number, readonly Uint8Array[]>();
  const missed = new Set<number>();
  let bytes = 0;

  function drop(id: number): void {
    bytes -= lengthOf(kept.get(id) ?? []);
    kept.delete(id);
  }

  function keep(id: number, parts: readonly Uint8Array[]): void {
    if (!missed.delete(id)) {
      if (missed.size >= MISSES) missed.clear();
      missed.add(id);
      return;
    }
    const size = lengthOf(parts);
    if (size > MAX_BYTES) return;
    drop(id);
    for (const oldest of kept.keys()) {
      if (bytes + size <= MAX_BYTES) break;
      drop(oldest);
    }
    kept.set(id, parts);
    bytes += size;
  }

  async function fromFile(key: string): Promise<StoredEntry | null> {
    const entry = await read(key);
    const { large, parts } = entry ?? {};
    if (entry === null || large === undefined || parts === undefined) return entry;
    keep(large, parts);
    const { metadata, expiresAt, version } = entry;
    return inParts(parts, { metadata, expiresAt, version });
  }

  return function get(key: string): StoredEntry | Promise<StoredEntry | null> {
    const row = head.get(key) as unknown as Head | undefined;
    const parts = kept.get(row?.id ?? 0);
    if (row === undefined || row.id === null || parts === undefined) return fromFile(key);
    kept.delete(row.id);
    kept.set(row.id, parts);
    const { metadata, expiresAt, version } = row;
    return inParts(parts, { metadata, expiresAt, version });
  };
}
