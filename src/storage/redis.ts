import { Buffer } from "node:buffer";
import type { StorageAdapter } from "./adapter.ts";
import { clientsOf, targetOf } from "./redis-client.ts";
import { givenConnection, ownConnection, type RedisClientLike, type RedisConnection } from "./redis-connection.ts";
import { type RedisRunner, redisNamespace } from "./redis-script.ts";
import { type RedisArgument, shaOf } from "./redis-wire.ts";

export type { RedisClientLike, RedisCommandsLike, RedisMultiLike } from "./redis-connection.ts";

export interface RedisStorageOptions {
  /**
   * `redis://user:password@host:6379/0`, `rediss://…` with TLS, or for a cluster `redis+cluster://host:7000`
   * (`rediss+cluster://…`), any one node of it. `?shards=16` is `shards`. Needs the package `redis`.
   */
  url?: string;
  /** A client of the package `redis`, which the caller closes, or a function that makes one, which is closed here. */
  client?: RedisClientLike | (() => RedisClientLike);
  /** Adapters with different namespaces see nothing of each other in one database. Default `default`. */
  namespace?: string;
  /**
   * Over how many hash slots of a cluster the keys are spread. Default 1: the whole namespace is on one node. With more
   * there are no atomic batches. It is chosen once: the namespace remembers it.
   */
  shards?: number;
}

/** A script with as many bytes takes about a third of a second, in which Redis serves nobody else. */
const MAX_BYTES = 104_857_600;
const PART_BYTES = 16_777_216;
const MAX_SHARDS = 1024;

/**
 * Storage in Redis or Valkey, a single server or a cluster. Each write is one script: conditions and atomic batches hold
 * whoever else writes. How much of what was answered survives a crash is decided by the server's own `appendonly` and
 * `appendfsync`; its `maxmemory-policy` must be `noeviction`.
 *
 * Throws a `TypeError` for options that cannot be, and rejects with `unavailable` where the server cannot be reached or does
 * not answer in 10 s, and with `storage_full` where it is out of memory.
 */
export function redisStorage(options: RedisStorageOptions): StorageAdapter {
  const { connection, namespace, shards } = checked(options);
  return {
    engine: "redis",
    capabilities: {
      consistency: "strong",
      conditional: true,
      atomic: shards === 1 && { operations: 2500, bytes: MAX_BYTES },
      ordered: true,
      snapshot: false,
      reportsDelete: true,
      maxKey: 65_536,
      maxValue: MAX_BYTES,
      maxMetadata: 1_048_576,
    },
    ...redisNamespace(runnerOf(connection), { namespace, shards, partBytes: PART_BYTES }),
    close: connection.close,
  };
}

function checked({ url, client, namespace = "default", shards }: RedisStorageOptions) {
  if (namespace === "") throw new TypeError(`namespace: Expected a name, got ""`);
  if (!namespace.isWellFormed()) throw new TypeError("namespace: Expected well-formed text");
  if ((url === undefined) === (client === undefined)) throw new TypeError("url: Expected either url or client");
  const target = url === undefined ? undefined : targetOf(url);
  const count = shards ?? target?.shards ?? 1;
  if (!(Number.isInteger(count) && count >= 1 && count <= MAX_SHARDS)) {
    throw new TypeError(`shards: Expected a whole number from 1 to ${MAX_SHARDS}, got ${count}`);
  }
  const connection =
    target !== undefined
      ? ownConnection(clientsOf(target))
      : typeof client === "function"
        ? ownConnection(async () => client())
        : givenConnection(client as RedisClientLike);
  return { connection, namespace, shards: count };
}

/** The commands of a connection, as a namespace uses them. */
function runnerOf({ run }: RedisConnection): RedisRunner {
  return {
    fields: (key, names) => run((commands) => commands.hmGet(key, names), false),

    async script(lua, keys, args, writes) {
      const sha = await shaOf(lua);
      const options = { keys: [...keys], arguments: args.map(buffered) };
      return run(async (commands) => {
        try {
          return await commands.evalSha(sha, options);
        } catch (error) {
          if (!/^NOSCRIPT /.test((error as Error).message)) throw error;
          return commands.eval(lua, options);
        }
      }, writes);
    },

    replace: ({ entry, index, expiries, name }, fields, expiry) =>
      run((commands) => {
        const hash = Object.fromEntries(Object.entries(fields).map(([field, value]) => [field, buffered(value)]));
        // One step that is refused, for want of memory, refuses them all.
        const multi = commands
          .multi()
          .del(entry)
          .hSet(entry, hash as Record<string, string>)
          .zAdd(index, { score: 0, value: name });
        if (expiry === null) return multi.zRem(expiries, name).exec();
        return multi
          .pExpireAt(entry, Number(expiry.purgeAt))
          .zAdd(expiries, { score: Number(expiry.expiresAt), value: name })
          .exec();
      }, true),
  };
}

/** The driver takes bytes in its own kind only; nothing is copied. */
function buffered(argument: RedisArgument): string | Buffer {
  if (typeof argument === "string") return argument;
  return Buffer.from(argument.buffer, argument.byteOffset, argument.byteLength);
}
