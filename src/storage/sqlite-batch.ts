/** What engines share that speak SQLite over a wire and take statements in transactional batches: libSQL and D1. */

import { KvError } from "../core/errors.ts";
import type { StorageAdapter, StorageCapabilities } from "./adapter.ts";
import { newerSchema } from "./failures.ts";
import { sqliteReads } from "./sqlite-batch-read.ts";
import { sqliteWrites } from "./sqlite-batch-write.ts";

/** Texts, numbers and NULL come back from every driver as they went in. BLOBs do not: keys go both ways in hexadecimal. */
export type Parameter = string | number | null;

export interface Statement {
  readonly sql: string;
  readonly parameters: Parameter[];
}

export type Row = Readonly<Record<string, unknown>>;

/** Rejects with a `KvError` where the engine fails, and with the engine's own error where SQL is refused. */
export interface SqliteConnection {
  read(statement: Statement): Promise<readonly Row[]>;
  /** Runs statements in their order, all or none, and answers the rows of each. */
  write(statements: readonly Statement[]): Promise<(readonly Row[])[]>;
  /** A connection that sees one moment until it is closed. */
  snapshot?(): Promise<Pick<SqliteConnection, "read"> & { close(): void }>;
  close?(): void | Promise<void>;
}

export interface SqliteBatchOptions {
  engine: string;
  capabilities: StorageCapabilities;
  connection: SqliteConnection;
  namespace: string;
  /** How many bytes of values one answer of the engine may hold; more are asked for in several. */
  answerBytes: number;
  /** Where nothing sweeps in the background: one in so many writes removes a few expired entries as well. */
  sweepEvery?: number;
}

export interface Migration {
  readonly name: string;
  readonly statements: readonly string[];
}

/** The steps that make and upgrade the schema, oldest first; `workertown_kv_schema` holds those that ran. */
export const MIGRATIONS: readonly Migration[] = [
  {
    name: "0001-create-table",
    statements: [
      // That of the first SQLite files, so that one can be imported: then this step finds it there already.
      // The value is the last column: what stands after a long value can only be read by walking through all its pages.
      `CREATE TABLE IF NOT EXISTS workertown_kv (
        namespace TEXT NOT NULL,
        name BLOB NOT NULL,
        metadata TEXT,
        expires_at INTEGER,
        version TEXT NOT NULL,
        updated_at INTEGER NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (namespace, name)
      )`,
      `CREATE INDEX IF NOT EXISTS workertown_kv_expires ON workertown_kv (namespace, expires_at)
        WHERE expires_at IS NOT NULL`,
    ],
  },
];

/** A storage over a connection. */
export function sqliteBatchStorage(
  { engine, capabilities, connection, namespace, answerBytes, sweepEvery }: SqliteBatchOptions,
  migrations: readonly Migration[] = MIGRATIONS,
): StorageAdapter {
  const migrated = migratedFirst(connection, migrations);
  const reads = sqliteReads(migrated, namespace, answerBytes);
  const { snapshot, close } = migrated;
  return {
    engine,
    capabilities,
    get: reads.get,
    getMany: reads.getMany,
    list: reads.list,
    ...sqliteWrites(migrated, reads, namespace, sweepEvery),
    ...(snapshot && {
      async snapshot() {
        const view = await snapshot();
        return { list: sqliteReads(view, namespace, answerBytes).list, close: view.close };
      },
    }),
    migrate: () => migrate(connection, migrations),
    ...(close && { close }),
  };
}

/**
 * A connection that migrates before its first statement. Each call sees to that by itself until one has: a promise that
 * calls share would never settle, on Workers, where the request that made it has ended.
 */
function migratedFirst(connection: SqliteConnection, migrations: readonly Migration[]): SqliteConnection {
  const { read, write, snapshot } = connection;
  let done = false;

  async function migrated(): Promise<void> {
    if (done) return;
    await migrate(connection, migrations);
    done = true;
  }

  return {
    ...connection,
    read: async (statement) => migrated().then(() => read(statement)),
    write: async (statements) => migrated().then(() => write(statements)),
    ...(snapshot && { snapshot: async () => migrated().then(snapshot) }),
  };
}

/** Runs the steps that have not run and names them. Of several who do so at once one runs a step, the others go on. */
async function migrate(connection: SqliteConnection, migrations: readonly Migration[]): Promise<string[]> {
  const version = await versionOf(connection);
  if (version > migrations.length) {
    throw newerSchema(version, migrations.length);
  }
  const ran: string[] = [];
  for (const [index, { name, statements }] of migrations.entries()) {
    if (index < version) continue;
    const all = statements.map((sql) => ({ sql, parameters: [] }));
    if (await runOnce(connection, index + 1, name, all)) ran.push(name);
  }
  return ran;
}

async function versionOf({ read }: SqliteConnection): Promise<number> {
  try {
    const sql = "SELECT max(version) AS version FROM workertown_kv_schema";
    const [row] = await read({ sql, parameters: [] });
    return Number(row?.version ?? 0);
  } catch (error) {
    if (isAbout(error, "no such table")) return 0;
    throw error;
  }
}

/** Whether this call ran the step: it puts down that it ran with the step itself, and no step can be put down twice. */
async function runOnce({ write }: SqliteConnection, version: number, name: string, step: Statement[]) {
  const schema = "CREATE TABLE IF NOT EXISTS workertown_kv_schema (version INTEGER PRIMARY KEY, name TEXT NOT NULL)";
  const once = "INSERT INTO workertown_kv_schema (version, name) VALUES (?1, ?2)";
  try {
    await write([{ sql: schema, parameters: [] }, { sql: once, parameters: [version, name] }, ...step]);
    return true;
  } catch (error) {
    if (isAbout(error, "UNIQUE constraint failed: workertown_kv_schema")) return false;
    throw error;
  }
}

/** Whether SQLite refused a statement with this message: every driver carries it in its own. */
export function isAbout(error: unknown, message: string): boolean {
  return error instanceof Error && !(error instanceof KvError) && error.message.includes(message);
}
