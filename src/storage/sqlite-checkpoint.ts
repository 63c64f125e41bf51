import type { DatabaseSync } from "node:sqlite";
import type { FailStop } from "./sqlite-fail-stop.ts";

/** After how many pages the log is moved into the database, as SQLite does by itself; and how many a write takes, about. */
const CHECKPOINT_PAGES = 1000;
const PAGE_BYTES = 4096;
const PAGES_A_WRITE = 2;

export interface Checkpointer {
  /** To be called after each commit, with how many writes are in it and how many bytes of values. */
  committed(writes: number, bytes: number): void;
  /** Whether there is so much in the log that it is to be moved. */
  isDue(): boolean;
  move(): void;
}

/**
 * Moves the log into the database from time to time. SQLite would do so by itself, but says nothing of a flush that fails
 * then, and may take pages for moved that were never written: it begins the log anew, and they are gone.
 */
export function checkpointer(
  database: DatabaseSync,
  stop: FailStop,
  // What a start has found or written goes with the first commit.
  { atPages = CHECKPOINT_PAGES, pages = atPages }: { atPages?: number; pages?: number } = {},
): Checkpointer {
  const checkpoint = database.prepare("PRAGMA wal_checkpoint(PASSIVE)");

  return {
    committed(writes, bytes) {
      pages += writes * PAGES_A_WRITE + Math.ceil(bytes / PAGE_BYTES);
    },

    isDue: () => pages >= atPages && stop.refusal() === null,

    move() {
      try {
        const { log, checkpointed } = checkpoint.get() as { log: number; checkpointed: number };
        // What somebody still reads stays in the log; the next commit tries again.
        if (checkpointed === log) pages = 0;
      } catch (error) {
        // Whatever else it is, a full disk for example, the log has it all.
        stop.note(error);
      }
    },
  };
}
