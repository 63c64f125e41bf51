/** What every engine says in the same words. */
import { KvError } from "../core/errors.ts";

/** What is added where a write was sent and its answer never came. */
export const OUTCOME_UNKNOWN = "; the outcome of the write is unknown";

/** The engine cannot be used now, whatever the cause; `unknown`: it may have got a write. */
export function unavailable(cause?: unknown, unknown = false): KvError {
  return new KvError("unavailable", `The database cannot be used at the moment${unknown ? OUTCOME_UNKNOWN : ""}`, {
    cause,
  });
}

/** An older version met what a newer one has upgraded. */
export function newerSchema(version: number, known: number): KvError {
  const detail = `its schema is ${version}, this version knows ${known}`;
  return new KvError("unavailable", `The database was made by a newer version (${detail}); update @workertown/kv`);
}
