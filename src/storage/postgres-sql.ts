/** The SQL of PostgreSQL, for every way of reaching it: statements and rows. */

import type { Condition, StoredEntry } from "../core/entry.ts";
import { keyBytes, quote, utf8Length } from "../core/key.ts";
import type { FoundEntry, ListQuery } from "./adapter.ts";
import { boundsOf, keyOfBytes } from "./key-range.ts";

export interface Query {
  /** What a driver may prepare it under. */
  name?: string;
  text: string;
  values?: unknown[];
  /** Whether it changes something, so that its outcome is unknown where the answer is lost. */
  writes?: boolean;
}

/** Runs a query by itself, or in a transaction that is open. */
export type Run = (query: Query) => Promise<Answer>;

export interface Answer {
  rows: readonly unknown[];
  /** How many rows it changed. */
  rowCount: number | null;
}

export interface Database {
  run: Run;
  /** Runs queries as one transaction, which sees what others have committed before each. */
  batch(queries: readonly Query[]): Promise<Answer[]>;
}

/** A row, with those of its columns that were asked for. */
export interface Row {
  name: Uint8Array;
  value: string | null;
  bytes: number;
  metadata: string | null;
  expires_at: string | number | bigint | null;
  version: string;
  live: boolean;
}

/** How a driver takes keys in an array, and values, one or in an array. */
export interface Encoding {
  keys(keys: Uint8Array[]): unknown;
  text(value: Uint8Array): unknown;
  texts(values: Uint8Array[]): unknown;
}

/** The version of a row that only stands for a key without an entry, while a transaction holds its lock. */
export const ABSENT = "";

const COLUMNS = "namespace, name, value, metadata, expires_at, version, updated_at";
const REPLACE = `ON CONFLICT (namespace, name) DO UPDATE SET value = excluded.value, metadata = excluded.metadata,
  expires_at = excluded.expires_at, version = excluded.version, updated_at = excluded.updated_at`;

const GET = "SELECT value, metadata, expires_at, version FROM workertown_kv WHERE namespace = $1 AND name = $2";

const MANY = `SELECT name, metadata, expires_at, version, octet_length(value) AS bytes,
    CASE WHEN octet_length(value) <= $3::bigint THEN value END AS value
  FROM workertown_kv WHERE namespace = $1 AND name = ANY ($2::bytea[])`;

// Both bounds are always set: with an optional one a generic plan would read the whole namespace.
const page = (columns: string) => `SELECT name, metadata, expires_at, version${columns} FROM workertown_kv
  WHERE namespace = $1 AND name >= $2 AND name < $3 AND (expires_at IS NULL OR expires_at > $4::bigint)
  ORDER BY name LIMIT $5`;

const LIST = page("");
const LIST_VALUES = `SELECT name, metadata, expires_at, version, CASE WHEN before < $6::bigint THEN value END AS value
  FROM (SELECT *, coalesce(sum(octet_length(value)) OVER
      (ORDER BY name ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
    FROM (${page(", value")}) AS page) AS sized
  ORDER BY name`;

const PUT = `INSERT INTO workertown_kv AS kept (${COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7) ${REPLACE}`;
const PUT_IF = `${PUT} WHERE kept.expires_at <= $7 OR (kept.version = ANY ($8::text[])) = $9::boolean`;
const REPLACE_IF = `UPDATE workertown_kv
  SET value = $3, metadata = $4, expires_at = $5, version = $6, updated_at = $7
  WHERE namespace = $1 AND name = $2 AND (expires_at IS NULL OR expires_at > $7)
    AND (version = ANY ($8::text[])) = $9::boolean`;

const PUT_MANY = `INSERT INTO workertown_kv (${COLUMNS}) SELECT $1, entry.*
  FROM unnest($2::bytea[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::bigint[]) AS entry (name)
  ORDER BY entry.name ${REPLACE}`;

const DELETE = `DELETE FROM workertown_kv WHERE namespace = $1 AND name = $2
  RETURNING expires_at IS NULL OR expires_at > $3::bigint AS live`;
const DELETE_IF = `DELETE FROM workertown_kv WHERE namespace = $1 AND name = $2
  AND (expires_at IS NULL OR expires_at > $3::bigint) AND (version = ANY ($4::text[])) = $5::boolean`;
const DELETE_MANY = "DELETE FROM workertown_kv WHERE namespace = $1 AND name = ANY ($2::bytea[])";

// Locks every key in one order, the absent ones by a row that nobody else sees. A conflict locks before WHERE is looked at.
const LOCK = `INSERT INTO workertown_kv (${COLUMNS})
  SELECT $1, name, '', NULL, 0, '${ABSENT}', 0 FROM unnest($2::bytea[]) AS key (name) ORDER BY name
  ON CONFLICT (namespace, name) DO UPDATE SET version = excluded.version WHERE false`;

// A division by zero (22012) ends the transaction.
const GUARD = `SELECT 1 / (count(*) = cardinality($2::bytea[]))::integer
  FROM workertown_kv JOIN unnest($2::bytea[], $3::text[]) AS seen (name, version) USING (name, version)
  WHERE namespace = $1`;

