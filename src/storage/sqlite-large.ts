/** Values in pieces, a row each, so that nobody ever needs a large one whole. */
import type { DatabaseSync } from "node:sqlite";
import { lengthOf } from "../core/bytes.ts";
import { KvError } from "../core/errors.ts";
import type { StoredEntry } from "./adapter.ts";
import { PIECES } from "./sqlite-schema.ts";

/** A longer value is kept in pieces. */
export const LARGE_BYTES = 262_144;
/** The pieces of one that came whole. */
const PIECE_BYTES = 131_072;
/** For how long what was staged waits to be written, in seconds: a request does not last longer. */
const STAGED_SECONDS = 3600;

/** An entry as it is written: its value may be in the file already. */
export interface EntryToWrite extends StoredEntry {
  staged?: { id: number; bytes: number };
}

/** Whether the value of an entry is kept in pieces. */
export function isLarge(entry: EntryToWrite): boolean {
  return entry.staged !== undefined || entry.parts !== undefined || entry.value.length > LARGE_BYTES;
}

/** Reads values in pieces over a connection. */
export function largeReader(database: DatabaseSync) {
  const size = database.prepare("SELECT bytes FROM workertown_kv_large WHERE id = ?");
  const pieces = database.prepare(
    `SELECT bytes FROM workertown_kv_piece WHERE id >= ?1 * ${PIECES} AND id < (?1 + 1) * ${PIECES} ORDER BY id`,
  );
  return {
    sizeOf: (id: number) => Number(size.get(id)?.bytes),
    partsOf: (id: number) => pieces.all(id).map(({ bytes }) => bytes as Uint8Array),
  };
}

/** Writes values in pieces, inside the transaction of the caller. */
export function largeWriter(database: DatabaseSync) {
  const create = database.prepare(
    "INSERT INTO workertown_kv_large (bytes, staged_at) VALUES (?, CASE WHEN ? THEN unixepoch() END)",
  );
  const insert = database.prepare(`INSERT INTO workertown_kv_piece (id, bytes) VALUES (? * ${PIECES} + ?, ?)`);
  const take = database.prepare(
    `UPDATE workertown_kv_large SET bytes = ?2, staged_at = NULL WHERE id = ?1 AND staged_at IS NOT NULL AND ?2 =
      (SELECT sum(length(bytes)) FROM workertown_kv_piece WHERE id >= ?1 * ${PIECES} AND id < (?1 + 1) * ${PIECES})`,
  );
  const forget = database.prepare("DELETE FROM workertown_kv_large WHERE id = ? AND staged_at IS NOT NULL");
  const sweep = database.prepare(`DELETE FROM workertown_kv_large WHERE staged_at <= unixepoch() - ${STAGED_SECONDS}`);

  function add(id: number, at: number, parts: Iterable<Uint8Array>): void {
    let number = at;
    for (const part of parts) insert.run(id, number++, part);
  }

  const begin = (bytes: number, staged: 0 | 1) => Number(create.run(bytes, staged).lastInsertRowid);

  return {
    add,
    /** The id of a value whose pieces are still to come. */
    stage: () => begin(0, 1),
    /** Forgets what was staged and not written; how many rows went. */
    forget: (id: number) => Number(forget.run(id).changes),
    sweep: () => Number(sweep.run().changes),

    /** The id under which the value of an entry is kept from now on. */
    keep(entry: EntryToWrite): number {
      const { staged } = entry;
      if (staged !== undefined) {
        if (take.run(staged.id, staged.bytes).changes === 1) return staged.id;
        throw new KvError("unavailable", "The value was lost on its way to the file; nothing was changed");
      }
      const parts = entry.parts ?? [...cut(entry.value)];
      const id = begin(lengthOf(parts), 0);
      add(id, 0, parts);
      return id;
    },
  };
}

function* cut(value: Uint8Array): Generator<Uint8Array, void> {
  for (let at = 0; at < value.length; at += PIECE_BYTES) yield value.subarray(at, at + PIECE_BYTES);
}
