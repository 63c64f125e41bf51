import { KvError } from "../core/errors.ts";
import { newerSchema } from "./failures.ts";
import type { Answer, Database, Query } from "./postgres-sql.ts";

export interface Migration {
  name: string;
  sql: string;
}

/** The steps that make and upgrade the schema, oldest first; `workertown_kv_schema` has a row for each that ran. */
export const MIGRATIONS: readonly Migration[] = [
  {
    name: "0001-create-table",
    // "C": an upgrade of the system's collations can spoil the order of an index under any other.
    sql: `
      CREATE TABLE workertown_kv (
        namespace text COLLATE "C" NOT NULL,
        name bytea NOT NULL,
        value text NOT NULL,
        metadata text,
        expires_at bigint,
        version text NOT NULL,
        updated_at bigint NOT NULL,
        PRIMARY KEY (namespace, name)
      );
      ALTER TABLE workertown_kv ALTER COLUMN value SET STORAGE EXTERNAL;
      CREATE INDEX workertown_kv_expires ON workertown_kv (namespace, expires_at) WHERE expires_at IS NOT NULL;`,
  },
];

const SCHEMA_STATE: Query = {
  text: `SELECT to_regclass('workertown_kv_schema') IS NOT NULL AS made, current_setting('server_encoding') AS encoding`,
};
const SCHEMA_VERSION: Query = {
  text: "SELECT coalesce(max(version), 0) AS version FROM workertown_kv_schema",
};

/** What one transaction is to do so that all steps have run, each once; a step that ran answers its `name`. */
function migrationQueries(migrations: readonly Migration[]): Query[] {
  return [
    // One instance at a time: "IF NOT EXISTS" alone fails where two create at once.
    { text: "SELECT pg_advisory_xact_lock(7310391)" },
    { text: "CREATE TABLE IF NOT EXISTS workertown_kv_schema (version integer PRIMARY KEY, name text NOT NULL)" },
    ...migrations.flatMap(({ name, sql }, index): Query[] => [
      {
        text: `DO $step$ BEGIN
          IF NOT EXISTS (SELECT FROM workertown_kv_schema WHERE version = ${index + 1}) THEN ${sql} END IF;
        END $step$`,
      },
      {
        text: "INSERT INTO workertown_kv_schema (version, name) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING name",
        values: [index + 1, name],
      },
    ]),
  ];
}

/** Runs the steps that have not run and names them; safe when several instances do so at once. */
export async function migrateDatabase(
  { run, batch }: Database,
  migrations: readonly Migration[] = MIGRATIONS,
): Promise<string[]> {
  const [state] = (await run(SCHEMA_STATE)).rows as { made: boolean; encoding: string }[];
  if (state?.encoding !== "UTF8") {
    throw new KvError("unavailable", `The database must have the encoding UTF8; it has ${state?.encoding}`);
  }
  if (state.made && checkVersion(await run(SCHEMA_VERSION), migrations.length) === migrations.length) return [];
  const answers = await batch([...migrationQueries(migrations), SCHEMA_VERSION]);
  checkVersion(answers.at(-1) as Answer, migrations.length);
  return answers.flatMap(({ rows }) => (rows as readonly { name?: string }[]).flatMap(({ name }) => name ?? []));
}

/** How many steps have run; throws where they are more than this version knows. */
function checkVersion({ rows }: Answer, known: number): number {
  const { version } = rows[0] as { version: number };
  if (version <= known) return version;
  throw newerSchema(version, known);
}
