import { type Condition, isLive } from "../core/entry.ts";
import { utf8Length } from "../core/key.ts";
import type { StorageAdapter, StoredEntry, WriteOperation, WriteOptions, WriteOutcome } from "./adapter.ts";
import { decide } from "./decide.ts";
import { isAbout, type Parameter, type SqliteConnection, type Statement } from "./sqlite-batch.ts";
import { foundOf, hexOf, piecesOf, type SqliteReads, untilQuiet } from "./sqlite-batch-read.ts";

/** How much one batch takes of a call that need not be atomic. */
const BATCH_BYTES = 8_388_608;
/** What a byte of a key counts: all keys of a batch are one parameter too, in hexadecimal. */
const KEY_WEIGHT = 10;
/** How much one parameter of JSON takes: D1 has room for 2,000,000 bytes. */
const PIECE_BYTES = 1_500_000;
/** A value of more than this is a parameter by itself: as JSON in JSON it may take twice as much. */
const LARGE_BYTES = 250_000;
/** How many expired entries a write removes with it. */
const SWEEP_LIMIT = 20;

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

const INTO = "INSERT INTO workertown_kv (namespace, name, metadata, expires_at, version, updated_at, value)";
const REPLACING = `ON CONFLICT (namespace, name) DO UPDATE SET metadata = excluded.metadata, expires_at = excluded.expires_at,
  version = excluded.version, updated_at = excluded.updated_at, value = excluded.value`;
const PUT = `${INTO} VALUES (?1, unhex(?2), ?4, ?5, ?6, ?3, ?7) ${REPLACING}`;
const PUT_WHERE = `${INTO} SELECT ?1, unhex(?2), ?4, ?5, ?6, ?3, ?7 WHERE`;
const PUT_MANY = `${INTO} SELECT ?1, unhex(value->>0), value->>1, value->>2, value->>3, ?2, value->>4
  FROM json_each(?3) WHERE true ${REPLACING}`;

const DELETE = "DELETE FROM workertown_kv WHERE namespace = ?1 AND name = unhex(?2)";
const DELETE_MANY = `DELETE FROM workertown_kv WHERE namespace = ?1 AND name IN (SELECT unhex(value) FROM json_each(?2))`;
const SWEEP = `DELETE FROM workertown_kv WHERE rowid IN (
  SELECT rowid FROM workertown_kv WHERE namespace = ?1 AND expires_at <= ?2 ORDER BY expires_at LIMIT ?3) RETURNING 1`;

/** Fails, and its batch with it, unless under each key the version is stored (`null`: nothing is) that was read. */
const GUARD = `SELECT json(CASE WHEN EXISTS (
  SELECT 1 FROM json_each(?2) AS known LEFT JOIN workertown_kv AS kv
    ON kv.namespace = ?1 AND kv.name = unhex(known.value->>0)
    WHERE kv.version IS NOT known.value->>1) THEN 'changed' ELSE '0' END)`;
const GUARD_FAILED = "malformed JSON";

/**
 * `write` and `sweep`. One put or delete is one statement that has its condition in it. What has no conditions is one
 * batch. The rest is read, decided here and applied in a batch that only goes through if what was read is still there.
 */
export function sqliteWrites(connection: SqliteConnection, reads: SqliteReads, namespace: string, sweepEvery = 0) {
  const sweeping = (now: number, limit: number): Statement => ({ sql: SWEEP, parameters: [namespace, now, limit] });

  async function run(statements: readonly Statement[], now: number) {
    const sweeps = sweepEvery > 0 && Math.random() * sweepEvery < 1;
    return connection.write(sweeps ? [...statements, sweeping(now, SWEEP_LIMIT)] : statements);
  }

  async function writeOne({ statement, outcomeOf }: Single, now: number): Promise<WriteOutcome> {
    const [rows = []] = await run([statement], now);
    return outcomeOf(rows[0] as { expiresAt: number | null } | undefined);
  }

  async function writeBlindly(operations: readonly WriteOperation[], options: WriteOptions): Promise<WriteOutcome[]> {
    const changes = new Map(operations.map((operation) => [operation.key, left(operation)]));
    const deleted = operations.filter(({ kind }) => kind === "delete").map(({ key }) => key);
    const apply = applying(namespace, changes, options.now);
    const [rows = []] = await run(deleted.length > 0 ? [reads.state(deleted), ...apply] : apply, options.now);
    const found = deleted.length > 0 ? foundOf(rows) : new Map();
    return decide(operations, options, (key) => found.get(key) ?? null).outcomes;
  }

  async function writeGuarded(operations: readonly WriteOperation[], options: WriteOptions): Promise<WriteOutcome[]> {
    return untilQuiet(async () => {
      const found = await reads.find(operations, options);
      const { outcomes, changes } = decide(operations, options, (key) => found.get(key) ?? null);
      if (changes.size === 0) return outcomes;
      const keys = [...new Set(operations.map(({ key }) => key))];
      const known = JSON.stringify(keys.map((key) => [hexOf(key), found.get(key)?.version ?? null]));
      const guard = { sql: GUARD, parameters: [namespace, known] };
      try {
        await run([guard, ...applying(namespace, changes, options.now)], options.now);
        return outcomes;
      } catch (error) {
        if (isAbout(error, GUARD_FAILED)) return undefined;
        throw error;
      }
    });
  }

  const write: StorageAdapter["write"] = async (operations, options) => {
    const [first, ...others] = operations;
    if (first === undefined) return [];
    const single = others.length === 0 ? singleOf(namespace, first, options.now) : null;
    if (single !== null) return [await writeOne(single, options.now)];
    const many = operations.every(isBlind) ? writeBlindly : writeGuarded;
    if (options.atomic) return many(operations, options);
    const outcomes: WriteOutcome[] = [];
    for (const piece of piecesOf(operations, BATCH_BYTES, sizeOf)) outcomes.push(...(await many(piece, options)));
    return outcomes;
  };

  return {
    write,
    sweep: async (now: number, limit: number) => (await connection.write([sweeping(now, limit)]))[0]?.length ?? 0,
  };
}

