/** The writes that the adapters for PostgreSQL share: those of one statement, and what several operations come to. */
import { KvError } from "../core/errors.ts";
import { compareKeys } from "../core/key.ts";
import type { FoundEntry, WriteOperation, WriteOptions, WriteOutcome } from "./adapter.ts";
import { decide } from "./decide.ts";
import { type FoundRow, findMany, firstWithin } from "./postgres-reads.ts";
import {
  ABSENT,
  type Database,
  type PostgresSql,
  type Query,
  type Run,
  rowsOf,
  type TimedEntry,
} from "./postgres-sql.ts";

/** How many bytes of values one statement of many rows takes, of which the server holds several copies. */
const STATEMENT_BYTES = 8_388_608;

/** One operation in one statement; `null` where that cannot be. */
export function inOneStatement(
  sql: PostgresSql,
  run: Run,
  operation: WriteOperation,
  now: number,
): Promise<WriteOutcome> | null {
  const { kind, key, condition } = operation;
  if (kind === "get") return null;
  if (condition === undefined) {
    if (kind === "put") return run(sql.put(key, operation.entry, now)).then(() => "written");
    return rowsOf(run(sql.delete(key, now))).then(([row]) => (row?.live ? "deleted" : "absent"));
  }
  const query = kind === "put" ? sql.putIf(key, operation.entry, condition, now) : sql.deleteIf(key, condition, now);
  if (query === null) return null;
  return run(query).then(({ rowCount }) => (rowCount === 0 ? "refused" : kind === "put" ? "written" : "deleted"));
}

/** What operations leave that are nothing but puts without conditions; `null` where there are others. */
export function putsOf(operations: readonly WriteOperation[], now: number): Map<string, TimedEntry> | null {
  const puts = new Map<string, TimedEntry>();
  for (const operation of operations) {
    if (operation.kind !== "put" || operation.condition !== undefined) return null;
    puts.set(operation.key, { ...operation.entry, now });
  }
  return puts;
}

/** The keys of operations, each once, in the order in which all transactions lock them. */
export function keysOf(operations: readonly WriteOperation[]): string[] {
  return [...new Set(operations.map(({ key }) => key))].sort(compareKeys);
}

export interface Plan {
  outcomes: WriteOutcome[];
  /** What each key is to hold, `null` for nothing. */
  changes: Map<string, TimedEntry | null>;
  /** The version of each key as it was read, `ABSENT` for none. */
  versions: Map<string, string>;
}

/**
 * What operations come to, by what is read of their keys, with the values that their reads answer. `null` where one has
 * changed in between, which cannot be where the keys are locked.
 */
export async function planOf(
  sql: PostgresSql,
  run: Run,
  operations: readonly WriteOperation[],
  options: WriteOptions,
  answerBytes = Number.MAX_SAFE_INTEGER,
): Promise<Plan | null> {
  const keys = keysOf(operations);
  const found = await findMany(sql, run, keys, -1);
  const sizes = new Map<Uint8Array | null, string>();
  const decision = decide(operations, options, (key) => {
    const row = found.get(key);
    if (row === undefined || row.entry.version === ABSENT) return null;
    // Of a value nothing but its length is looked at. It is read afterwards, where it is answered.
    const size = { length: row.bytes } as Uint8Array;
    sizes.set(size, key);
    return { ...row.entry, value: size };
  });
  const answered = decision.outcomes.map((outcome) =>
    typeof outcome === "object" && outcome.found !== null ? sizes.get(outcome.found.value) : undefined,
  );
  const entries = await entriesOf(sql, run, found, new Set(answered.filter((key) => key !== undefined)), answerBytes);
  if (entries === null) return null;
  const outcomes = decision.outcomes.map((outcome, index) => {
    const key = answered[index];
    return key === undefined ? outcome : { found: entries.get(key) ?? null };
  });
  const versions = new Map(keys.map((key) => [key, found.get(key)?.entry.version ?? ABSENT]));
  const changes = new Map([...decision.changes].map(([key, entry]) => [key, entry && { ...entry, now: options.now }]));
  return { outcomes, changes, versions };
}

/** The entries under keys that have been found, with their values; `null` where one is not what was found any more. */
async function entriesOf(
  sql: PostgresSql,
  run: Run,
  found: ReadonlyMap<string, FoundRow>,
  keys: ReadonlySet<string>,
  answerBytes: number,
): Promise<Map<string, FoundEntry> | null> {
  const entries = new Map<string, FoundEntry>();
  const bytesOf = (key: string) => found.get(key)?.bytes ?? 0;
  for (let rest = [...keys]; rest.length > 0; ) {
    const group = firstWithin(rest, bytesOf, answerBytes);
    for (const [key, { entry }] of await findMany(sql, run, group, Math.max(...group.map(bytesOf)))) {
      if (entry.version === found.get(key)?.entry.version) entries.set(key, entry);
    }
    rest = rest.slice(group.length);
  }
  return entries.size === keys.size ? entries : null;
}

/**
 * The statements that leave under each key what it is to hold, and nothing under those that `versions` has as `ABSENT` and
 * that are locked only. In the order of the keys, as everybody locks them.
 */
export function changesOf(
  sql: PostgresSql,
  changes: ReadonlyMap<string, TimedEntry | null>,
  versions: ReadonlyMap<string, string> = new Map(),
): Query[] {
  const puts: [string, TimedEntry][] = [];
  const gone = new Set([...versions].flatMap(([key, version]) => (version === ABSENT ? key : [])));
  for (const [key, entry] of changes) {
    if (entry === null) gone.add(key);
    else {
      gone.delete(key);
      puts.push([key, entry]);
    }
  }
  puts.sort(([a], [b]) => compareKeys(a, b));
  const queries: Query[] = gone.size > 0 ? [sql.deleteMany([...gone])] : [];
  const [[key, entry] = []] = puts;
  if (puts.length === 1 && key !== undefined && entry !== undefined)
    return [...queries, sql.put(key, entry, entry.now)];
  for (let rest = puts; rest.length > 0; ) {
    const group = firstWithin(rest, ([, { value }]) => value.length, STATEMENT_BYTES);
    queries.push(sql.putMany(group));
    rest = rest.slice(group.length);
  }
  return queries;
}

/** Runs queries as one transaction, a single one by itself. */
export async function runAll({ run, batch }: Database, queries: readonly Query[]): Promise<void> {
  const [first] = queries;
  if (queries.length === 1 && first !== undefined) await run(first);
  else await batch(queries);
}

const SETTLE_TRIES = 20;
const SETTLE_WAIT_MS = 5;

/** Does it again where it answers `null`, because others have changed what it has read, each time after a little longer. */
export async function settled<T>(attempt: () => Promise<T | null>): Promise<T> {
  for (let turn = 1; turn <= SETTLE_TRIES; turn++) {
    const result = await attempt();
    if (result !== null) return result;
    await new Promise((resolve) => setTimeout(resolve, Math.random() * SETTLE_WAIT_MS * turn));
  }
  throw new KvError("unavailable", "Others write the same keys all the time; nothing was changed");
}
