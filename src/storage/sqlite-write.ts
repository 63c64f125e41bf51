/** `write` for an SQLite database: calls wait in one queue, and those that wait together share a commit. */
import type { DatabaseSync } from "node:sqlite";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { valueLength } from "../core/entry.ts";
import type { WriteOperation, WriteOptions, WriteOutcome } from "./adapter.ts";
import { checkpointer } from "./sqlite-checkpoint.ts";
import { type Answer, type Call, groupCommit, sweeper } from "./sqlite-commit.ts";
import { type CommitCounts, commitCounts, countCommit } from "./sqlite-counts.ts";
import { type FailStop, failStop } from "./sqlite-fail-stop.ts";
import { largeWriter } from "./sqlite-large.ts";
import type { ReadEntry } from "./sqlite-large-cache.ts";
import { partsReader } from "./sqlite-read.ts";

/** How many calls, and bytes of values, share one commit at most, so that a burst does not hold up everybody else. */
const GROUP_CALLS = 256;
const GROUP_BYTES = 8_388_608;
const BUSY_RETRY_MS = 5;
const BUSY_DEADLINE_MS = 5000;

interface Waiting extends Call {
  resolve(outcomes: WriteOutcome[]): void;
  reject(error: unknown): void;
}

/** What writes to a database, and reads what would hold up others. */
export interface Writer {
  write(operations: readonly WriteOperation[], options: WriteOptions): Promise<WriteOutcome[]>;
  /** Removes up to `limit` entries that expired at or before `now` and says how many went. */
  sweep(now: number, limit: number): Promise<number>;
  read(key: string): Promise<ReadEntry | null>;
  /** Resolves when no write waits any more. */
  close(): Promise<void>;
}

/** A writer on this thread. */
export function localWriter(
  database: DatabaseSync,
  namespace: string,
  { stop = failStop(), commits = commitCounts() }: { stop?: FailStop; commits?: CommitCounts } = {},
): Writer {
  const log = checkpointer(database, stop);
  const commit = groupCommit(database, namespace, stop, log);
  const sweep = sweeper(database, namespace, stop, log);
  const sweepStaged = largeWriter(database).sweep;
  const get = partsReader(database, namespace);
  let waiting: Waiting[] = [];
  let draining: Promise<void> | null = null;

  function nextGroup(): Waiting[] {
    let bytes = 0;
    let count = 0;
    while (count < waiting.length && count < GROUP_CALLS && bytes < GROUP_BYTES) {
      for (const operation of waiting[count]?.operations ?? []) {
        if (operation.kind === "put") bytes += valueLength(operation.entry);
      }
      count += 1;
    }
    const group = waiting.slice(0, count);
    waiting = waiting.slice(count);
    return group;
  }

  async function answersOf(group: readonly Waiting[]): Promise<Answer[]> {
    const calls = group.map(({ operations, options }) => ({ operations, options }));
    const deadline = performance.now() + BUSY_DEADLINE_MS;
    for (;;) {
      const answers = commit(calls, performance.now() < deadline);
      if (answers !== null) return answers;
      // While another process writes, this one waits without holding up its reads.
      await sleep(BUSY_RETRY_MS);
    }
  }

  async function drain(): Promise<void> {
    while (waiting.length > 0) {
      await nextTurn();
      const group = nextGroup();
      const answers = await answersOf(group).catch((error: unknown) => group.map((): Answer => ({ error })));
      countCommit(commits, group.length);
      for (const [index, { resolve, reject }] of group.entries()) {
        const answer = answers[index] as Answer;
        if ("error" in answer) reject(answer.error);
        else resolve(answer.outcomes);
      }
      if (!log.isDue()) continue;
      // It takes as long as several commits: the answers are on their way first.
      await nextTurn();
      log.move();
    }
    draining = null;
  }

  return {
    write: (operations, options) =>
      new Promise((resolve, reject) => {
        waiting.push({ operations, options, resolve, reject });
        draining ??= drain();
      }),
    async sweep(now, limit) {
      stop.guard(sweepStaged);
      return sweep(now, limit);
    },
    read: async (key) => get(key),
    close: async () => {
      await draining;
    },
  };
}
