import type { DatabaseSync } from "node:sqlite";
import { conditionHolds, isLive } from "../core/entry.ts";
import { keyBytes } from "../core/key.ts";
import type { FoundEntry, StoredEntry, WriteOperation, WriteOptions, WriteOutcome } from "./adapter.ts";
import { attempt, failureOf, isBusy } from "./sqlite-open.ts";

/** One call of `write`. */
export interface Call {
  operations: readonly WriteOperation[];
  options: WriteOptions;
}

/** What one call came to. */
export type Answer = { outcomes: WriteOutcome[] } | { error: unknown };

interface Found extends Omit<StoredEntry, "value"> {
  bytes: number;
}

/**
 * Commits groups of calls: in one transaction, in the order of their arrival, and so with one flush of the disk. A call that
 * is refused or fails undoes itself alone; a commit that fails rejects all of its calls. Answers `null` where another
 * process holds the lock and `patient` is set.
 */
export function groupCommit(database: DatabaseSync, namespace: string) {
  const apply = applier(database, namespace);

  return function commit(calls: readonly Call[], patient: boolean): Answer[] | null {
    let phase: "begin" | "apply" | "commit" = "begin";
    try {
      database.exec("BEGIN IMMEDIATE");
      phase = "apply";
      const answers = calls.map(apply);
      phase = "commit";
      database.exec("COMMIT");
      return answers;
    } catch (error) {
      rollBack(database);
      if (phase === "begin" && patient && isBusy(error)) return null;
      // The failure of one call, a full disk, has ended the transaction of all: each gets one of its own.
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
function applier(database: DatabaseSync, namespace: string) {
  const find = database.prepare(
    `SELECT version, metadata, expires_at AS expiresAt, octet_length(value) AS bytes FROM workertown_kv
      WHERE namespace = ? AND name = ?`,
  );
  const value = database.prepare(
    "SELECT CAST(value AS BLOB) AS value FROM workertown_kv WHERE namespace = ? AND name = ?",
  );
  const remove = database.prepare("DELETE FROM workertown_kv WHERE namespace = ? AND name = ?");
  const put = database.prepare(
    `INSERT INTO workertown_kv (namespace, name, metadata, expires_at, version, updated_at, value)
      VALUES (?, ?, ?, ?, ?, ?, CAST(? AS TEXT))
      ON CONFLICT (namespace, name) DO UPDATE SET metadata = excluded.metadata, expires_at = excluded.expires_at,
        version = excluded.version, updated_at = excluded.updated_at, value = excluded.value`,
  );

  function applyOne(operation: WriteOperation, now: number, budget: { bytes: number }): WriteOutcome {
    const name = keyBytes(operation.key);
    let live: Found | null = null;
    if (operation.condition !== undefined || operation.kind !== "put") {
      const row = find.get(namespace, name) as unknown as Found | undefined;
      live = row !== undefined && isLive(row, now) ? row : null;
      if (!conditionHolds(operation.condition, live?.version ?? null)) return "refused";
    }
    if (operation.kind === "get") return { found: live === null ? null : read(name, live, budget) };
    if (operation.kind === "delete") {
      remove.run(namespace, name);
      return live === null ? "absent" : "deleted";
    }
    const { value, metadata, expiresAt, version } = operation.entry;
    put.run(namespace, name, metadata, expiresAt, version, now, value);
    return "written";
  }

  function read(name: Uint8Array, live: Found, budget: { bytes: number }): FoundEntry {
    const { bytes, ...entry } = live;
    if (bytes > budget.bytes) return { ...entry, value: null };
    budget.bytes -= bytes;
    return { ...entry, value: (value.get(namespace, name) as { value: Uint8Array }).value };
  }

  return ({ operations, options }: Call): Answer => {
    // One statement undoes itself where it fails; several need a savepoint.
    const single = operations.length === 1;
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
      // A full disk ends the whole transaction: then nobody's write has happened.
      if (!database.isTransaction) throw error;
      if (!single) database.exec("ROLLBACK TO call; RELEASE call");
      return { error: failureOf(error) };
    }
  };
}

/** Removes up to `limit` entries that expired at or before `now`, in one statement. */
export function sweeper(database: DatabaseSync, namespace: string): (now: number, limit: number) => number {
  const sweep = database.prepare(
    `DELETE FROM workertown_kv WHERE rowid IN (
      SELECT rowid FROM workertown_kv WHERE namespace = ? AND expires_at <= ? ORDER BY expires_at LIMIT ?)`,
  );
  return (now, limit) => attempt(() => Number(sweep.run(namespace, now, limit).changes));
}
