/**
 * Whether a history is linearizable: whether its calls can be put into one order that the model allows and in which none
 * comes before another that had been answered before it began. The search of Wing and Gong, with Lowe's memory of what
 * was tried: which calls are done, and the state that they led to.
 *
 * @see https://doi.org/10.1006/jpdc.1993.1015
 * @see https://doi.org/10.1002/cpe.3928
 */
import { type Call, type State, step, type Written } from "./register.ts";

/** The most that a search may try before it gives up. */
const STATES = 2_000_000;

export type Verdict =
  | { linearizable: true }
  /** The longest order that was found, and the other calls of the same keys. */
  | { linearizable: false; order: Call[]; left: Call[] };

export function check(calls: readonly Call[], writes: ReadonlyMap<number, Written>): Verdict {
  for (const [keys, own] of parts(calls)) {
    const verdict = checkPart(own, keys, writes);
    if (!verdict.linearizable) return verdict;
  }
  return { linearizable: true };
}

/** The calls by the keys that they bind together: what happens to others is none of their business. */
function parts(calls: readonly Call[]): Map<string[], Call[]> {
  let groups: Set<string>[] = [];
  for (const { operations } of calls) {
    const keys = operations.map(({ key }) => key);
    const touched = groups.filter((group) => keys.some((key) => group.has(key)));
    if (touched.length === 1 && keys.every((key) => touched[0]?.has(key))) continue;
    groups = groups.filter((group) => !touched.includes(group));
    groups.push(new Set([...keys, ...touched.flatMap((group) => [...group])]));
  }
  return new Map(
    groups.map((group) => [[...group], calls.filter(({ operations }) => group.has(operations[0]?.key ?? ""))]),
  );
}

/** Whether a call changed nothing, whatever the state. */
function isRead({ operations, outcome }: Call): boolean {
  if (outcome === null || "failed" in outcome) return outcome !== null;
  return operations.every(({ op }, index) => op === "get" || outcome[index]?.status === 412);
}

function checkPart(part: readonly Call[], keys: string[], writes: ReadonlyMap<number, Written>): Verdict {
  const calls = part.toSorted((a, b) => a.invoked - b.invoked);
  const positions = new Map(calls.map((call, index) => [call, index]));
  const tried = new Set<string>();
  let longest: Call[] = [];
  const order: Call[] = [];

  const isDone = (done: bigint, index: number) => ((done >> BigInt(index)) & 1n) === 1n;

  /** What may come next: it began before any other that is not done was answered. */
  function candidates(done: bigint): number[] {
    const found: number[] = [];
    let limit = Number.POSITIVE_INFINITY;
    for (const [index, call] of calls.entries()) {
      if (call.invoked > limit) break;
      if (isDone(done, index)) continue;
      limit = Math.min(limit, call.returned);
      const before = call.after;
      if (before?.outcome == null || isDone(done, positions.get(before) as number)) found.push(index);
    }
    return found.filter((index) => (calls[index] as Call).invoked <= limit);
  }

  function search(done: bigint, state: State): boolean {
    if (order.length > longest.length) longest = [...order];
    if (calls.every(({ outcome }, index) => outcome === null || isDone(done, index))) return true;
    const key = `${done.toString(36)} ${state}`;
    if (tried.has(key)) return false;
    if (tried.add(key).size > STATES) throw new Error(`Gave up after ${STATES} states of ${calls.length} calls`);
    const nexts = candidates(done).flatMap((index) => {
      const next = step(state, calls[index] as Call, keys, writes);
      return next === null ? [] : [{ index, next }];
    });
    // What never changes anything and can come now does not have to come later.
    const read = nexts.find(({ index }) => isRead(calls[index] as Call));
    for (const { index, next } of read === undefined ? nexts : [read]) {
      order.push(calls[index] as Call);
      if (search(done | (1n << BigInt(index)), next)) return true;
      order.pop();
    }
    return false;
  }

  const start = keys.map(() => 0);
  if (search(0n, start)) return { linearizable: true };
  return { linearizable: false, order: longest, left: calls.filter((call) => !longest.includes(call)) };
}
