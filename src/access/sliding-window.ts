import type { Quota } from "./rate-limit.ts";

/** One entry: two halves of its name's hash, the number of its window, what that has counted, and the window before. */
const FIELDS = 5;
/** How many entries a name may stand in; where all are taken, more are made, or the one that was used longest ago goes. */
const WAYS = 8;
/** 40 MiB: room for a million names and more. */
const MAX_ENTRIES = 2 ** 21;

/**
 * Counts in memory of bounded size. The window slides: what the window before has counted weighs as much as of it is still
 * in sight, as if it had come evenly. Only what is allowed is counted. `cost` 0 asks without counting.
 */
export function slidingWindow({ limit, window }: Quota, now: () => number, maxEntries = MAX_ENTRIES) {
  const ms = window * 1000;
  // Nobody outside knows which names share an entry.
  const [seed = 0, otherSeed = 0] = crypto.getRandomValues(new Uint32Array(2));
  let table = new Uint32Array(Math.min(1024, maxEntries) * FIELDS);

  /** Where an entry stands now: the first of its set, so that the last is the one that was used longest ago. */
  function indexOf(high: number, low: number, current: number): number {
    const start = (low % (table.length / FIELDS / WAYS)) * WAYS * FIELDS;
    const last = start + (WAYS - 1) * FIELDS;
    let at = start;
    while (at < last && !(table[at] === high && table[at + 1] === low)) at += FIELDS;
    let entry = table.slice(at, at + FIELDS);
    if (entry[0] !== high || entry[1] !== low) {
      if ((entry[2] as number) >= current - 1 && table.length < maxEntries * FIELDS) {
        grow(current);
        return indexOf(high, low, current);
      }
      entry = Uint32Array.of(high, low, 0, 0, 0);
    }
    table.copyWithin(start + FIELDS, start, at);
    table.set(entry, start);
    return start;
  }

  function grow(current: number): void {
    const before = table;
    table = new Uint32Array(before.length * 2);
    for (let at = before.length - FIELDS; at >= 0; at -= FIELDS) {
      const entry = before.subarray(at, at + FIELDS);
      const [high = 0, low = 0, used = 0] = entry;
      if (used >= current - 1) table.set(entry, indexOf(high, low, current));
    }
  }

  return function hit(name: string, cost: 0 | 1 = 1): { allowed: boolean; remaining: number; reset: number } {
    const time = now() / ms;
    const current = Math.floor(time) + 1;
    const left = current - time;
    const at = indexOf(hashOf(name, seed), hashOf(name, otherSeed), current);
    if (table[at + 2] !== current) {
      table[at + 4] = table[at + 2] === current - 1 ? (table[at + 3] as number) : 0;
      table[at + 3] = 0;
      table[at + 2] = current;
    }
    const before = table[at + 4] as number;
    const count = table[at + 3] as number;
    const free = limit - count - before * left;
    const allowed = free >= 1;
    if (allowed) table[at + 3] = count + cost;
    return {
      allowed,
      remaining: allowed ? Math.floor(free - cost) : 0,
      reset: (allowed ? left : waitFor(1 - free, before, count, left)) * window,
    };
  };

  /** In windows: until so much of what was counted is out of sight. */
  function waitFor(excess: number, before: number, count: number, left: number): number {
    if (excess <= before * left) return excess / before;
    return left + 1 - (limit - 1) / count;
  }
}

/** 32 bits of a name, by multiplication and rotation (Murmur's mix). */
function hashOf(name: string, seed: number): number {
  let hash = seed;
  for (let index = 0; index < name.length; index++) {
    hash = Math.imul(hash ^ name.charCodeAt(index), 0x5bd1e995);
    hash ^= hash >>> 15;
  }
  hash = Math.imul(hash ^ (hash >>> 13), 0x85ebca6b);
  return (hash ^ (hash >>> 16)) >>> 0;
}
