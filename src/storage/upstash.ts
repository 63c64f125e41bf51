import { KvError } from "../core/errors.ts";
import { LATE, within } from "../core/within.ts";
import type { StorageAdapter } from "./adapter.ts";
import { missingDriver } from "./driver.ts";
import { unavailable } from "./failures.ts";
import { replyFailure } from "./redis-errors.ts";
import { INLINE_BYTES, type RedisRunner, redisNamespace } from "./redis-script.ts";
import { shaOf, textOf } from "./redis-wire.ts";

/** What is used of a client of `@upstash/redis`. */
export interface UpstashClientLike {
  exec(command: [string, ...string[]]): Promise<unknown>;
}

export interface UpstashStorageOptions {
  /** `UPSTASH_REDIS_REST_URL` of the database, `https://….upstash.io`. Needs the package `@upstash/redis`. */
  url?: string;
  /** `UPSTASH_REDIS_REST_TOKEN` of the database. */
  token?: string;
  /**
   * A client in place of the two. It must be made with `automaticDeserialization: false`, `responseEncoding: false` and
   * `retry: { retries: 0 }`: what is tried again may happen twice.
   */
  client?: UpstashClientLike;
  /** Adapters with different namespaces see nothing of each other in one database. Default `default`. */
  namespace?: string;
  /** `strong` for a database without read regions. Default `eventual`. */
  consistency?: "strong" | "eventual";
  /** How many bytes the plan allows a request. Default 10,000,000; a value may have half of it. */
  maxRequest?: number;
}

const ANSWER_MS = 10_000;
const REQUEST_BYTES = 10_000_000;
/** What a request holds besides values: a few keys, metadata, a script. */
const OVERHEAD_BYTES = 65_536;

/**
 * Storage in a Redis of Upstash over its REST API, for places where there is no TCP. Each write is one script and one
 * request, as with `redisStorage`, and both can share one database.
 *
 * Throws a `TypeError` for options that cannot be, and rejects with `unavailable` where Upstash cannot be reached, refuses
 * the token or says that too much was asked, with `storage_full` where the database is full, and with `too_large` where it
 * takes less in one request than `maxRequest`.
 *
 * @see https://upstash.com/docs/redis/troubleshooting/max_request_size_exceeded
 */
export function upstashStorage(options: UpstashStorageOptions): StorageAdapter {
  const { namespace = "default", consistency = "eventual", maxRequest = REQUEST_BYTES } = options;
  const connect = clientOf(options);
  if (namespace === "" || !namespace.isWellFormed()) throw new TypeError("namespace: Expected a name");
  if (!(Number.isInteger(maxRequest) && maxRequest >= 1_000_000)) {
    throw new TypeError(`maxRequest: Expected at least 1000000 bytes, got ${maxRequest}`);
  }
  // Quotes and backslashes take two bytes in the JSON of a request.
  const maxValue = Math.floor(maxRequest / 2) - OVERHEAD_BYTES;
  const batchBytes = Math.floor(maxRequest / 4);
  const redis = redisNamespace(runnerOf(connect), { namespace, shards: 1, partBytes: batchBytes });
  return {
    engine: "upstash",
    capabilities: {
      consistency,
      conditional: true,
      atomic: { operations: 1000, bytes: batchBytes },
      ordered: true,
      snapshot: false,
      reportsDelete: true,
      // Upstash takes keys of 32 KB, with what stands before them.
      maxKey: 30_000,
      maxValue,
      maxMetadata: OVERHEAD_BYTES / 4,
    },
    ...redis,
    write: (operations, { valueBytes = 0, ...rest }) =>
      redis.write(operations, { ...rest, valueBytes: Math.min(valueBytes, batchBytes) }),
    // A Worker may send few requests: a page ends where another one would begin.
    list: ({ valueBytes, ...query }) =>
      redis.list({ ...query, valueBytes: valueBytes === null ? null : Math.min(valueBytes, INLINE_BYTES) }),
  };
}

/** The client, made when it is needed. */
function clientOf({ url, token, client }: UpstashStorageOptions): () => Promise<UpstashClientLike> {
  if (client !== undefined) {
    if (url !== undefined || token !== undefined) throw new TypeError("url: Expected either url and token or client");
    return async () => client;
  }
  if (url === undefined || !/^https?:$/.test(URL.parse(url)?.protocol ?? "")) {
    throw new TypeError("url: Expected the UPSTASH_REDIS_REST_URL of a database, https://…");
  }
  if (token === undefined || !/^[\x21-\x7e]+$/.test(token)) {
    throw new TypeError("token: Expected the UPSTASH_REDIS_REST_TOKEN of a database");
  }
  let made: Promise<UpstashClientLike> | undefined;
  const make = async () => {
    // The build for Cloudflare has nothing of Node in it.
    const { Redis } = await import("@upstash/redis/cloudflare").catch(missingDriver("@upstash/redis"));
    return new Redis({
      url,
      token,
      automaticDeserialization: false,
      responseEncoding: false,
      enableAutoPipelining: false,
      enableTelemetry: false,
      // A write that was tried again might be refused for what it did the first time.
      retry: { retries: 0 },
      signal: () => AbortSignal.timeout(ANSWER_MS),
    });
  };
  return () => {
    made ??= make().catch((error) => {
      made = undefined;
      throw error;
    });
    return made;
  };
}

function runnerOf(connect: () => Promise<UpstashClientLike>): RedisRunner {
  async function run(command: [string, ...string[]], writes: boolean): Promise<unknown> {
    const client = await connect();
    let answer: unknown;
    try {
      answer = await within(ANSWER_MS, client.exec(command));
    } catch (error) {
      throw failureOf(error, writes);
    }
    if (answer === LATE) throw unavailable(undefined, writes);
    return answer;
  }

  return {
    fields: (key, names) => run(["HMGET", key, ...names], false),

    async script(lua, keys, args, writes) {
      const rest = [`${keys.length}`, ...keys, ...args.map(textOf)];
      try {
        return await run(["EVALSHA", await shaOf(lua), ...rest], writes);
      } catch (error) {
        if (!isUnknownScript(error)) throw error;
        return run(["EVAL", lua, ...rest], writes);
      }
    },
  };
}

/** The error as the store knows it. The client's own tells the whole command with what is stored. */
function failureOf(error: unknown, writes: boolean): unknown {
  const { name, message, cause } = error as Error;
  if (name !== "UpstashError") {
    const code = (cause as { code?: unknown } | undefined)?.code;
    return unavailable(error, writes && code !== "ECONNREFUSED" && code !== "ENOTFOUND");
  }
  const reply = new Error(message.replace(/, command was: [\s\S]*$/, ""));
  if (/max (request|single record|key) size exceeded/.test(reply.message)) {
    return new KvError("too_large", "Upstash takes no request as large as this", { cause: reply });
  }
  return replyFailure(reply) ?? (/^[A-Z]+ /.test(reply.message) ? reply : unavailable(reply));
}

function isUnknownScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith("NOSCRIPT ");
}
