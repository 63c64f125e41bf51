import { KvError } from "../core/errors.ts";
import { keyBytes } from "../core/key.ts";
import { LATE, within } from "../core/within.ts";
import type { StorageAdapter } from "./adapter.ts";
import { missingDriver } from "./driver.ts";
import { unavailable } from "./failures.ts";
import { migrateFirst } from "./migrate-first.ts";
import { errnoOf, failureOf } from "./mysql-errors.ts";
import { migrateMysql } from "./mysql-migrate.ts";
import { mysqlReads } from "./mysql-read.ts";
import { MAX_KEY, MAX_NAMESPACE, MIGRATIONS, type Parameter, plain, type Run, sweep } from "./mysql-sql.ts";
import { type MysqlDatabase, mysqlWrites, retried } from "./mysql-write.ts";

/** What is used of a `Client` of `@planetscale/database`. */
export interface PlanetscaleClientLike {
  connection(): PlanetscaleConnectionLike;
}

export interface PlanetscaleConnectionLike {
  execute(
    query: string,
    args: null,
    options: { cast(field: PlanetscaleField, value: string | null): unknown },
  ): Promise<{ rows: object[]; rowsAffected: number; insertId: string }>;
}

export interface PlanetscaleField {
  type: string;
  charset?: number | null | undefined;
}

export interface PlanetscaleStorageOptions {
  /** `https://user:password@host`, as PlanetScale shows it for `@planetscale/database`; the scheme may be `mysql` or `planetscale` too. */
  url?: string;
  /** Instead of a URL: a client that the caller has made. */
  client?: PlanetscaleClientLike;
  /** Adapters with different namespaces see nothing of each other in one database. Default `default`. */
  namespace?: string;
}

const ANSWER_MS = 10_000;
/** PlanetScale answers 64 MiB at once. */
const ANSWER_BYTES = 33_554_432;

/**
 * Storage in PlanetScale over HTTP by `@planetscale/database`, for runtimes without sockets; where there are some,
 * `mysqlStorage` is faster and has snapshots. Each statement is a request, an atomic batch is several of them.
 *
 * Unproven: it was tested with the client on a MariaDB behind an HTTP server of the tests, never on PlanetScale itself.
 *
 * Throws a `TypeError` for bad options. Rejects with `unavailable` where PlanetScale cannot be reached, refuses the login or
 * does not answer in time.
 */
export function planetscaleStorage(options: PlanetscaleStorageOptions): StorageAdapter {
  checkOptions(options);
  const { url, client: given, namespace = "default" } = options;
  const owner = keyBytes(namespace);
  const database = databaseOf(() => given ?? open(url as string));
  const { run } = database;

  return migrateFirst({
    engine: "planetscale",
    capabilities: {
      consistency: "strong",
      conditional: true,
      // A transaction may take 20 s there, and each of its statements is a request.
      atomic: { operations: 10_000, bytes: 33_554_432 },
      ordered: true,
      snapshot: false,
      reportsDelete: true,
      maxKey: MAX_KEY,
      // In hexadecimal that is half of what one message inside of Vitess holds by default.
      maxValue: 4_194_304,
      maxMetadata: 65_536,
    },
    ...mysqlReads(run, owner, ANSWER_BYTES),
    write: mysqlWrites(database, owner).write,
    // Without a lock: a step may run twice, and one instance records it.
    migrate: () => migrateMysql(run, (work) => work(run), MIGRATIONS),
    sweep: async (now, limit) => (await retried(() => run(sweep(owner, now, limit)))).affectedRows,
    ping: async () => {
      await run(plain("SELECT 1"));
    },
  });
}

