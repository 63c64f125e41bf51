import { KvError } from "../core/errors.ts";
import { unavailable } from "./failures.ts";

/**
 * The SQLSTATEs that say that the server cannot do it now: no connection (08), login refused (28), read-only after a
 * failover (25006), idle for too long (25P), no such database (3D), conflicts (40), no memory or connections (53), no lock
 * in time (55P03), cancelled, out of time or shutting down (57), trouble with its files (58) or within itself (XX).
 */
const TEMPORARY = /^(08|28|25006|25P0[34]|3D|40|53|55P03|57|58|XX)/;
const DISK_FULL = "53100";

/** The code that the server gave an error, `null` where it did not come from the server. */
export function sqlState(error: unknown): string | null {
  const { code, severity } = (error ?? {}) as { code?: unknown; severity?: unknown };
  return typeof severity === "string" && typeof code === "string" ? code : null;
}

/**
 * The error of a driver as the store knows it: `storage_full`, `unavailable` with its cause, or itself where it is a fault
 * of ours. `commits`: what was asked for may have been done although the answer is missing.
 */
export function failureOf(error: unknown, commits: boolean): unknown {
  const state = sqlState(error);
  if (state === DISK_FULL) {
    return new KvError("storage_full", "The disk of the database is full; nothing was changed", { cause: error });
  }
  if (state !== null && !TEMPORARY.test(state)) return error;
  // A server that ends a connection may have done before what it was asked for.
  const unknown = commits && (state === null || /^(08|57P)/.test(state));
  return unavailable(error, unknown);
}

/** A deadlock, or a conflict of isolated transactions: nothing happened, and the same may go well the next time. */
const CONFLICTS: readonly unknown[] = ["40001", "40P01"];
const CONFLICT_TRIES = 10;
const CONFLICT_WAIT_MS = 10;

/** Does it again where it came into conflict, each time after a little longer. */
export async function retried<T>(attempt: () => Promise<T>): Promise<T> {
  for (let turn = 1; ; turn++) {
    try {
      return await attempt();
    } catch (error) {
      const conflict = error instanceof KvError && CONFLICTS.includes(sqlState(error.cause));
      if (!conflict || turn === CONFLICT_TRIES) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, Math.random() * CONFLICT_WAIT_MS * turn));
  }
}
