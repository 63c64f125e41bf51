import { newerSchema } from "./failures.ts";

/** What is used of a Durable Object's SQLite storage. */
export interface ObjectStorageLike {
  readonly sql: {
    exec(query: string, ...bindings: (ArrayBuffer | Uint8Array | string | number | null)[]): Iterable<unknown>;
  };
  transactionSync<T>(step: () => T): T;
  getAlarm(): Promise<number | null>;
  setAlarm(time: number): Promise<void>;
}

/** One step of the schema; it may hold several statements. */
export interface ObjectMigration {
  readonly name: string;
  readonly sql: string;
}

/** The steps that make and upgrade the schema, oldest first; `workertown_kv_schema` has a row for each that ran. */
export const MIGRATIONS: readonly ObjectMigration[] = [
  {
    name: "0001-create-table",
    // Without a rowid a new entry is one row written, which is what Cloudflare counts. The triggers keep the two tables
    // together whoever writes.
    sql: `
      CREATE TABLE workertown_kv (
        name BLOB NOT NULL PRIMARY KEY,
        metadata TEXT,
        expires_at INTEGER,
        version TEXT NOT NULL,
        updated_at INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        value TEXT
      ) WITHOUT ROWID;
      CREATE INDEX workertown_kv_expires ON workertown_kv (expires_at) WHERE expires_at IS NOT NULL;
      CREATE TABLE workertown_kv_chunk (
        name BLOB NOT NULL,
        part INTEGER NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (name, part)
      ) WITHOUT ROWID;
      CREATE TRIGGER workertown_kv_replaced AFTER UPDATE ON workertown_kv WHEN OLD.value IS NULL
        BEGIN DELETE FROM workertown_kv_chunk WHERE name = OLD.name; END;
      CREATE TRIGGER workertown_kv_deleted AFTER DELETE ON workertown_kv WHEN OLD.value IS NULL
        BEGIN DELETE FROM workertown_kv_chunk WHERE name = OLD.name; END;`,
  },
];

/** Runs the steps that have not run and names them. */
export function migrateObject(
  rows: <T>(query: string, ...bindings: (string | number)[]) => Iterable<T>,
  migrations: readonly ObjectMigration[],
): string[] {
  rows("CREATE TABLE IF NOT EXISTS workertown_kv_schema (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL)");
  const [row] = rows<{ version: number }>("SELECT coalesce(max(version), 0) AS version FROM workertown_kv_schema");
  const version = row?.version ?? 0;
  if (version > migrations.length) {
    throw newerSchema(version, migrations.length);
  }
  const steps = migrations.slice(version);
  for (const [index, { name, sql }] of steps.entries()) {
    rows(sql);
    rows("INSERT INTO workertown_kv_schema (version, name) VALUES (?, ?)", version + index + 1, name);
  }
  return steps.map(({ name }) => name);
}
