import { KvError } from "../core/errors.ts";
import { failureOf, isFailedFlush } from "./sqlite-open.ts";

/** Whether a flush of the disk has failed in this process; `shared` tells other threads. */
export type FailStop = ReturnType<typeof failStop>;

/**
 * After a flush that failed the kernel may have dropped what it could not write, and call the next flush a success. So
 * nothing more is written, by whichever thread, until a restart has read what there is.
 *
 * @see https://wiki.postgresql.org/wiki/Fsync_Errors
 */
export function failStop(shared = new SharedArrayBuffer(1)) {
  const flag = new Uint8Array(shared);

  /** What every write is told once a flush has failed. */
  function refusal(): KvError | null {
    if (Atomics.load(flag, 0) === 0) return null;
    const cause = new Error("a flush of the disk has failed; see to the disk, then restart the service");
    return new KvError("unavailable", "The database takes no more writes until the service is restarted", { cause });
  }

  /** Whether an error is a flush that failed: then it is the last of this process. */
  function note(error: unknown): boolean {
    const failed = isFailedFlush(error);
    if (failed) Atomics.store(flag, 0, 1);
    return failed;
  }

  return {
    shared,
    refusal,
    note,

    /** A step that writes; throws as the store knows it. */
    guard<T>(step: () => T): T {
      const refused = refusal();
      if (refused !== null) throw refused;
      try {
        return step();
      } catch (error) {
        note(error);
        throw failureOf(error);
      }
    },
  };
}
