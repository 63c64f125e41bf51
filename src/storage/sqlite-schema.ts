/** The tables of an SQLite file: how they are made and upgraded, and where a text stands in them. */
import type { DatabaseSync } from "node:sqlite";

/**
 * Longer ones stand in a table of their own, so that a list walks over short rows only. Of a row that does not fit on its
 * page SQLite reads all pages wherever it compares keys.
 */
export const ROW_VALUE_BYTES = 512;
export const ROW_METADATA_BYTES = 256;

/** Of a new file; others keep theirs. Smaller pages waste more on values of 1 KB, larger ones make each write longer. */
export const PAGE_BYTES = 8192;

/**
 * A column that holds a text, or as an integer the `id` of one that stands apart; below zero, and of values alone, that of one
 * in pieces.
 */
type TextColumn = "value" | "metadata";

/** The `id` of the text of a column, NULL where it stands in the row or in pieces. */
export const idOf = (column: TextColumn) =>
  `CASE WHEN typeof(${column}) = 'integer' AND ${column} > 0 THEN ${column} END`;

/** The `id` of a value in pieces, else NULL. */
export const LARGE_ID = "CASE WHEN typeof(value) = 'integer' AND value < 0 THEN -value END";

/** How many numbers of pieces a value has. */
export const PIECES = 65_536;

/** The text of a column, wherever it stands; of values in pieces NULL. */
export const textOf = (column: TextColumn) =>
  `CASE typeof(${column}) WHEN 'integer' THEN (SELECT text FROM workertown_kv_text WHERE id = ${column}) ELSE ${column} END`;

const unlessTooLong = (text: string) => `CASE WHEN octet_length(${text}) <= ?1 THEN CAST(${text} AS BLOB) END`;

/** The value as bytes, NULL where it takes more than the first parameter or is in pieces, and the tables that it is read from. */
export const VALUE = `CASE WHEN long.id IS NOT NULL THEN ${unlessTooLong("long.text")}
  WHEN typeof(value) <> 'integer' THEN ${unlessTooLong("value")} END`;
// By a join: a subquery would copy what it found once more.
export const LONG = `LEFT JOIN workertown_kv_text AS long ON long.id = ${idOf("value")}`;
export const ENTRIES = `workertown_kv_entry ${LONG}`;

/** The texts of a row that is gone or was changed go with it, whoever writes. */
const trigger = (event: "UPDATE" | "DELETE", column: TextColumn) => `
  CREATE TRIGGER workertown_kv_${event.toLowerCase()}_${column} AFTER ${event} ON workertown_kv_entry
    WHEN typeof(OLD.${column}) = 'integer'${event === "UPDATE" ? ` AND OLD.${column} IS NOT NEW.${column}` : ""}
    BEGIN DELETE FROM workertown_kv_text WHERE id = OLD.${column}; END;`;

/** As those above, of a value in pieces. */
const largeTrigger = (event: "UPDATE" | "DELETE") => `
  CREATE TRIGGER workertown_kv_${event.toLowerCase()}_value_large AFTER ${event} ON workertown_kv_entry
    WHEN typeof(OLD.value) = 'integer' AND OLD.value < 0${event === "UPDATE" ? " AND OLD.value IS NOT NEW.value" : ""}
    BEGIN DELETE FROM workertown_kv_large WHERE id = -OLD.value; END;`;

const isLong = (column: TextColumn) =>
  `octet_length(${column}) > ${column === "value" ? ROW_VALUE_BYTES : ROW_METADATA_BYTES}`;

