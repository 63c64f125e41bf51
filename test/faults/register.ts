/** What a history is made of, and what one call makes of the state: the model that the service is held to. */

export interface Operation {
  op: "get" | "put" | "delete";
  key: string;
  /** An entity tag or `*`. */
  ifMatch?: string | undefined;
  ifNoneMatch?: string | undefined;
  /** Of a put: no other put of the history has the same, so that it names the write. */
  value?: number;
  /** In milliseconds. */
  ttl?: number | undefined;
}

export interface Result {
  status: 200 | 304 | 404 | 412;
  /** What was read. */
  value?: number | undefined;
  /** Whether there was something to delete. */
  deleted?: boolean | undefined;
}

/** Operations that happened at one moment: a single one, an atomic batch, or a list, which reads each key. */
export interface Call {
  client: number;
  operations: Operation[];
  /** One an operation; which of an atomic batch were refused; `null` where no answer came. */
  outcome: Result[] | { failed: number[] } | null;
  atomic: boolean;
  /** In milliseconds of the client's monotonic clock; without an answer it may have happened at any time later. */
  invoked: number;
  returned: number;
  /** The same in epoch milliseconds, by which the service judges expiry. */
  wall: [from: number, to: number];
  /** What it comes after in its own batch: operations on one key happen in their order. */
  after: Call | null;
}

/** What is known of a write from its answer and from reads. */
export interface Written {
  etag: string | undefined;
  /** From which millisecond it may be gone, and from which it must. */
  expires: [from: number, to: number];
}

/** The write that each key holds, by its value; 0 for none. */
export type State = readonly number[];

type Observed = Result | "done" | "refused";

/** The state after a call, or `null` where that call cannot have happened in this one. */
export function step(
  state: State,
  { operations, outcome, atomic, wall }: Call,
  keys: readonly string[],
  writes: ReadonlyMap<number, Written>,
): State | null {
  const next = [...state];
  let [from, to] = wall;
  for (const [index, operation] of operations.entries()) {
    const observed = observedOf(outcome, index);
    const at = keys.indexOf(operation.key);
    const held = next[at] as number;
    const written = writes.get(held);
    const fits = (live: number) => isFit(resultOf(operation, live, writes.get(live)?.etag, atomic), observed);
    const [live, gone] = [held !== 0 && fits(held), fits(0)];
    if (held === 0 && !gone) return null;
    if (written !== undefined) {
      if (!live && !gone) return null;
      // One moment judges all operations of a call: each that could only be so narrows it down.
      if (!gone) to = Math.min(to, written.expires[1] - 1);
      if (!live) from = Math.max(from, written.expires[0]);
      if (from > to) return null;
    }
    if (observed === "refused" || (typeof observed === "object" && observed.status === 412)) continue;
    if (operation.op === "put") next[at] = operation.value as number;
    if (operation.op === "delete") next[at] = 0;
  }
  return outcome !== null && "failed" in outcome ? state : next;
}

function observedOf(outcome: Call["outcome"], index: number): Observed {
  if (outcome === null) return "done";
  if ("failed" in outcome) return outcome.failed.includes(index) ? "refused" : "done";
  return outcome[index] as Result;
}

/** What an operation answers where the key holds this write, 0 for none. */
function resultOf({ op, ifMatch, ifNoneMatch }: Operation, held: number, etag = "", atomic: boolean): Result {
  const named = (by: string | undefined) => held !== 0 && (by === "*" || by === etag);
  const refused = ifMatch !== undefined && !named(ifMatch);
  if (op === "get") {
    if (held === 0) return { status: atomic && refused ? 412 : 404 };
    if (refused) return { status: 412 };
    return named(ifNoneMatch) ? { status: 304 } : { status: 200, value: held };
  }
  if (refused || (ifNoneMatch !== undefined && named(ifNoneMatch))) return { status: 412 };
  return op === "put" ? { status: 200 } : { status: 200, deleted: held !== 0 };
}

function isFit(result: Result, observed: Observed): boolean {
  if (observed === "done") return result.status !== 412;
  if (observed === "refused") return result.status === 412;
  const { status, value, deleted } = observed;
  return status === result.status && value === result.value && deleted === result.deleted;
}
