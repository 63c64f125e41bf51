import { resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { StorageAdapter, StorageView } from "./adapter.ts";
import { cachedReads } from "./sqlite-cache.ts";
import { type CommitCounts, commitCounts, commitsOf } from "./sqlite-counts.ts";
import { type FailStop, failStop } from "./sqlite-fail-stop.ts";
import { largeReads } from "./sqlite-large-cache.ts";
import { attempt, connectDatabase, openDatabase } from "./sqlite-open.ts";
import { reads } from "./sqlite-read.ts";
import { migrateDatabase } from "./sqlite-schema.ts";
import { writerThread } from "./sqlite-thread.ts";
import { localWriter, type Writer } from "./sqlite-write.ts";

export interface SqliteStorageOptions {
  /** A file, made where there is none, or `:memory:`. Default `kv.sqlite` in the working directory. */
  path?: string;
  /** Adapters with different namespaces see nothing of each other in one file. Default `default`. */
  namespace?: string;
}

/**
 * Storage in one SQLite file, by the `node:sqlite` of Node, Bun or Deno. A write is answered when it is on the disk: the log
 * is flushed at each commit (`synchronous = FULL`), and writes that arrive in the same turn share one commit. A loss of
 * power loses nothing that was answered, as long as the disk keeps what it says it flushed.
 *
 * Throws an `Error` of one line where the file cannot be used. Several processes on one machine may share the file.
 *
 * @see https://www.sqlite.org/pragma.html#pragma_synchronous
 */
export function sqliteStorage({
  path = "kv.sqlite",
  namespace = "default",
}: SqliteStorageOptions = {}): StorageAdapter {
  if (path === "") throw new TypeError(`path: Expected a file or ":memory:", got ""`);
  if (namespace === "") throw new TypeError(`namespace: Expected a name, got ""`);
  // Once, so that a later change of the working directory does not matter.
  const file = path === ":memory:" ? path : resolve(path);
  const database = openDatabase(file, namespace);
  const reader = reads(database, namespace);
  const cache = cachedReads(database, reader.getSmall, reader.list);
  const stop = failStop();
  const commits = commitCounts();
  const thread =
    file === ":memory:"
      ? null
      : writerThread(
          { path: file, namespace, stop: stop.shared, commits },
          () => writerOf(file, namespace, { stop, commits }),
          cache.endTurn,
        );
  const writer = thread ?? localWriter(database, namespace, { stop, commits });

  const large = largeReads(database, namespace, writer.read);

  function get(key: string) {
    return attempt(() => {
      const entry = cache.get(key);
      return entry === undefined ? large(key) : entry;
    });
  }

  return {
    engine: "sqlite",
    capabilities: {
      consistency: "strong",
      conditional: true,
      atomic: { operations: Number.MAX_SAFE_INTEGER, bytes: Number.MAX_SAFE_INTEGER },
      ordered: true,
      snapshot: path !== ":memory:",
      reportsDelete: true,
      // What SQLite itself takes in one row is 1,000,000,000 bytes.
      maxKey: 65_536,
      maxValue: 536_870_912,
      maxMetadata: 1_048_576,
    },
    // What this connection writes itself does not change its `data_version`.
    get: file === ":memory:" ? reader.get : get,
    getMany: reader.getMany,
    list: file === ":memory:" ? reader.list : (query) => attempt(() => cache.list(query)),
    // In memory there is no second connection to see the moment by.
    ...(path !== ":memory:" && { snapshot: () => attempt(() => snapshotOf(file, namespace)) }),
    write: writer.write,
    ...(thread !== null && { stage: thread.stage }),
    migrate: () => {
      cache.endTurn();
      return stop.guard(() => migrateDatabase(database));
    },
    sweep: writer.sweep,
    ping() {
      const refused = stop.refusal();
      if (refused !== null) throw refused;
      reader.get("ready");
    },
    counts: () => ({ commits: commitsOf(commits), ...(file !== ":memory:" && { cache: cache.counts() }) }),
    async close() {
      await writer.close();
      cache.endTurn();
      try {
        stop.guard(() => database.exec("PRAGMA wal_checkpoint(TRUNCATE)"));
      } catch (error) {
        if (stop.refusal() === null) throw error;
        leftOpen.push(database);
        return;
      }
      database.close();
    },
  };
}

/**
 * Connections that ended with a failed flush: to close the last one is to move the log and to remove it, and only a start
 * that reads it from the beginning knows what the disk has.
 */
const leftOpen: DatabaseSync[] = [];

/** A writer on this thread with a connection of its own: what it writes changes the cache's `data_version`. */
function writerOf(file: string, namespace: string, shared: { stop: FailStop; commits: CommitCounts }): Writer {
  const database = attempt(() => connectDatabase(file));
  const writer = localWriter(database, namespace, shared);
  return {
    ...writer,
    async close() {
      await writer.close();
      database.close();
    },
  };
}

/** A read transaction on a connection of its own: it sees what was there when it began. */
function snapshotOf(path: string, namespace: string): StorageView {
  const database = new DatabaseSync(path, { readOnly: true });
  database.exec("BEGIN");
  database.prepare("SELECT 1 FROM workertown_kv_entry LIMIT 1").get();
  return { list: reads(database, namespace).list, close: () => database.close() };
}
