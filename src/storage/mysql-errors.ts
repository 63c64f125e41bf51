import { KvError } from "../core/errors.ts";
import { unavailable } from "./failures.ts";

export const DUPLICATE = 1062;
export const NO_SUCH_TABLE = 1146;

/** What the server says about itself or about us, not about a statement. */
const AWAY = new Set([
  // Too many connections; of one user; a resource of his used up.
  ...[1040, 1203, 1226],
  // Access denied, an unknown database, a host that is blocked or not allowed, TLS demanded, an unknown way to log in.
  ...[1044, 1045, 1049, 1129, 1130, 1142, 1143, 1251, 1524, 1698, 1820, 3159, 4151],
  // Out of memory.
  ...[1037, 1038, 1041],
  // No such table: one that was there when the service began is being restored.
  NO_SUCH_TABLE,
  // Read-only, or not yet a member of its cluster.
  ...[1290, 1836, 1792, 1047, 3100, 3101],
  // A deadlock, a lock waited for in vain.
  ...[1205, 1213],
]);
/** Shutting down, killed, interrupted, timed out: that may come too late for what was being committed. */
const INTERRUPTED = new Set([1053, 1077, 1079, 1317, 1927, 1969, 3024, 3169]);
const CONTENTION = new Set([1205, 1213]);
const STORAGE_FULL = new Set([1021, 1114]);
const PACKET_TOO_LARGE = 1153;

/** The server's number of an error, the driver's own or the one in PlanetScale's message; `undefined` where it has none. */
export function errnoOf(error: unknown): number | undefined {
  const { errno, message, cause } = error as { errno?: unknown; message?: unknown; cause?: unknown };
  if (error instanceof KvError) return cause === undefined ? undefined : errnoOf(cause);
  if (typeof errno === "number" && errno > 0) return errno;
  const [, found] = /\(errno (\d+)\)/.exec(String(message)) ?? [];
  return found === undefined ? undefined : Number(found);
}

/** Whether the database has undone a transaction for the sake of another: the same may succeed the next time. */
export function isContention(error: unknown): boolean {
  return CONTENTION.has(errnoOf(error) ?? 0);
}

/**
 * An error that the server has numbered as the store knows it, or itself where it is a fault of ours. `commits`: whether the
 * statement was to commit something.
 */
export function failureOf(error: unknown, commits: boolean): unknown {
  const errno = errnoOf(error);
  if (error instanceof KvError || errno === undefined) return error;
  if (STORAGE_FULL.has(errno) || (errno === 1030 && /\b28\b/.test((error as Error).message))) {
    return new KvError("storage_full", "The database's disk is full; nothing was changed", { cause: error });
  }
  if (errno === PACKET_TOO_LARGE) {
    return new KvError("too_large", "The entry is larger than the database's max_allowed_packet; nothing was changed", {
      cause: error,
    });
  }
  if (INTERRUPTED.has(errno)) return unavailable(error, commits);
  return AWAY.has(errno) ? unavailable(error) : error;
}