/** Whether what an operation leaves does not depend on what is there. */
function isBlind({ kind, condition }: WriteOperation): boolean {
  return kind !== "get" && condition === undefined;
}

function left(operation: WriteOperation): StoredEntry | null {
  return operation.kind === "put" ? operation.entry : null;
}

function sizeOf({ key, ...operation }: WriteOperation): number {
  return key.length * KEY_WEIGHT + (operation.kind === "put" ? operation.entry.value.length : 0);
}

interface Single {
  statement: Statement;
  /** What became of the operation, by the row that the statement answered. */
  outcomeOf(row: { expiresAt: number | null } | undefined): WriteOutcome;
}

/** The one statement for an operation, or `null` where it takes more. */
function singleOf(namespace: string, operation: WriteOperation, now: number): Single | null {
  const { kind, key, condition } = operation;
  if (kind === "get") return null;
  const parameters: Parameter[] = [namespace, hexOf(key), now];
  if (kind === "put") {
    parameters.push(...columnsOf(operation.entry));
    if (condition === undefined) return { statement: { sql: PUT, parameters }, outcomeOf: () => "written" };
    const sql = `${PUT_WHERE} ${holds(condition, parameters)} ${REPLACING} RETURNING expires_at AS expiresAt`;
    return { statement: { sql, parameters }, outcomeOf: (row) => (row === undefined ? "refused" : "written") };
  }
  if (condition === undefined) {
    const statement = { sql: `${DELETE} RETURNING expires_at AS expiresAt`, parameters: parameters.slice(0, 2) };
    return { statement, outcomeOf: (row) => (row !== undefined && isLive(row, now) ? "deleted" : "absent") };
  }
  // Without If-Match a delete that finds nothing may have been refused or not.
  if (condition.ifMatch === undefined) return null;
  const sql = `${DELETE} AND ${holds(condition, parameters)} RETURNING expires_at AS expiresAt`;
  return { statement: { sql, parameters }, outcomeOf: (row) => (row === undefined ? "refused" : "deleted") };
}

/** Whether a condition holds (`conditionHolds`) as SQL, for the key ?2 of the namespace ?1 at the moment ?3. */
function holds({ ifMatch, ifNoneMatch }: Condition, parameters: Parameter[]): string {
  const live = (versions: Condition["ifMatch"]) => {
    const isListed = (list: readonly string[]) =>
      `AND version IN (SELECT value FROM json_each(?${parameters.push(JSON.stringify(list))}))`;
    return `EXISTS (SELECT 1 FROM workertown_kv WHERE namespace = ?1 AND name = unhex(?2)
      AND (expires_at IS NULL OR expires_at > ?3) ${versions === undefined || versions === "*" ? "" : isListed(versions)})`;
  };
  const terms = [
    ...(ifMatch === undefined ? [] : [live(ifMatch)]),
    ...(ifNoneMatch === undefined ? [] : [`NOT ${live(ifNoneMatch)}`]),
  ];
  return terms.join(" AND ") || "true";
}

function columnsOf({ metadata, expiresAt, version, value }: StoredEntry): Parameter[] {
  return [metadata, expiresAt, version, decoder.decode(value)];
}

/** The statements that bring about changes, few for many of them. */
function applying(namespace: string, changes: ReadonlyMap<string, StoredEntry | null>, now: number): Statement[] {
  const deletes: string[] = [];
  const rows: string[] = [];
  const large: Statement[] = [];
  for (const [key, entry] of changes) {
    if (entry === null) deletes.push(hexOf(key));
    else if (entry.value.length <= LARGE_BYTES) rows.push(JSON.stringify([hexOf(key), ...columnsOf(entry)]));
    else large.push({ sql: PUT, parameters: [namespace, hexOf(key), now, ...columnsOf(entry)] });
  }
  const small = piecesOf(rows, PIECE_BYTES, utf8Length).map((piece) => ({
    sql: PUT_MANY,
    parameters: [namespace, now, `[${piece.join()}]`],
  }));
  const gone = { sql: DELETE_MANY, parameters: [namespace, JSON.stringify(deletes)] };
  return [...(deletes.length > 0 ? [gone] : []), ...small, ...large];
}
