import { concat, lengthOf } from "./bytes.ts";
import { invalid, KvError } from "./errors.ts";
import { LAST_MOMENT_MS } from "./limits.ts";

/** What is stored under a key. */
export interface StoredEntry {
  /** The value's JSON text, as it came, in UTF-8. */
  value: Uint8Array;
  /** The same bytes in pieces, where they were never in one: to ask for `value` is to copy them then. */
  parts?: readonly Uint8Array[];
  /** The metadata's JSON text, as it came, or `null` for none. */
  metadata: string | null;
  /** The epoch millisecond from which the entry is gone, or `null` for never. */
  expiresAt: number | null;
  /** Names the one write that made this entry; the `ETag` is this in quotes. ASCII letters, digits, `-` and `_`. */
  version: string;
}

/** An entry whose value is given in pieces, and put together only for those who ask for it. */
export function inParts<T extends object>(parts: readonly Uint8Array[], rest: T) {
  return {
    ...rest,
    parts,
    get value() {
      return concat(parts);
    },
  };
}

/** How many bytes the value takes. */
export function valueLength(entry: Pick<StoredEntry, "value" | "parts">): number {
  return entry.parts ? lengthOf(entry.parts) : entry.value.length;
}

/**
 * What must hold for a write to happen (RFC 9110, section 13.1). Both parts must hold where both are given. Versions are
 * compared with the entry that lives at the moment of the write; an expired one counts as none.
 */
export interface Condition {
  /** `"*"`: there is an entry. A list: there is one and its version is listed. */
  ifMatch?: "*" | readonly string[];
  /** `"*"`: there is no entry. A list: there is none, or its version is not listed. */
  ifNoneMatch?: "*" | readonly string[];
}

/** Whether an entry has not expired at `now` (epoch milliseconds): it is gone from the millisecond of its expiry. */
export function isLive(entry: { expiresAt: number | null }, now: number): boolean {
  return entry.expiresAt === null || entry.expiresAt > now;
}

/** Whether a condition holds for the version of the live entry, `null` where there is none. */
export function conditionHolds(condition: Condition | undefined, version: string | null): boolean {
  const { ifMatch, ifNoneMatch } = condition ?? {};
  const isNamed = (by: "*" | readonly string[]) => version !== null && (by === "*" || by.includes(version));
  return (ifMatch === undefined || isNamed(ifMatch)) && (ifNoneMatch === undefined || !isNamed(ifNoneMatch));
}

/** Throws `precondition_failed` where a read's `If-Match` does not hold; says whether its `If-None-Match` matched (304). */
export function isUnchanged(condition: Condition | undefined, entry: Pick<StoredEntry, "version">): boolean {
  if (!conditionHolds({ ...condition, ifNoneMatch: [] }, entry.version)) {
    throw new KvError("precondition_failed", "The stored value has another version");
  }
  return !conditionHolds(condition, entry.version);
}

/** When a value is to expire: `ttl` in seconds from now or `expiration` in Unix seconds, both may have fractions. */
export interface Expiry {
  ttl?: number | null | undefined;
  expiration?: number | null | undefined;
}

/**
 * The epoch millisecond at which an entry written at `now` expires, `null` for never. Fractions of a millisecond are
 * rounded up. Throws `invalid_request` where both are given, a ttl is not greater than 0, an expiration is not in the
 * future, or the moment is past the year 275760.
 */
export function expiresAtOf({ ttl, expiration }: Expiry, now: number): number | null {
  if (ttl != null && expiration != null) throw invalid("expiration", `Expected "ttl" or "expiration", got both`);
  if (ttl != null) {
    if (!(ttl > 0)) throw invalid("ttl", `Expected a number of seconds greater than 0, got ${ttl}`);
    return withinTime("ttl", now + Math.max(1, milliseconds(ttl)));
  }
  if (expiration != null) {
    const expiresAt = withinTime("expiration", milliseconds(expiration));
    if (!(expiresAt > now)) {
      throw invalid("expiration", `Expected Unix seconds in the future (now is ${now / 1000}), got ${expiration}`);
    }
    return expiresAt;
  }
  return null;
}

/** Rounded up, without the noise of binary fractions: 1.1 s is 1100 ms, not 1100.0000000000002 ms rounded up. */
function milliseconds(seconds: number): number {
  const exact = seconds * 1000;
  const nearest = Math.round(exact);
  return Math.abs(exact - nearest) < 1e-6 * Math.max(1, Math.abs(nearest) * 1e-9) ? nearest : Math.ceil(exact);
}

function withinTime(path: string, expiresAt: number): number {
  if (expiresAt <= LAST_MOMENT_MS) return expiresAt;
  throw invalid(path, "Expected a moment no later than the year 275760; leave it out for never");
}
