import { Buffer } from "node:buffer";
import { KvError } from "../core/errors.ts";
import { LATE, within } from "../core/within.ts";
import { unavailable } from "./failures.ts";
import { replyFailure } from "./redis-errors.ts";

/** What is used of a client of the driver `redis`, as `createClient`, `createCluster` and `createSentinel` make it. */
export interface RedisClientLike {
  readonly isOpen: boolean;
  /** Clusters of version 5 have none. */
  readonly isReady?: boolean;
  connect(): Promise<unknown>;
  close(): Promise<unknown>;
  destroy(): unknown;
  on(event: "error", listener: (error: unknown) => void): unknown;
  /** For replies as buffers, and without a timer for each command. */
  withCommandOptions(options: object): RedisCommandsLike;
}

export interface RedisCommandsLike {
  hmGet(key: string, fields: string[]): Promise<unknown>;
  eval(script: string, options: object): Promise<unknown>;
  evalSha(sha: string, options: object): Promise<unknown>;
  multi(): RedisMultiLike;
}

export interface RedisMultiLike {
  del(key: string): RedisMultiLike;
  /** Its values may be buffers. */
  hSet(key: string, fields: Record<string, string>): RedisMultiLike;
  pExpireAt(key: string, timestamp: number): RedisMultiLike;
  zAdd(key: string, member: { score: number; value: string }): RedisMultiLike;
  zRem(key: string, member: string): RedisMultiLike;
  exec(): Promise<unknown>;
}

/** A client that is there when it is needed. */
export interface RedisConnection {
  /** Runs a step on it; rejects with a `KvError` where the database cannot be reached. `writes`: it may happen only once. */
  run<T>(step: (commands: RedisCommandsLike) => Promise<T>, writes: boolean): Promise<T>;
  close(): Promise<void>;
}

const NO_ANSWER = "No answer in time";
const CONNECT_MS = 5000;
const ANSWER_MS = 10_000;
/** How old a client is at least that is replaced while it is open: of a cluster one node may be down for long. */
const REPLACE_MS = 250;

/** The client of a caller, who opens and closes it. One that is not open when it is needed is opened. */
export function givenConnection(client: RedisClientLike): RedisConnection {
  const commands = prepared(client);
  let opening: Promise<unknown> | undefined;

  async function open(): Promise<void> {
    opening ??= client.connect().finally(() => {
      opening = undefined;
    });
    if ((await within(CONNECT_MS, opening)) === LATE) throw unavailable();
  }

  return {
    async run(step, writes) {
      let sent = false;
      try {
        if (!client.isOpen || opening !== undefined) await open();
        // The driver would keep the command until it is connected again, however long that takes.
        if (client.isReady === false) throw unavailable();
        sent = writes;
        const answer = await within(ANSWER_MS, step(commands));
        if (answer !== LATE) return answer;
      } catch (error) {
        throw failureOf(error, sent);
      }
      throw unavailable(undefined, writes);
    },
    close: async () => {},
  };
}

interface Opened {
  client: RedisClientLike;
  commands: RedisCommandsLike;
  since: number;
  /** How many calls wait for it. */
  calls: number;
}

/**
 * A connection that opens a client when it is needed, and another one where that is lost or does not answer. A step that
 * was not sent, or only reads, is tried once more.
 */
export function ownConnection(
  make: () => Promise<RedisClientLike>,
  { connectMs = CONNECT_MS, answerMs = ANSWER_MS } = {},
): RedisConnection {
  let current: Opened | undefined;
  let opening: Promise<Opened> | undefined;

  async function open(): Promise<Opened> {
    const client = await make();
    let reason: unknown;
    try {
      const commands = prepared(client, (error) => {
        reason = error;
      });
      if ((await within(connectMs, client.connect())) === LATE) throw unavailable(reason);
      current = { client, commands, since: performance.now(), calls: 0 };
      return current;
    } catch (error) {
      destroy(client);
      // A cluster tells its reasons by events only.
      throw isOfDriver(error) ? unavailable(reason ?? error) : error;
    }
  }

  function opened(): Opened | Promise<Opened> {
    if (current !== undefined) return current;
    opening ??= open().finally(() => {
      opening = undefined;
    });
    return opening;
  }

  /** Has the next call open another client, unless one has done so already. */
  function replace(lost: Opened): void {
    if (current !== lost || (lost.client.isOpen && performance.now() - lost.since < REPLACE_MS)) return;
    current = undefined;
  }

  async function attempt<T>(held: Opened, step: (commands: RedisCommandsLike) => Promise<T>): Promise<T> {
    held.calls += 1;
    try {
      const answer = await within(answerMs, step(held.commands));
      if (answer === LATE) throw new Error(NO_ANSWER);
      return answer;
    } catch (error) {
      if (isLoss(error)) replace(held);
      throw error;
    } finally {
      held.calls -= 1;
      // The others that wait for it may still be answered.
      if (held !== current && held.calls === 0) destroy(held.client);
    }
  }

  return {
    async run(step, writes) {
      for (let tries = 1; ; tries++) {
        try {
          return await attempt(await opened(), step);
        } catch (error) {
          if (tries === 2 || !isRepeatable(error, writes)) throw failureOf(error, writes);
        }
      }
    },

    async close() {
      const last = current ?? (await opening?.catch(() => undefined));
      if (last === undefined) return;
      // It rejects where the connection is lost already.
      const closed = (async () => last.client.close())().catch(() => {});
      if ((await within(connectMs, closed)) === LATE) destroy(last.client);
    },
  };
}

/** Without a listener for its errors the driver ends the process, and does not connect again. */
function prepared(client: RedisClientLike, onError: (error: unknown) => void = () => {}): RedisCommandsLike {
  client.on("error", onError);
  return client.withCommandOptions({ typeMapping: { 36: Buffer }, timeout: 0 });
}

async function destroy(client: RedisClientLike): Promise<void> {
  try {
    await client.destroy();
  } catch {}
}

function failureOf(error: unknown, sent: boolean): unknown {
  if (!isOfDriver(error)) return error;
  if (isReply(error)) return replyFailure(error) ?? error;
  return unavailable(error, sent && isSent(error));
}

function isOfDriver(error: unknown): error is Error & { code?: unknown; syscall?: unknown } {
  return error instanceof Error && ![KvError, TypeError, RangeError].some((kind) => error instanceof kind);
}

/** Whether a server answered so: its errors begin with a code, those of several commands have the replies of all. */
function isReply(error: Error): boolean {
  return /^[A-Z]+ /.test(error.message) || "replies" in error;
}

/** Whether another client may do better: also than one whose server has become a replica. */
function isLoss(error: unknown): boolean {
  return isOfDriver(error) && (!isReply(error) || /(^|: -?)READONLY /.test(error.message));
}

/** Whether a command may have reached the server, and may have been done. */
function isSent(error: unknown): boolean {
  if (!isOfDriver(error) || isReply(error) || error.code === "ECONNREFUSED") return false;
  if (error.syscall === "connect" || error.syscall === "getaddrinfo") return false;
  return !/^(The client is (closed|offline)|Connection timeout)/.test(error.message);
}

function isRepeatable(error: unknown, writes: boolean): boolean {
  return isLoss(error) && (error as Error).message !== NO_ANSWER && !(writes && isSent(error));
}
