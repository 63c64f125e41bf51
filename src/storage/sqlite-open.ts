import { dirname, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { KvError } from "../core/errors.ts";
import { unavailable } from "./failures.ts";
import { renewLog } from "./sqlite-log.ts";
import { migrateDatabase, namespaceId, PAGE_BYTES, versionOf } from "./sqlite-schema.ts";

const STARTUP_BUSY_MS = 10_000;
const SERVING_BUSY_MS = 250;

/** An open database with its schema and namespace in place. Throws an `Error` of one line that names the path and the mend. */
export function openDatabase(path: string, namespace = "default"): DatabaseSync {
  const memory = path === ":memory:";
  const file = memory ? path : resolve(path);
  let database: DatabaseSync | undefined;
  if (!memory) makeFile(file);
  try {
    database = new DatabaseSync(file);
    database.exec(`PRAGMA busy_timeout = ${STARTUP_BUSY_MS}`);
    versionOf(database);
    database.exec(`PRAGMA page_size = ${PAGE_BYTES}`);
    database.exec("PRAGMA journal_mode = WAL");
    database.exec("PRAGMA synchronous = FULL");
    database.exec("PRAGMA wal_autocheckpoint = 0");
    if (!memory) alone(database, () => renewLog(`${file}-wal`));
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

/** A new file is its owner's alone, and with it the log that SQLite makes beside it. What fails here SQLite will say. */
function makeFile(file: string): void {
  const { closeSync, openSync } = process.getBuiltinModule("node:fs");
  try {
    closeSync(openSync(file, "ax", 0o600));
  } catch {}
}

/** A step while no other process writes; where one does it is left out, for that one has taken it. Writes nothing. */
function alone(database: DatabaseSync, step: () => void): void {
  try {
    database.exec("BEGIN IMMEDIATE");
  } catch (error) {
    if (isBusy(error)) return;
    throw error;
  }
  try {
    // A file that may only be read is opened all the same, and BEGIN does not tell.
    database.exec(`PRAGMA user_version = ${versionOf(database)}`);
    step();
  } finally {
    database.exec("ROLLBACK");
  }
}

/** A further connection to a database that is open already. */
export function connectDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(path);
  database.exec(`PRAGMA busy_timeout = ${SERVING_BUSY_MS}`);
  database.exec("PRAGMA synchronous = FULL");
  // Whoever writes sees to it (checkpointer).
  database.exec("PRAGMA wal_autocheckpoint = 0");
  return database;
}

/** What is wrong with the file, and what to do. */
function mend(file: string, error: unknown): string {
  const { statSync } = process.getBuiltinModule("node:fs");
  const kind = (path: string) => {
    const stats = statSync(path, { throwIfNoEntry: false });
    return stats === undefined ? "nothing" : stats.isDirectory() ? "folder" : "file";
  };
  const folder = dirname(file);
  if (kind(file) === "folder") return "it is a folder; name a file in it";
  if (kind(folder) !== "folder") return `there is no folder ${JSON.stringify(folder)}; create it or name another path`;
  if (isFull(error)) return "the disk is full; make room";
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
const IO_ERROR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANNOT_OPEN = 14;
const NOT_A_DATABASE = 26;
/** `SQLITE_IOERR_FSYNC`, `SQLITE_IOERR_DIR_FSYNC`, and `SQLITE_IOERR_SHMSIZE`: there is no room for the log's index. */
const FAILED_FLUSHES = [1034, 1290];
const NO_ROOM_FOR_INDEX = 4874;

/** What the operator reads beside SQLite's own words. */
const ADVICE: Readonly<Record<number, string>> = {
  [READ_ONLY]: "check the permissions of the file and of its folder, and whether the disk has become read-only",
  [IO_ERROR]: "the disk cannot be read or written; see the log of the system",
  [CORRUPT]: "the file is damaged; stop the service and restore it from a backup",
  [CANNOT_OPEN]: "check that the folder is there and may be written, and how many files may be open",
  [NOT_A_DATABASE]: "the file is damaged or another one has taken its place; restore it from a backup",
};

/** SQLite's result codes by the text of their errors: Deno's errors carry nothing else. */
const CODES: readonly [code: number, text: string][] = [
  [BUSY, "database is locked"],
  [6, "database table is locked"],
  [7, "out of memory"],
  [READ_ONLY, "attempt to write a readonly database"],
  [IO_ERROR, "disk I/O error"],
  [CORRUPT, "database disk image is malformed"],
  [FULL, "database or disk is full"],
  [CANNOT_OPEN, "unable to open database file"],
  [NOT_A_DATABASE, "file is not a database"],
];

/** Codes of the file system that mean the same. */
const FILE_CODES: Readonly<Record<string, number>> = { EACCES: READ_ONLY, EPERM: READ_ONLY, EROFS: READ_ONLY };

function sqliteCode(error: unknown): number | undefined {
  const { errcode, message = "", code = "" } = error as { errcode?: unknown; message?: string; code?: string };
  // The low byte is the code, the rest says more about it.
  if (typeof errcode === "number") return errcode & 0xff;
  return FILE_CODES[code] ?? CODES.find(([, text]) => message.startsWith(text))?.[0];
}

/** Whether another process holds the lock. */
export function isBusy(error: unknown): boolean {
  return sqliteCode(error) === BUSY;
}

/** Whether a damaged page was met. */
export function isDamage(error: unknown): boolean {
  return sqliteCode(error) === CORRUPT;
}

/** Whether a flush of the disk has failed. Where an error carries no number, as on Deno, any I/O error may be that. */
export function isFailedFlush(error: unknown): boolean {
  const { errcode } = error as { errcode?: unknown };
  return typeof errcode === "number" ? FAILED_FLUSHES.includes(errcode) : sqliteCode(error) === IO_ERROR;
}

function isFull(error: unknown): boolean {
  return sqliteCode(error) === FULL || (error as { errcode?: unknown }).errcode === NO_ROOM_FOR_INDEX;
}

/** The error as the store knows it: `storage_full`, `unavailable` with its cause, or itself where it is a fault of ours. */
export function failureOf(error: unknown): unknown {
  const code = sqliteCode(error);
  if (isFull(error)) return new KvError("storage_full", "The disk is full; nothing was changed", { cause: error });
  if (!CODES.some(([known]) => known === code)) return error;
  const advice = ADVICE[code as number];
  const cause = advice === undefined ? error : new Error(`${(error as Error).message}; ${advice}`, { cause: error });
  // What a failed flush was to write may be found after a restart, or not.
  return unavailable(cause, isFailedFlush(error));
}

/** A step whose failure is told as the store knows it. */
export function attempt<T>(step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw failureOf(error);
  }
}
