import { closeSync, fdatasync, openSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { lengthOf } from "../core/bytes.ts";
import { checkpointer } from "./sqlite-checkpoint.ts";
import type { FailStop } from "./sqlite-fail-stop.ts";
import { largeWriter } from "./sqlite-large.ts";
import { connectDatabase } from "./sqlite-open.ts";

/** After how many pages of staged pieces the log is moved into the database: it costs as much again as to write them. */
const CHECKPOINT_PAGES = 16_384;
/** After how many bytes of them the log is flushed, while the next arrive. */
const FLUSH_BYTES = 2_097_152;

/**
 * Writes pieces of values that are still on their way, in short transactions of its own, so that others have their turn in
 * between. Nobody waits until they are flushed: the commit of the entry that takes them flushes the log, and with it all that
 * stands in it before.
 */
export function stager(path: string, stop: FailStop) {
  /** By the number that the other thread gave. */
  const ids = new Map<number, number>();
  let open: ReturnType<typeof connect> | null = null;
  let unflushed = 0;
  let flushing = false;

  function connect() {
    const database = connectDatabase(path);
    database.exec("PRAGMA synchronous = NORMAL");
    const log = checkpointer(database, stop, { atPages: CHECKPOINT_PAGES, pages: 0 });
    return { database, log, large: largeWriter(database), file: openSync(`${path}-wal`, "r+") };
  }

  function write(stage: number, at: number, pieces: readonly Uint8Array[]): void {
    open ??= connect();
    const { database, large } = open;
    const id = inTransaction(database, () => {
      const id = ids.get(stage) ?? large.stage();
      large.add(id, at, pieces);
      return id;
    });
    // Not before: one that was undone is given to another.
    ids.set(stage, id);
    const bytes = lengthOf(pieces);
    open.log.committed(0, bytes);
    flush(open.file, bytes);
  }

  /** Leaves less to do for the commit that somebody waits for; whether it fails, that one is told too. */
  function flush(log: number, bytes: number): void {
    unflushed += bytes;
    if (flushing || unflushed < FLUSH_BYTES) return;
    flushing = true;
    unflushed = 0;
    fdatasync(log, () => {
      flushing = false;
    });
  }

  return {
    idOf: (stage: number) => ids.get(stage) ?? 0,

    /** Whether pieces could be written. */
    add(stage: number, at: number, pieces: readonly Uint8Array[]): boolean {
      if (stop.refusal() !== null) return false;
      try {
        write(stage, at, pieces);
        return true;
      } catch (error) {
        stop.note(error);
        return false;
      }
    },

    /** Forgets what nobody has written. What cannot be forgotten now is swept later. */
    end(stage: number): void {
      const id = ids.get(stage);
      ids.delete(stage);
      if (id === undefined || open === null || stop.refusal() !== null) return;
      try {
        open.large.forget(id);
        // Nobody waits for it now.
        if (open.log.isDue()) open.log.move();
      } catch (error) {
        stop.note(error);
      }
    },

    close(): void {
      if (open === null) return;
      open.database.close();
      closeSync(open.file);
    },
  };
}

function inTransaction<T>(database: DatabaseSync, step: () => T): T {
  database.exec("BEGIN IMMEDIATE");
  try {
    const result = step();
    database.exec("COMMIT");
    return result;
  } catch (error) {
    if (database.isTransaction) database.exec("ROLLBACK");
    throw error;
  }
}
