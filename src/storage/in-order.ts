import { KvError } from "../core/errors.ts";

/** How long a write may wait for those before it. */
const WAIT_MS = 5000;

/**
 * Runs writes that have a key in common one after the other, in the order of their arrival; the others do not wait. On
 * several connections one that nobody awaits any more could else undo a later one that has been answered.
 */
export function inKeyOrder(): <T>(keys: readonly string[], write: () => Promise<T>) => Promise<T> {
  const last = new Map<string, Promise<unknown>>();

  async function afterThe<T>(before: Iterable<Promise<unknown>>, write: () => Promise<T>): Promise<T> {
    const arrived = performance.now();
    await Promise.allSettled(before);
    if (performance.now() - arrived <= WAIT_MS) return write();
    throw new KvError("unavailable", "The writes before this one took too long; nothing was changed");
  }

  return (keys, write) => {
    const before = new Set(keys.flatMap((key) => last.get(key) ?? []));
    const outcome = before.size === 0 ? write() : afterThe(before, write);
    for (const key of keys) last.set(key, outcome);
    const end = () => {
      for (const key of keys) if (last.get(key) === outcome) last.delete(key);
    };
    outcome.then(end, end);
    return outcome;
  };
}