// One instance at a time; the array is made once, where a join might run the inner query again and again.
const SWEEP = `DELETE FROM workertown_kv WHERE namespace = $1 AND name = ANY (ARRAY(
  SELECT name FROM workertown_kv
  WHERE namespace = $1 AND expires_at <= $2::bigint
    AND (SELECT pg_try_advisory_xact_lock(7310391, hashtext($1)))
  ORDER BY expires_at LIMIT $3 FOR UPDATE SKIP LOCKED))`;

/** An entry to put, and when it is put. */
export interface TimedEntry extends StoredEntry {
  now: number;
}

const NAMESPACE_BYTES = 255;

/** Throws a `TypeError` for a namespace that has no room in the index, or that a text of PostgreSQL cannot hold. */
export function checkNamespace(namespace: string): void {
  const bytes = utf8Length(namespace);
  if (bytes > 0 && bytes <= NAMESPACE_BYTES && !namespace.includes("\0")) return;
  throw new TypeError(`namespace: Expected 1 to ${NAMESPACE_BYTES} bytes without NUL, got ${quote(namespace)}`);
}

/** The queries of one namespace. */
export function postgresSql(namespace: string, { keys, text, texts }: Encoding) {
  const names = (given: readonly string[]) => keys(given.map(keyBytes));
  const named = (name: string, query: string, ...values: unknown[]): Query => ({
    name: `workertown_kv_${name}`,
    text: query,
    values: [namespace, ...values],
  });
  const write = (...given: Parameters<typeof named>): Query => ({ ...named(...given), writes: true });
  const columns = ({ value, metadata, expiresAt, version }: StoredEntry, now: number) =>
    [text(value), metadata, expiresAt, version, now] as const;

  return {
    get: (key: string) => named("get", GET, keyBytes(key)),

    /** What is under several keys; a value that takes more than `each` bytes is left out. */
    many: (given: readonly string[], each: number) => named("many", MANY, names(given), each),

    /** One row more than the page may hold; values are left out after the one that takes them to `valueBytes`. */
    list({ limit, valueBytes, now, ...query }: ListQuery) {
      const values = [...boundsOf(query), now, limit + 1];
      if (valueBytes === null) return named("list", LIST, ...values);
      return named("list_values", LIST_VALUES, ...values, Math.max(1, valueBytes));
    },

    put: (key: string, entry: StoredEntry, now: number) => write("put", PUT, keyBytes(key), ...columns(entry, now)),

    /** Changes one row where the condition holds, otherwise none. */
    putIf(key: string, entry: StoredEntry, condition: Condition, now: number) {
      const { absent, versions, listed } = ruleOf(condition);
      const values = [keyBytes(key), ...columns(entry, now), versions, listed];
      return absent ? write("put_if", PUT_IF, ...values) : write("replace_if", REPLACE_IF, ...values);
    },

    putMany(given: readonly (readonly [key: string, entry: TimedEntry])[]) {
      const entries = given.map(([, entry]) => entry);
      return write(
        "put_many",
        PUT_MANY,
        names(given.map(([key]) => key)),
        texts(entries.map(({ value }) => value)),
        entries.map(({ metadata }) => metadata),
        entries.map(({ expiresAt }) => expiresAt),
        entries.map(({ version }) => version),
        entries.map(({ now }) => now),
      );
    },

    /** Answers a row where there was one, and whether it was `live`. */
    delete: (key: string, now: number) => write("delete", DELETE, keyBytes(key), now),

    /** Changes one row where the condition holds; `null` for one that may hold without an entry. */
    deleteIf(key: string, condition: Condition, now: number) {
      const { absent, versions, listed } = ruleOf(condition);
      return absent ? null : write("delete_if", DELETE_IF, keyBytes(key), now, versions, listed);
    },

    deleteMany: (given: readonly string[]) => write("delete_many", DELETE_MANY, names(given)),

    /** Holds the keys, whether there is something under them or not, until the end of the transaction. */
    lock: (given: readonly string[]) => write("lock", LOCK, names(given)),

    /** Fails (22012) unless each key has this version still, `ABSENT` where it had none. */
    guard: (versions: ReadonlyMap<string, string>) =>
      named("guard", GUARD, names([...versions.keys()]), [...versions.values()]),

    sweep: (now: number, limit: number) => write("sweep", SWEEP, now, limit),
  };
}

export type PostgresSql = ReturnType<typeof postgresSql>;

/** A condition as SQL takes it: whether it holds without an entry, and with one where its version is (not) listed. */
function ruleOf({ ifMatch, ifNoneMatch }: Condition): { absent: boolean; versions: string[]; listed: boolean } {
  const absent = ifMatch === undefined;
  if (ifNoneMatch === "*") return { absent, versions: [], listed: true };
  const not = ifNoneMatch ?? [];
  if (ifMatch === undefined || ifMatch === "*") return { absent, versions: [...not], listed: false };
  return { absent, versions: ifMatch.filter((version) => !not.includes(version)), listed: true };
}

const encoder = new TextEncoder();

export function keyOf({ name }: Row): string {
  return keyOfBytes(name);
}

export function entryOf(row: Row): FoundEntry {
  const { value, metadata, expires_at: expiresAt, version } = row;
  return {
    value: typeof value === "string" ? encoder.encode(value) : null,
    metadata,
    // What a driver makes of a bigint can be set by its user.
    expiresAt: expiresAt === null ? null : Number(expiresAt),
    version,
  };
}

export async function rowsOf(answer: Promise<Answer>): Promise<readonly Row[]> {
  return (await answer).rows as readonly Row[];
}
