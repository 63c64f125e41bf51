/** Connections to PostgreSQL by `pg`: each call has an end, and one on which something failed is not used again. */
import { KvError } from "../core/errors.ts";
import { LATE, within } from "../core/within.ts";
import { missingDriver } from "./driver.ts";
import { failureOf, retried } from "./postgres-errors.ts";
import type { Answer, Database, Query, Run } from "./postgres-sql.ts";

/** What is used of a `Pool` of `pg`. */
export interface PostgresPoolLike {
  readonly options?: { readonly max?: number };
  connect(): Promise<PostgresClientLike>;
  on(event: "error", listener: (error: Error) => void): unknown;
  listenerCount(event: "error"): number;
}

export interface PostgresClientLike {
  query(query: PostgresQuery): Promise<{ rows: unknown[]; rowCount: number | null }>;
  on(event: "error", listener: (error: Error) => void): unknown;
  /** With an error the connection is ended. */
  release(error?: Error | boolean): void;
}

export interface PostgresQuery {
  name?: string;
  text: string;
  values?: unknown[];
  /** Milliseconds after which the answer is not awaited any more. */
  query_timeout: number;
}

/** How long to wait for a connection, then for the server's answer; the server gives up a little earlier. */
const CONNECT_MS = 5000;
const STATEMENT_MS = 10_000;
const ANSWER_MS = 11_000;
/** How long an unused connection is kept. */
const IDLE_MS = 30_000;

const idle = (milliseconds: number) => `SET LOCAL idle_in_transaction_session_timeout = ${milliseconds}`;
/** Whoever waits for its locks waits no longer for a process that does not go on. */
const BEGIN: Query = { text: `BEGIN ISOLATION LEVEL READ COMMITTED; ${idle(STATEMENT_MS)}` };
const COMMIT: Query = { text: "COMMIT" };
const ROLLBACK: Query = { text: "ROLLBACK" };
/** The moment is that of the first query. */
const BEGIN_VIEW: Query = { text: `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ${idle(60_000)}; SELECT 1` };

export interface PoolSource {
  open(): Promise<PostgresPoolLike>;
  close(): Promise<void>;
}

/** A pool that is made at the first call, and closed here. */
export function ownPool(url: string, connections: number, statementTimeout: boolean): PoolSource {
  const make = async () => {
    const { Pool } = await import("pg").catch(missingDriver("pg"));
    const pool = new Pool({
      connectionString: url,
      max: connections,
      connectionTimeoutMillis: CONNECT_MS,
      idleTimeoutMillis: IDLE_MS,
      keepAlive: true,
      fallback_application_name: "workertown-kv",
      ...(statementTimeout && { statement_timeout: STATEMENT_MS }),
    });
    // Without a listener the loss of an unused connection ends the process.
    return pool.on("error", () => {});
  };
  let made: ReturnType<typeof make> | undefined;
  return {
    open() {
      made ??= make();
      return made;
    },
    close: async () => (await made)?.end(),
  };
}

/** A pool that the caller has made, and closes. */
export function callersPool(pool: PostgresPoolLike): PoolSource {
  if (pool.listenerCount("error") === 0) pool.on("error", () => {});
  return { open: async () => pool, close: async () => {} };
}

export interface Connections extends Database {
  /** Runs what `work` runs as one transaction, undone where `work` says so or fails. */
  transaction<T>(work: (run: Run) => Promise<{ commit: boolean; result: T }>): Promise<T>;
  /** A transaction that sees one moment, on a connection of its own until `close`. */
  view(): Promise<{ run: Run; close(): void }>;
}

/** Clients that have a listener: without one, an error while no query runs ends the process. */
const heard = new WeakSet<PostgresClientLike>();

export function postgresConnections(source: PoolSource, prepare: boolean): Connections {
  async function connect(): Promise<PostgresClientLike> {
    const pool = await source.open();
    const connecting = pool.connect();
    const client = await within(CONNECT_MS, connecting).catch((error) => {
      throw failureOf(error, false);
    });
    if (client === LATE) {
      connecting.then(
        (late) => late.release(),
        () => {},
      );
      throw new KvError("unavailable", `The database gave no connection in ${CONNECT_MS / 1000} s`);
    }
    if (!heard.has(client)) client.on("error", () => {});
    heard.add(client);
    return client;
  }

  /** `commits`: once the server has the query, it may be done although no answer comes. */
  async function send(client: PostgresClientLike, query: Query, commits = false): Promise<Answer> {
    const { name, text, values } = query;
    const prepared = prepare && name !== undefined && { name };
    try {
      return await client.query({ text, ...(values && { values }), ...prepared, query_timeout: ANSWER_MS });
    } catch (error) {
      throw failureOf(error, commits);
    }
  }

  /** Lends a connection, which is ended where something fails: it may be broken, or in a transaction. */
  async function lend<T>(work: (client: PostgresClientLike) => Promise<T>): Promise<T> {
    const client = await connect();
    try {
      const result = await work(client);
      client.release();
      return result;
    } catch (error) {
      client.release(true);
      throw error;
    }
  }

  function transaction<T>(work: (run: Run) => Promise<{ commit: boolean; result: T }>): Promise<T> {
    const attempt = async (client: PostgresClientLike) => {
      await send(client, BEGIN);
      const { commit, result } = await work((query) => send(client, query));
      await send(client, commit ? COMMIT : ROLLBACK, commit);
      return result;
    };
    return retried(() => lend(attempt));
  }

  return {
    run: (query) => retried(() => lend((client) => send(client, query, query.writes))),
    transaction,

    batch: (queries) =>
      transaction(async (run) => {
        const result: Answer[] = [];
        for (const query of queries) result.push(await run(query));
        return { commit: true, result };
      }),

    async view() {
      const client = await connect();
      try {
        await send(client, BEGIN_VIEW);
      } catch (error) {
        client.release(true);
        throw error;
      }
      return { run: (query) => send(client, query), close: () => client.release(true) };
    },
  };
}
