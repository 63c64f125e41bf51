/** Several operations at once: read together where they can be, in their order, each with an answer of its own. */
import { isLive, isUnchanged, type StoredEntry } from "../core/entry.ts";
import { KvError, onPurpose } from "../core/errors.ts";
import { quote } from "../core/key.ts";
import { BATCH_BYTES } from "../core/limits.ts";
import type { FoundEntry, StorageAdapter, WriteOperation, WriteOutcome } from "./adapter.ts";

/** What a batch asks of the engine. */
export type BatchAdapter = Required<Pick<StorageAdapter, "capabilities" | "getMany" | "write">>;

/** What became of one operation. */
export type BatchResult =
  | { kind: "entry"; entry: FoundEntry }
  /** The entry is the one that `ifNoneMatch` named. */
  | { kind: "unchanged"; entry: FoundEntry }
  | { kind: "written"; entry: StoredEntry }
  | { kind: "deleted"; existed: boolean }
  | { kind: "failed"; error: KvError };

/** Runs checked operations, each for itself; what an engine refuses of one is that one's answer. */
export async function runBatch(
  adapter: BatchAdapter,
  operations: readonly WriteOperation[],
  now: number,
): Promise<BatchResult[]> {
  const results: BatchResult[] = [];
  let budget = BATCH_BYTES;
  for (const run of runsOf(operations)) {
    const done = await oneRun(adapter, run, now, budget).catch((thrown: unknown): BatchResult[] => {
      const error = onPurpose(thrown);
      return run.map(() => ({ kind: "failed", error }));
    });
    for (const result of done) {
      results.push(result);
      if (result.kind === "entry") budget -= result.entry.value?.length ?? 0;
    }
  }
  return results;
}

/** Runs checked operations as one; throws `precondition_failed` with those that `failed` where a condition did not hold. */
export async function runAtomic(
  adapter: BatchAdapter,
  operations: readonly WriteOperation[],
  now: number,
): Promise<BatchResult[]> {
  // Of a read only If-Match can refuse; If-None-Match that matches is an answer.
  const guarded = operations.map((operation) => {
    const { ifMatch } = operation.condition ?? {};
    return operation.kind === "get" ? { ...operation, condition: ifMatch && { ifMatch } } : operation;
  });
  const outcomes = await adapter.write(guarded, { now, atomic: true, valueBytes: BATCH_BYTES });
  const failed = outcomes.flatMap((outcome, index) => (outcome === "refused" ? [index] : []));
  if (failed.length > 0) {
    throw new KvError("precondition_failed", "A condition did not hold; nothing was changed", { failed });
  }
  return resultsOf(adapter, operations, outcomes, now);
}

/** Neighbours that are all reads or all writes. */
function runsOf(operations: readonly WriteOperation[]): WriteOperation[][] {
  const runs: WriteOperation[][] = [];
  for (const operation of operations) {
    const last = runs.at(-1);
    if (last !== undefined && (last[0]?.kind === "get") === (operation.kind === "get")) last.push(operation);
    else runs.push([operation]);
  }
  return runs;
}

async function oneRun(adapter: BatchAdapter, run: WriteOperation[], now: number, budget: number) {
  if (run[0]?.kind !== "get") return resultsOf(adapter, run, await adapter.write(run, { now, atomic: false }), now);
  const keys = run.map(({ key }) => key);
  const entries = await adapter.getMany(keys, budget);
  const outcomes = keys.map((_, index) => ({ found: entries[index] ?? null }));
  return resultsOf(adapter, run, outcomes, now);
}

/** What became of checked operations by what the engine says of them. */
export function resultsOf(
  { capabilities }: BatchAdapter,
  operations: readonly WriteOperation[],
  outcomes: readonly WriteOutcome[],
  now: number,
): BatchResult[] {
  return operations.map((operation, index) => {
    const outcome = outcomes[index] as WriteOutcome;
    try {
      if (outcome === "refused") {
        throw new KvError("precondition_failed", "A condition did not hold; nothing was changed");
      }
      if (typeof outcome === "object") return readResult(operation, outcome.found, now);
      if (operation.kind === "put") return { kind: "written", entry: operation.entry };
      return { kind: "deleted", existed: outcome === "deleted" || !capabilities.reportsDelete };
    } catch (thrown) {
      return { kind: "failed", error: onPurpose(thrown) };
    }
  });
}

function readResult({ key, condition }: WriteOperation, entry: FoundEntry | null, now: number): BatchResult {
  if (entry === null || !isLive(entry, now)) throw new KvError("not_found", `No value under key ${quote(key)}`);
  if (isUnchanged(condition, entry)) return { kind: "unchanged", entry };
  if (entry.value !== null) return { kind: "entry", entry };
  throw new KvError("too_large", `Expected values of at most ${BATCH_BYTES} bytes in an answer, got more`);
}
