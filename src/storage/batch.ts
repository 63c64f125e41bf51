/** Several operations at once: read together where they can be, in their order, each with an answer of its own. */
import { isLive, isUnchanged, type StoredEntry } from "../core/entry.ts";
import { KvError } from "../core/errors.ts";
import { quote } from "../core/key.ts";
import { BATCH_BYTES } from "../core/limits.ts";
import type { FoundEntry, StorageAdapter, WriteOperation, WriteOutcome } from "./adapter.ts";

/** What a batch asks of the engine. */
export type BatchAdapter = Required<Pick<StorageAdapter, "getMany" | "write">>;

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
    const done = await (run[0]?.kind === "get"
      ? readRun(adapter, run, now, budget)
      : writeRun(adapter, run, now)
    ).catch((error: unknown): BatchResult[] => {
      if (!(error instanceof KvError)) throw error;
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
    if (operation.kind !== "get" || operation.condition === undefined) return operation;
    const { ifMatch } = operation.condition;
    return { ...operation, condition: ifMatch === undefined ? undefined : { ifMatch } };
  });
  const outcomes = await adapter.write(guarded, { now, atomic: true, valueBytes: BATCH_BYTES });
  const failed = outcomes.flatMap((outcome, index) => (outcome === "refused" ? [index] : []));
  if (failed.length > 0) {
    throw new KvError("precondition_failed", "A condition did not hold; nothing was changed", { failed });
  }
  return operations.map((operation, index) => resultOf(operation, outcomes[index] as WriteOutcome, now));
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

async function readRun(adapter: BatchAdapter, run: WriteOperation[], now: number, budget: number) {
  const keys = run.map(({ key }) => key);
  const found = await adapter.getMany(keys, budget);
  return run.map((operation, index) => resultOf(operation, { found: found[index] ?? null }, now));
}

async function writeRun(adapter: BatchAdapter, run: WriteOperation[], now: number) {
  const outcomes = await adapter.write(run, { now, atomic: false });
  return run.map((operation, index) => resultOf(operation, outcomes[index] as WriteOutcome, now));
}

function resultOf(operation: WriteOperation, outcome: WriteOutcome, now: number): BatchResult {
  if (typeof outcome === "object") return readResult(operation, outcome.found, now);
  if (outcome === "refused") return failure("precondition_failed", "The condition did not hold; nothing was changed");
  if (operation.kind === "put") return { kind: "written", entry: operation.entry };
  return { kind: "deleted", existed: outcome === "deleted" };
}

function readResult({ key, condition }: WriteOperation, entry: FoundEntry | null, now: number): BatchResult {
  if (entry === null || !isLive(entry, now)) return failure("not_found", `No value under key ${quote(key)}`);
  try {
    if (isUnchanged(condition, entry)) return { kind: "unchanged", entry };
  } catch (error) {
    return { kind: "failed", error: error as KvError };
  }
  if (entry.value !== null) return { kind: "entry", entry };
  return failure("too_large", `The values before this one leave it no room in an answer of ${BATCH_BYTES} bytes`);
}

function failure(code: "not_found" | "precondition_failed" | "too_large", detail: string): BatchResult {
  return { kind: "failed", error: new KvError(code, detail) };
}
