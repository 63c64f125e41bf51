/** How many calls shared each commit, counted by the thread that writes in memory that both threads see. */
import type { StorageCounts } from "./adapter.ts";

/** By powers of two up to 256 calls, one more for all that are larger, and the sum. */
const GROUPS = 10;

export type CommitCounts = Float64Array<SharedArrayBuffer>;

export function commitCounts(): CommitCounts {
  return new Float64Array(new SharedArrayBuffer((GROUPS + 1) * Float64Array.BYTES_PER_ELEMENT));
}

/** Counts a commit of so many calls. */
export function countCommit(counts: CommitCounts, calls: number): void {
  const at = Math.min(32 - Math.clz32(calls - 1), GROUPS - 1);
  (counts[at] as number) += 1;
  (counts[GROUPS] as number) += calls;
}

export function commitsOf(counts: CommitCounts): NonNullable<StorageCounts["commits"]> {
  return { groups: [...counts.subarray(0, GROUPS)], calls: counts[GROUPS] as number };
}
