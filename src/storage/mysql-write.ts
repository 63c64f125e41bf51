import { KvError } from "../core/errors.ts";
import { compareKeys, keyBytes } from "../core/key.ts";
import type { FoundEntry, StoredEntry, WriteOperation, WriteOptions, WriteOutcome } from "./adapter.ts";
import { decide } from "./decide.ts";
import { DUPLICATE, errnoOf, isContention } from "./mysql-errors.ts";
import { chunksOf, mysqlReads } from "./mysql-read.ts";
import { singleStatement, unconditionalPut } from "./mysql-single.ts";
import * as sql from "./mysql-sql.ts";

export interface MysqlDatabase {
  /** One statement, committed by itself. */
  run: sql.Run;
  /** Several on one connection, which nobody else uses meanwhile. */
  session<T>(work: (run: sql.Run) => Promise<T>): Promise<T>;
  /** The longest statement in bytes, as far as it is known. */
  packet(): number;
  /** Whether `LAST_INSERT_ID(1)` inside a statement is answered as its `insertId`. */
  insertIds: boolean;
}

/** How many bytes of a statement of many rows to aim at. */
const STATEMENT_BYTES = 4_194_304;
/** What a row takes in a statement besides its bytes, which are written in hexadecimal. */
const ROW_BYTES = 200;
const DEADLINE_MS = 5000;
const RETRY_MS = 20;

export interface MysqlWrites {
  write(operations: readonly WriteOperation[], options: WriteOptions): Promise<WriteOutcome[]>;
  /** Puts all or none; of several under one key the last. */
  putAll(puts: readonly sql.Put[]): Promise<void>;
}

export function mysqlWrites(database: MysqlDatabase, namespace: Uint8Array): MysqlWrites {
  const sizeOf = (bytes: number) => ROW_BYTES + 2 * (namespace.length + bytes);
  const chunks = <T>(items: readonly T[], size: (item: T) => number) =>
    chunksOf(items, size, Math.min(STATEMENT_BYTES, database.packet() - 1024));

  const names = (keys: readonly string[]) => chunks(keys.map(keyBytes), (name) => sizeOf(name.length));

  /** Statements that put entries, whatever is there: of many rows, and of one for each that is long. */
  function upserts(puts: readonly sql.Put[]): sql.Statement[] {
    const size = ({ key, entry }: sql.Put) => sizeOf(3 * key.length + metadataBytes(entry) + entry.value.length);
    // In the order of the keys, so that writers that cross wait for each other and none is in the other's way.
    const sorted = puts.toSorted((a, b) => compareKeys(a.key, b.key));
    return chunks(sorted, size).map((chunk) => sql.upsert(namespace, chunk));
  }

  async function putAll(puts: readonly sql.Put[]): Promise<void> {
    const statements = upserts([...new Map(puts.map((put) => [put.key, put])).values()]);
    if (statements.length === 1) await database.run({ ...(statements[0] as sql.Statement), commits: true });
    else {
      await transaction(async (run) => {
        for (const statement of statements) await run(statement);
        return { result: undefined, commit: true };
      });
    }
  }

  /** Locks what the operations are about, there or not, reads it, and changes it as they decide. */
  function decided(operations: readonly WriteOperation[], options: WriteOptions): Promise<WriteOutcome[]> {
    const keys = [...new Set(operations.map(({ key }) => key))].sort(compareKeys);
    return transaction(async (run) => {
      for (const chunk of names(keys)) await run(sql.lock(namespace, chunk));
      const stored = await storedUnder(run, keys, operations, options.valueBytes ?? 0);
      const { outcomes, changes } = decide(operations, options, (key) => stored.get(key) ?? null);
      if (changes.size === 0) return { result: outcomes, commit: false };
      const puts = [...changes].flatMap(([key, entry]) => (entry === null ? [] : [{ key, entry, now: options.now }]));
      for (const statement of upserts(puts)) await run(statement);
      // With what was deleted, the rows of keys that were only locked.
      const gone = keys.filter((key) => (changes.has(key) ? changes.get(key) === null : !stored.has(key)));
      for (const chunk of names(gone)) await run(sql.remove(namespace, chunk));
      return { result: outcomes, commit: true };
    });
  }

  /** What is there under keys that are locked, with the values of those that are read. */
  async function storedUnder(run: sql.Run, keys: string[], operations: readonly WriteOperation[], valueBytes: number) {
    const stored = new Map<string, FoundEntry>();
    for (const chunk of names(keys)) {
      const { rows } = await run(sql.selectVersions(namespace, chunk));
      for (const row of rows) if (!sql.isLock(row)) stored.set(sql.keyOf(row), sql.entryOf(row));
    }
    const read = operations.flatMap(({ kind, key }) => (kind === "get" && stored.has(key) ? [key] : []));
    const entries = await mysqlReads(run, namespace).getMany(read, valueBytes);
    for (const [index, key] of read.entries()) {
      const entry = entries[index];
      // Of a key that is read twice, the value may have had room the first time only.
      if (entry != null && stored.get(key)?.value == null) stored.set(key, entry);
    }
    return stored;
  }

  /** Commits what `work` has done, or rolls it back where it says so or rejects. */
  function transaction<T>(work: (run: sql.Run) => Promise<{ result: T; commit: boolean }>): Promise<T> {
    return database.session(async (run) => {
      try {
        await run(sql.BEGIN);
        const { result, commit } = await work(run);
        await run(commit ? sql.COMMIT : sql.ROLLBACK);
        return result;
      } catch (error) {
        await run(sql.ROLLBACK).catch(() => {});
        throw error;
      }
    });
  }

  /** A single operation by one statement where one is enough. */
  async function writeOne(operation: WriteOperation, options: WriteOptions): Promise<WriteOutcome[]> {
    const single = singleStatement(namespace, operation, options.now, database.insertIds);
    if (single === undefined) return decided([operation], options);
    try {
      return [single.outcome(await database.run({ ...single.statement, commits: true }))];
    } catch (error) {
      if (errnoOf(error) !== DUPLICATE) throw error;
      return decided([operation], options);
    }
  }

  async function write(operations: readonly WriteOperation[], options: WriteOptions): Promise<WriteOutcome[]> {
    if (operations.length === 0) return [];
    for (const operation of operations) checkPacket(operation, database.packet());
    const puts = operations.flatMap((operation) => unconditionalPut(operation, options.now) ?? []);
    return retried(async () => {
      if (puts.length === operations.length) {
        await putAll(puts);
        return puts.map(() => "written");
      }
      const [only, ...others] = operations as [WriteOperation, ...WriteOperation[]];
      return others.length === 0 ? writeOne(only, options) : decided(operations, options);
    });
  }

  return { write, putAll };
}

/** Throws `too_large` where a single put would be a longer statement than the database takes. */
export function checkPacket(operation: WriteOperation, packet: number): void {
  if (operation.kind !== "put") return;
  const { entry, key } = operation;
  const most = packet - 1024 - sql.MAX_NAMESPACE - 3 * key.length - metadataBytes(entry);
  const bytes = entry.value.length;
  if (bytes <= most) return;
  const message = `Expected a value of at most ${most} bytes, for which the database's max_allowed_packet of ${packet} has room, got ${bytes}`;
  throw new KvError("too_large", message, { issues: [{ path: "value", message }] });
}

/** At most so many bytes of UTF-8. */
function metadataBytes({ metadata }: StoredEntry): number {
  return 3 * (metadata?.length ?? 0);
}

/** Again where the database has undone it for the sake of another, or because it waited too long for one. */
export async function retried<T>(work: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isContention(error) || performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * RETRY_MS));
    }
  }
}
