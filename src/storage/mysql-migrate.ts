import { KvError } from "../core/errors.ts";
import { keyBytes } from "../core/key.ts";
import { newerSchema } from "./failures.ts";
import { DUPLICATE, errnoOf, NO_SUCH_TABLE } from "./mysql-errors.ts";
import { type Migration, plain, type Run, SCHEMA_TABLE } from "./mysql-sql.ts";

/** Runs the steps that have not run and names them. `alone` keeps other instances out, and answers `undefined` where it cannot. */
export async function migrateMysql(
  run: Run,
  alone: (work: (run: Run) => Promise<string[]>) => Promise<string[] | undefined>,
  migrations: readonly Migration[],
): Promise<string[]> {
  if ((await versionOf(run, migrations)) === migrations.length) return [];
  const names = await alone(async (run) => {
    await run(plain(SCHEMA_TABLE));
    const ran: string[] = [];
    for (let version = await versionOf(run, migrations); version < migrations.length; version++) {
      const { name, sql } = migrations[version] as Migration;
      await run(plain(sql));
      if (await recorded(run, version + 1, name)) ran.push(name);
    }
    return ran;
  });
  if (names !== undefined) return names;
  throw new KvError("unavailable", "Another instance is upgrading the database");
}

/** How many steps have run; throws where they are more than this version knows, before anything is changed. */
async function versionOf(run: Run, migrations: readonly Migration[]): Promise<number> {
  const { rows } = await run(plain("SELECT MAX(version) AS version FROM workertown_kv_schema")).catch((error) => {
    if (errnoOf(error) === NO_SUCH_TABLE) return { rows: [] };
    throw error;
  });
  const version = Number(rows[0]?.version ?? 0);
  if (version <= migrations.length) return version;
  throw newerSchema(version, migrations.length);
}

/** Whether it was this instance that ran the step. */
async function recorded(run: Run, version: number, name: string): Promise<boolean> {
  try {
    const sql = "INSERT INTO workertown_kv_schema (version, name) VALUES (?, ?)";
    await run({ sql, values: [version, keyBytes(name)] });
    return true;
  } catch (error) {
    if (errnoOf(error) === DUPLICATE) return false;
    throw error;
  }
}
