import type { DatabaseSync } from "node:sqlite";
import { conditionHolds, isLive, valueLength } from "../core/entry.ts";
import type { FoundEntry, WriteOperation, WriteOptions, WriteOutcome } from "./adapter.ts";
import type { Checkpointer } from "./sqlite-checkpoint.ts";
import type { FailStop } from "./sqlite-fail-stop.ts";
import { failureOf, isBusy, isDamage } from "./sqlite-open.ts";
import { putter, standsApart } from "./sqlite-put.ts";
import { finder } from "./sqlite-read.ts";
import { namespaceId } from "./sqlite-schema.ts";

/** One call of `write`. */
export interface Call {
  operations: readonly WriteOperation[];
  options: WriteOptions;
}

/** What one call came to. */
export type Answer = { outcomes: WriteOutcome[] } | { error: unknown };

/** As a limit of bytes, for no value at all: the shortest has one. */
const NO_VALUE = 0;

/**
 * Commits groups of calls: in one transaction, in the order of their arrival, and so with one flush of the disk. A call that
 * is refused or fails undoes itself alone; a commit that fails rejects all of its calls. Answers `null` where another
 * process holds the lock and `patient` is set.
 */
export function groupCommit(database: DatabaseSync, namespace: string, stop: FailStop, log: Checkpointer) {
  const apply = applier(database, namespace, stop);

  return function commit(calls: readonly Call[], patient: boolean): Answer[] | null {
    const refused = stop.refusal();
    if (refused !== null) return calls.map(() => ({ error: refused }));
    let phase: "begin" | "apply" | "commit" = "begin";
    try {
      database.exec("BEGIN IMMEDIATE");
      phase = "apply";
      const answers = calls.map(apply);
      phase = "commit";
      database.exec("COMMIT");
      const writes = calls.flatMap(({ operations }) => operations);
      log.committed(
        writes.length,
        writes.reduce((sum, write) => sum + (write.kind === "put" ? valueLength(write.entry) : 0), 0),
      );
      return answers;
    } catch (error) {
      stop.note(error);
      rollBack(database);
      if (phase === "begin" && patient && isBusy(error)) return null;
      // The failure of one call, a full disk or a damaged page, has ended the transaction of all: each gets one of its own.
      if (phase === "apply" && calls.length > 1) return calls.flatMap((call) => commit([call], false) ?? []);
      return calls.map(() => ({ error: failureOf(error) }));
    }
  };
}

/** Some errors of SQLite's have rolled back already; one that comes up here says no more than the one that led here. */
function rollBack(database: DatabaseSync): void {
  try {
    if (database.isTransaction) database.exec("ROLLBACK");
  } catch {}
}

/** Applies one call inside the transaction that is open; its answer holds once that is committed. */
function applier(database: DatabaseSync, namespace: string, stop: FailStop) {
  const id = namespaceId(database, namespace);
  const find = finder(database, namespace);
  const remove = database.prepare(`DELETE FROM workertown_kv_entry WHERE namespace = ${id} AND name = CAST(? AS BLOB)`);
  const put = putter(database, id);

  function applyOne(operation: WriteOperation, now: number, budget: { bytes: number }): WriteOutcome {
    let live: FoundEntry | null = null;
    if (operation.condition !== undefined || operation.kind !== "put") {
      const entry = find(operation.key, operation.kind === "get" ? budget.bytes : NO_VALUE);
      live = entry !== null && isLive(entry, now) ? entry : null;
      if (!conditionHolds(operation.condition, live?.version ?? null)) return "refused";
    }
    if (operation.kind === "get") {
      budget.bytes -= live?.value?.length ?? 0;
      return { found: live };
    }
    if (operation.kind === "delete") {
      remove.run(operation.key);
      return live === null ? "absent" : "deleted";
    }
    put(operation.key, operation.entry, now);
    return "written";
  }

  return ({ operations, options }: Call): Answer => {
    // One statement undoes itself where it fails; several need a savepoint.
    const [first] = operations;
    const single = operations.length === 1 && !(first?.kind === "put" && standsApart(first.entry));
    const budget = { bytes: options.valueBytes ?? 0 };
    try {
      if (!single) database.exec("SAVEPOINT call");
      const outcomes = operations.map((operation) => applyOne(operation, options.now, budget));
      if (!single) {
        if (options.atomic && outcomes.includes("refused")) database.exec("ROLLBACK TO call");
        database.exec("RELEASE call");
      }
      return { outcomes };
    } catch (error) {
      // A full disk ends the whole transaction, and a damaged page makes all of it fail: then nobody's write has happened.
      if (!database.isTransaction || isDamage(error) || stop.note(error)) throw error;
      if (!single) database.exec("ROLLBACK TO call; RELEASE call");
      return { error: failureOf(error) };
    }
  };
}

/** Removes up to `limit` entries that expired at or before `now`, in one statement. */
export function sweeper(database: DatabaseSync, namespace: string, stop: FailStop, log: Checkpointer) {
  const own = `namespace = ${namespaceId(database, namespace)}`;
  const sweep = database.prepare(
    `DELETE FROM workertown_kv_entry WHERE ${own} AND name IN (
      SELECT name FROM workertown_kv_entry WHERE ${own} AND expires_at <= ? ORDER BY expires_at LIMIT ?)`,
  );
  return (now: number, limit: number) => {
    const removed = stop.guard(() => Number(sweep.run(now, limit).changes));
    if (removed > 0) log.committed(removed, 0);
    if (log.isDue()) log.move();
    return removed;
  };
}
