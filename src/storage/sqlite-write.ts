import type { DatabaseSync } from "node:sqlite";
import { conditionHolds, isLive } from "../core/entry.ts";
import { keyBytes } from "../core/key.ts";
import type { FoundEntry, StorageAdapter, StoredEntry, WriteOperation, WriteOptions, WriteOutcome } from "./adapter.ts";
import { failureOf, isBusy } from "./sqlite-open.ts";

/** How many calls share one commit at most, so that a burst does not hold up everybody else. */
const GROUP_CALLS = 256;
const BUSY_RETRY_MS = 5;
const BUSY_DEADLINE_MS = 5000;

interface Found extends Omit<StoredEntry, "value"> {
  bytes: number;
}

interface Call {
  operations: readonly WriteOperation[];
  options: WriteOptions;
  resolve(outcomes: WriteOutcome[]): void;
  reject(error: unknown): void;
}

/**
 * `write` for a database, where the calls of one turn share one transaction in the order of their arrival, and so one
 * flush of the disk. A call that is refused or fails undoes itself alone; a commit that fails rejects all of its calls.
 */
export function groupedWrites(database: DatabaseSync, namespace: string) {
  const apply = writer(database, namespace);
  let waiting: Call[] = [];
  let draining: Promise<void> | null = null;

  async function drain(): Promise<void> {
    while (waiting.length > 0) {
      await new Promise((resolve) => setImmediate(resolve));
      const calls = waiting.slice(0, GROUP_CALLS);
      waiting = waiting.slice(GROUP_CALLS);
      const deadline = performance.now() + BUSY_DEADLINE_MS;
      // While another process writes, this one waits without holding up its reads.
      while (!commit(calls, deadline)) await new Promise((resolve) => setTimeout(resolve, BUSY_RETRY_MS));
    }
    draining = null;
  }

  /** Whether the calls have been answered; `false` where another process holds the lock and there is time to wait. */
  function commit(calls: readonly Call[], deadline: number): boolean {
    let answers: (() => void)[];
    let phase: "begin" | "apply" | "commit" = "begin";
    try {
      database.exec("BEGIN IMMEDIATE");
      phase = "apply";
      answers = calls.map(apply);
      phase = "commit";
      database.exec("COMMIT");
    } catch (error) {
      rollBack(database);
      if (phase === "begin" && isBusy(error) && performance.now() < deadline) return false;
      // The failure of one call, a full disk, has ended the transaction of all: each gets one of its own.
      if (phase === "apply" && calls.length > 1) return calls.every((call) => commit([call], 0));
      for (const call of calls) call.reject(failureOf(error));
      return true;
    }
    for (const answer of answers) answer();
    return true;
  }

  const write: StorageAdapter["write"] = (operations, options) =>
    new Promise((resolve, reject) => {
      waiting.push({ operations, options, resolve, reject });
      draining ??= drain();
    });

  return {
    write,
    /** Resolves when no write waits any more. */
    settled: async () => {
      await draining;
    },
  };
}

/** Some errors of SQLite's have rolled back already; one that comes up here says no more than the one that led here. */
function rollBack(database: DatabaseSync): void {
  try {
    if (database.isTransaction) database.exec("ROLLBACK");
  } catch {}
}

/** Applies one call inside the transaction that is open, and says how to answer it once that is committed. */
function writer(database: DatabaseSync, namespace: string) {
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

  return ({ operations, options, resolve, reject }: Call): (() => void) => {
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
      return () => resolve(outcomes);
    } catch (error) {
      // A full disk ends the whole transaction: then nobody's write has happened.
      if (!database.isTransaction) throw error;
      if (!single) database.exec("ROLLBACK TO call; RELEASE call");
      return () => reject(failureOf(error));
    }
  };
}
