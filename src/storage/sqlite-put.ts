/** How an entry is written into the tables of an SQLite file. */
import type { DatabaseSync } from "node:sqlite";
import { utf8Length } from "../core/key.ts";
import { type EntryToWrite, isLarge, largeWriter } from "./sqlite-large.ts";
import { idOf, ROW_METADATA_BYTES, ROW_VALUE_BYTES } from "./sqlite-schema.ts";

type Id = number | bigint | null;

/** The texts of an entry that stand apart. */
interface Ids {
  value: Id;
  metadata: Id;
}

const NONE: Ids = { value: null, metadata: null };

/** Whether an entry takes several statements to write: its value or metadata stands in a table of its own. */
export function standsApart(entry: EntryToWrite): boolean {
  return isLarge(entry) || isLongValue(entry.value) || isLongMetadata(entry.metadata);
}

const isLongValue = (value: Uint8Array) => value.length > ROW_VALUE_BYTES;
const isLongMetadata = (metadata: string | null): metadata is string =>
  metadata !== null && utf8Length(metadata) > ROW_METADATA_BYTES;

/** Writes an entry in the place of what is there, inside the transaction or savepoint of the caller. */
export function putter(database: DatabaseSync, namespace: number) {
  const entry = database.prepare(
    `INSERT INTO workertown_kv_entry (namespace, name, metadata, expires_at, version, updated_at, value)
      VALUES (${namespace}, CAST(? AS BLOB), coalesce(CAST(? AS INTEGER), ?), ?, ?, ?, coalesce(CAST(? AS INTEGER), CAST(? AS TEXT)))
      ON CONFLICT (namespace, name) DO UPDATE SET metadata = excluded.metadata, expires_at = excluded.expires_at,
        version = excluded.version, updated_at = excluded.updated_at, value = excluded.value`,
  );
  const ids = database.prepare(
    `SELECT ${idOf("value")} AS value, ${idOf("metadata")} AS metadata FROM workertown_kv_entry
      WHERE namespace = ${namespace} AND name = CAST(? AS BLOB)`,
  );
  const insert = database.prepare("INSERT INTO workertown_kv_text (text) VALUES (CAST(? AS TEXT))");
  const large = largeWriter(database);
  const update = database.prepare("UPDATE workertown_kv_text SET text = CAST(? AS TEXT) WHERE id = ?");

  /** In the place of the text that was there, which costs less than a new row. */
  function keep(text: Uint8Array | string, id: Id): Id {
    if (id === null) return insert.run(text).lastInsertRowid;
    update.run(text, id);
    return id;
  }

  return (key: string, stored: EntryToWrite, now: number): void => {
    const { metadata, expiresAt, version } = stored;
    const before = standsApart(stored) ? ((ids.get(key) as Ids | undefined) ?? NONE) : NONE;
    const metadataId = isLongMetadata(metadata) ? keep(metadata, before.metadata) : null;
    let valueId: Id = null;
    if (isLarge(stored)) valueId = -large.keep(stored);
    else if (isLongValue(stored.value)) valueId = keep(stored.value, before.value);
    const [shortMetadata, shortValue] = [metadataId === null ? metadata : null, valueId === null ? stored.value : null];
    entry.run(key, metadataId, shortMetadata, expiresAt, version, now, valueId, shortValue);
  };
}