/** The steps that make and upgrade the schema, oldest first; `PRAGMA user_version` counts those that ran. */
const MIGRATIONS: readonly { name: string; sql: string }[] = [
  {
    name: "0001-create-table",
    sql: `
      CREATE TABLE workertown_kv (
        namespace TEXT NOT NULL,
        name BLOB NOT NULL,
        metadata TEXT,
        expires_at INTEGER,
        version TEXT NOT NULL,
        updated_at INTEGER NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (namespace, name)
      );
      CREATE INDEX workertown_kv_expires ON workertown_kv (namespace, expires_at) WHERE expires_at IS NOT NULL;`,
  },
  {
    name: "0002-cluster-entries",
    // An old row leaves at most two texts, whose ids are made of its rowid.
    sql: `
      CREATE TABLE workertown_kv_namespace (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
      CREATE TABLE workertown_kv_text (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
      CREATE TABLE workertown_kv_entry (
        namespace INTEGER NOT NULL,
        name BLOB NOT NULL,
        metadata,
        expires_at INTEGER,
        version TEXT NOT NULL,
        updated_at INTEGER NOT NULL,
        value NOT NULL,
        PRIMARY KEY (namespace, name)
      ) WITHOUT ROWID;
      INSERT INTO workertown_kv_namespace (name) SELECT DISTINCT namespace FROM workertown_kv;
      INSERT INTO workertown_kv_text SELECT 2 * rowid, value FROM workertown_kv WHERE ${isLong("value")};
      INSERT INTO workertown_kv_text SELECT 2 * rowid + 1, metadata FROM workertown_kv WHERE ${isLong("metadata")};
      INSERT INTO workertown_kv_entry
        SELECT space.id, old.name, CASE WHEN ${isLong("metadata")} THEN 2 * old.rowid + 1 ELSE metadata END, expires_at,
          version, updated_at, CASE WHEN ${isLong("value")} THEN 2 * old.rowid ELSE value END
        FROM workertown_kv AS old JOIN workertown_kv_namespace AS space ON space.name = old.namespace
        ORDER BY space.id, old.name;
      DROP TABLE workertown_kv;
      -- Where libSQL and D1 look for the version, so that they refuse the tables that they do not know.
      CREATE TABLE IF NOT EXISTS workertown_kv_schema (version INTEGER PRIMARY KEY, name TEXT NOT NULL);
      INSERT OR REPLACE INTO workertown_kv_schema VALUES (2, '0002-cluster-entries');
      CREATE INDEX workertown_kv_expires ON workertown_kv_entry (namespace, expires_at) WHERE expires_at IS NOT NULL;
      ${trigger("UPDATE", "value")}
      ${trigger("UPDATE", "metadata")}
      ${trigger("DELETE", "value")}
      ${trigger("DELETE", "metadata")}
      CREATE VIEW workertown_kv AS
        SELECT space.name AS namespace, entry.name AS name, ${textOf("metadata")} AS metadata, expires_at, version,
          updated_at, ${textOf("value")} AS value
        FROM workertown_kv_entry AS entry JOIN workertown_kv_namespace AS space ON space.id = entry.namespace;`,
  },
  {
    name: "0003-large-values",
    // An id is never given twice, so that whoever knows it knows the value. A piece has its value's id and its number in its own.
    sql: `
      CREATE TABLE workertown_kv_large (id INTEGER PRIMARY KEY AUTOINCREMENT, bytes INTEGER NOT NULL, staged_at INTEGER);
      CREATE TABLE workertown_kv_piece (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
      CREATE INDEX workertown_kv_staged ON workertown_kv_large (staged_at) WHERE staged_at IS NOT NULL;
      CREATE TRIGGER workertown_kv_delete_large AFTER DELETE ON workertown_kv_large
        BEGIN DELETE FROM workertown_kv_piece WHERE id >= OLD.id * ${PIECES} AND id < (OLD.id + 1) * ${PIECES}; END;
      ${largeTrigger("UPDATE")}
      ${largeTrigger("DELETE")}
      DROP VIEW workertown_kv;
      CREATE VIEW workertown_kv AS
        SELECT space.name AS namespace, entry.name AS name, ${textOf("metadata")} AS metadata, expires_at, version, updated_at,
          CASE WHEN typeof(value) = 'integer' AND value < 0 THEN (SELECT group_concat(CAST(bytes AS TEXT), '') FROM
            (SELECT bytes FROM workertown_kv_piece WHERE id >= -value * ${PIECES} AND id < (1 - value) * ${PIECES} ORDER BY id))
          ELSE ${textOf("value")} END AS value
        FROM workertown_kv_entry AS entry JOIN workertown_kv_namespace AS space ON space.id = entry.namespace;
      INSERT OR REPLACE INTO workertown_kv_schema VALUES (3, '0003-large-values');`,
  },
];

/** Runs the steps that have not run and names them; safe when several processes do so at once. */
export function migrateDatabase(database: DatabaseSync): string[] {
  if (versionOf(database) === MIGRATIONS.length) return [];
  database.exec("BEGIN IMMEDIATE");
  try {
    const steps = MIGRATIONS.slice(versionOf(database));
    for (const { sql } of steps) database.exec(sql);
    database.exec(`PRAGMA user_version = ${MIGRATIONS.length}`);
    database.exec("COMMIT");
    return steps.map(({ name }) => name);
  } catch (error) {
    if (database.isTransaction) database.exec("ROLLBACK");
    throw error;
  }
}

/** How many steps have run; throws where they are more than this version knows, before anything is changed. */
export function versionOf(database: DatabaseSync): number {
  const version = Number(database.prepare("PRAGMA user_version").get()?.user_version);
  if (version <= MIGRATIONS.length) return version;
  throw new Error(
    `it was made by a newer version (its schema is ${version}, this version knows ${MIGRATIONS.length}); update @workertown/kv`,
  );
}

/** The number that stands for a namespace in the rows of its entries; a new one is put down. */
export function namespaceId(database: DatabaseSync, namespace: string): number {
  const find = database.prepare("SELECT id FROM workertown_kv_namespace WHERE name = ?");
  const known = find.get(namespace);
  if (known !== undefined) return Number(known.id);
  database.prepare("INSERT INTO workertown_kv_namespace (name) VALUES (?) ON CONFLICT DO NOTHING").run(namespace);
  return Number(find.get(namespace)?.id);
}