function checkOptions({ url, client, namespace = "default" }: PlanetscaleStorageOptions): void {
  if ((url === undefined) === (client === undefined)) throw new TypeError("url: Expected either a url or a client");
  // The URL itself stays out of the message: it has a password.
  if (url !== undefined && !/^(https?|mysql|planetscale):\/\/[^/?#]/.test(url)) {
    throw new TypeError("url: Expected https://user:password@host");
  }
  const bytes = keyBytes(namespace).length;
  if (bytes > 0 && bytes <= MAX_NAMESPACE) return;
  throw new TypeError(`namespace: Expected a name of 1 to ${MAX_NAMESPACE} bytes, got one of ${bytes}`);
}

async function open(url: string): Promise<PlanetscaleClientLike> {
  const { Client } = await import("@planetscale/database").catch(missingDriver("@planetscale/database"));
  return new Client({
    url,
    // Without the member `cache`, which some versions of Workers refuse.
    fetch: (address, init) => {
      const { cache: _, ...request } = init ?? {};
      return fetch(address, { ...request, signal: AbortSignal.timeout(ANSWER_MS) } as RequestInit);
    },
  });
}

function databaseOf(make: () => PlanetscaleClientLike | Promise<PlanetscaleClientLike>): MysqlDatabase {
  let making: Promise<PlanetscaleClientLike> | undefined;

  function client(): Promise<PlanetscaleClientLike> {
    making ??= Promise.resolve(make()).catch((error) => {
      making = undefined;
      throw error;
    });
    return making;
  }

  async function session<T>(work: (run: Run) => Promise<T>): Promise<T> {
    // It has no socket; the transaction of one that is left open ends by itself.
    const connection = (await client()).connection();
    return work((statement) => ask(connection, statement));
  }

  return {
    run: (statement) => session((run) => run(statement)),
    session,
    packet: () => Number.POSITIVE_INFINITY,
    insertIds: false,
  };
}

async function ask(connection: PlanetscaleConnectionLike, statement: Parameters<Run>[0]): ReturnType<Run> {
  const { values, commits = false } = statement;
  const sql = withValues(statement.sql, values);
  const answer = await within(ANSWER_MS, connection.execute(sql, null, { cast })).catch((error) => {
    throw errnoOf(error) === undefined ? withoutNumber(error, commits) : failureOf(error, commits);
  });
  if (answer === LATE) throw unavailable(new Error(`No answer in ${ANSWER_MS / 1000} s`), commits);
  const { rows, rowsAffected, insertId } = answer;
  return { rows: rows as Record<string, unknown>[], affectedRows: rowsAffected, insertId: Number(insertId) };
}

/** What failed outside of MySQL: the network, PlanetScale's front or Vitess. */
function withoutNumber(error: unknown, commits: boolean): unknown {
  const { status, message } = error as { status?: unknown; message?: unknown };
  if (/direct DDL is disabled/i.test(String(message))) {
    const detail =
      "The branch takes no changes of its schema: deploy that of docs/storage.md, or turn off safe migrations";
    return new KvError("unavailable", detail, { cause: error });
  }
  const refused = status === 401 || status === 403 || status === 429;
  return unavailable(error, commits && !refused);
}

/** The statement as text: bytes in hexadecimal, which no SQL mode and no character set reads in another way. */
function withValues(sql: string, values: readonly Parameter[]): string {
  let index = 0;
  return sql.replaceAll("?", () => literal(values[index++] ?? null));
}

function literal(value: Parameter): string {
  if (value === null) return "NULL";
  return typeof value === "number" ? String(value) : `X'${hex(value)}'`;
}

const DIGITS = new TextEncoder().encode("0123456789abcdef");
const decoder = new TextDecoder();

function hex(bytes: Uint8Array): string {
  const digits = new Uint8Array(2 * bytes.length);
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index] as number;
    digits[2 * index] = DIGITS[byte >> 4] as number;
    digits[2 * index + 1] = DIGITS[byte & 15] as number;
  }
  return decoder.decode(digits);
}

const BINARY = 63;

/** A column of a row: the client gives it as a string with a character for each byte. */
function cast({ type, charset }: PlanetscaleField, value: string | null): unknown {
  if (value === null) return null;
  if (/^U?INT/.test(type)) return Number(value);
  if (charset !== BINARY) return value;
  const bytes = new Uint8Array(value.length);
  for (let index = 0; index < value.length; index++) bytes[index] = value.charCodeAt(index);
  return bytes;
}
