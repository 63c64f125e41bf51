import { statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { KvError } from "../core/errors.ts";
import { unavailable } from "./failures.ts";
import { migrateDatabase, namespaceId, PAGE_BYTES, versionOf } from "./sqlite-schema.ts";

const STARTUP_BUSY_MS = 10_000;
const SERVING_BUSY_MS = 250;

/** An open database with its schema and namespace in place. Throws an `Error` of one line that names the path and the mend. */
export function openDatabase(path: string, namespace = "default"): DatabaseSync {
  const memory = path === ":memory:";
  const file = memory ? path : resolve(path);
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file);
    database.exec(`PRAGMA busy_timeout = ${STARTUP_BUSY_MS}`);
    versionOf(database);
    database.exec(`PRAGMA page_size = ${PAGE_BYTES}`);
    database.exec("PRAGMA journal_mode = WAL");
    database.exec("PRAGMA synchronous = FULL");
    migrateDatabase(database);
    namespaceId(database, namespace);
    // A wait for another process's lock stalls this one whole, so that it is short; the writes try again by themselves.
    database.exec(`PRAGMA busy_timeout = ${SERVING_BUSY_MS}`);
    return database;
  } catch (error) {
    if (database?.isOpen) database.close();
    throw memory
      ? error
      : new Error(`Cannot open the database ${JSON.stringify(file)}: ${mend(file, error)}`, { cause: error });
  }
}

/** A further connection to a database that is open already. */
export function connectDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(path);
  database.exec(`PRAGMA busy_timeout = ${SERVING_BUSY_MS}`);
  database.exec("PRAGMA synchronous = FULL");
  return database;
}

/** What is wrong with the file, and what to do. */
function mend(file: string, error: unknown): string {
  const kind = (path: string) => {
    const stats = statSync(path, { throwIfNoEntry: false });
    return stats === undefined ? "nothing" : stats.isDirectory() ? "folder" : "file";
  };
  const folder = dirname(file);
  if (kind(file) === "folder") return "it is a folder; name a file in it";
  if (kind(folder) !== "folder") return `there is no folder ${JSON.stringify(folder)}; create it or name another path`;
  switch (sqliteCode(error)) {
    case NOT_A_DATABASE:
      return "it is not an SQLite database; move it away or name another path";
    case CORRUPT:
      return "it is damaged; restore it from a backup or name another path";
    case CANNOT_OPEN:
    case READ_ONLY:
      return "it cannot be read and written; check the permissions of the file and of its folder";
    default:
      return (error as Error).message;
  }
}

const BUSY = 5;
const READ_ONLY = 8;
const CORRUPT = 11;
const FULL = 13;
const CANNOT_OPEN = 14;
const NOT_A_DATABASE = 26;

/** SQLite's result codes by the text of their errors: Deno's errors carry nothing else. */
const CODES: readonly [code: number, text: string][] = [
  [BUSY, "database is locked"],
  [6, "database table is locked"],
  [7, "out of memory"],
  [READ_ONLY, "attempt to write a readonly database"],
  [10, "disk I/O error"],
  [CORRUPT, "database disk image is malformed"],
  [FULL, "database or disk is full"],
  [CANNOT_OPEN, "unable to open database file"],
  [NOT_A_DATABASE, "file is not a database"],
];

function sqliteCode(error: unknown): number | undefined {
  const { errcode, message } = error as { errcode?: unknown; message?: unknown };
  // The low byte is the code, the rest says more about it.
  if (typeof errcode === "number") return errcode & 0xff;
  return CODES.find(([, text]) => typeof message === "string" && message.startsWith(text))?.[0];
}

/** Whether another process holds the lock. */
export function isBusy(error: unknown): boolean {
  return sqliteCode(error) === BUSY;
}

/** The error as the store knows it: `storage_full`, `unavailable` with its cause, or itself where it is a fault of ours. */
export function failureOf(error: unknown): unknown {
  const code = sqliteCode(error);
  if (code === FULL) return new KvError("storage_full", "The disk is full; nothing was changed", { cause: error });
  if (!CODES.some(([known]) => known === code)) return error;
  return unavailable(error);
}

/** A step whose failure is told as the store knows it. */
export function attempt<T>(step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw failureOf(error);
  }
}
