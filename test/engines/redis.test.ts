import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { build } from "esbuild";
import { createClient, createCluster } from "redis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StorageAdapter, WriteOperation } from "../../src/storage/adapter.ts";
import { type RedisClientLike, redisStorage } from "../../src/storage/redis.ts";
import { ownConnection, type RedisCommandsLike } from "../../src/storage/redis-connection.ts";
import { storedEntry } from "../../src/testing/subject.ts";
import { until } from "../runtimes.ts";
import { KEY, request } from "../support.ts";
import { freshNamespace, testEngine } from "./engine.ts";
import { missing, type Redis, startRedis } from "./redis-server.ts";
import { freePort } from "./server.ts";

testEngine({ name: "redis", missing, start: () => startRedis() });

const NOW = Date.now();
const MIB = 1_048_576;
let versions = 0;

function put(key: string, text: string, rest: { metadata?: string; expiresAt?: number } = {}): WriteOperation {
  return { kind: "put", key, entry: storedEntry(text, { ...rest, version: `v${versions++}` }) };
}
const write = (storage: StorageAdapter, ...operations: WriteOperation[]) =>
  storage.write(operations, { now: NOW, atomic: false });
const listed = async (storage: StorageAdapter, prefix = "", now = NOW) => {
  const page = await storage.list({ prefix, cursor: null, limit: 1000, valueBytes: null, now });
  return page.entries.map(({ key }) => key);
};
const textOf = (bytes: Uint8Array | null | undefined) => bytes && new TextDecoder().decode(bytes);

describe.skipIf(missing !== null)("redis itself", () => {
  let redis: Redis;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis?.[Symbol.asyncDispose]());

  /** What a step sends to the server, each command as its name. */
  async function commandsOf(step: () => Promise<unknown>): Promise<string[]> {
    const seen: string[] = [];
    const monitor = createClient({ socket: { host: "127.0.0.1", port: redis.nodes[0]?.port as number } });
    await monitor.connect();
    try {
      await monitor.monitor((line) => {
        if (!/^\S+ \[\d+ lua\]/.test(String(line))) seen.push(/"(\w+)"/.exec(String(line))?.[1]?.toLowerCase() ?? "");
      });
      await step();
      await new Promise((resolve) => setTimeout(resolve, 50));
      return seen;
    } finally {
      monitor.destroy();
    }
  }

  it("keeps an entry as a hash, its name in the index and its expiry beside it", async () => {
    await using storage = closing(redis.open("a b:{c}"));
    await write(storage, put("plain", "1"), put("all", "[2]", { metadata: `"m"`, expiresAt: NOW + 3_601_000 }));
    const base = "workertown_kv:{a%20b%3A%7Bc%7D}:";
    expect(await redis.admin("HGETALL", `${base}entry:plain`)).toEqual(["value", "1", "version", expect.any(String)]);
    const all = ["value", "[2]", "version", expect.any(String), "metadata", `"m"`, "expires_at", `${NOW + 3_601_000}`];
    expect(await redis.admin("HGETALL", `${base}entry:all`)).toEqual(all);
    expect(await redis.admin("PEXPIRETIME", `${base}entry:all`), "a minute late").toBe(NOW + 3_661_000);
    expect(await redis.admin("ZRANGE", `${base}index`, "0", "-1", "WITHSCORES")).toEqual(["all", "0", "plain", "0"]);
    expect(await redis.admin("ZRANGE", `${base}expiries`, "0", "-1", "WITHSCORES")).toEqual([
      "all",
      `${NOW + 3_601_000}`,
    ]);
    expect(await redis.admin("HGETALL", `${base}schema`)).toEqual(["version", "1", "shards", "1"]);
    await write(storage, put("all", "3"), { kind: "delete", key: "plain" });
    expect(await redis.admin("KEYS", `${base}*`)).toHaveLength(3);
    expect(await redis.admin("HGETALL", `${base}entry:all`)).toEqual(["value", "3", "version", expect.any(String)]);
    expect(await redis.admin("PTTL", `${base}entry:all`)).toBe(-1);
  });

  it("keeps a large value in the same way, without handing it to a script", async () => {
    const namespace = freshNamespace();
    await using storage = closing(redis.open(namespace));
    const large = `"${"é".repeat(MIB)}"`;
    const base = `workertown_kv:{${namespace}}:`;
    await write(storage, put("k", "1", { metadata: "1", expiresAt: NOW + 3_609_000 }));
    expect(await commandsOf(() => write(storage, put("k", large)) as Promise<unknown>)).not.toContain("evalsha");
    expect(await storage.get("k")).toMatchObject({ metadata: null, expiresAt: null });
    expect(textOf((await storage.get("k"))?.value)).toBe(large);
    expect(await redis.admin("ZCARD", `${base}expiries`)).toBe(0);
    await write(storage, put("new", large, { metadata: "2", expiresAt: NOW + 3_605_000 }));
    expect(await storage.get("new")).toMatchObject({ metadata: "2", expiresAt: NOW + 3_605_000 });
    expect(await redis.admin("PEXPIRETIME", `${base}entry:new`)).toBe(NOW + 3_665_000);
    expect(await redis.admin("ZRANGE", `${base}expiries`, "0", "-1", "WITHSCORES")).toEqual([
      "new",
      `${NOW + 3_605_000}`,
    ]);
    expect(await listed(storage)).toEqual(["k", "new"]);
    const [, replaced] = await write(
      storage,
      { ...put("k", large), condition: { ifNoneMatch: "*" } },
      { ...put("k", large), condition: { ifMatch: "*" } },
    );
    expect(replaced).toBe("written");
    const found = await storage.getMany?.(["k", "k", "new"], 5 * MIB);
    expect(found?.map((entry) => entry?.value?.length)).toEqual([large.length + MIB, large.length + MIB, undefined]);
    const page = await storage.list({ prefix: "", cursor: null, limit: 9, valueBytes: 3 * MIB, now: NOW });
    expect(page.entries.map(({ value }) => textOf(value) === large)).toEqual([true, true]);
  });

  it("sends no value over the wire that has no room", async () => {
    await using storage = closing(redis.open(freshNamespace()));
    const keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for (const key of keys) await write(storage, put(key, `"${"x".repeat(MIB)}"`));
    const sent = async (step: () => unknown) => {
      const count = async () =>
        Number(/total_net_output_bytes:(\d+)/.exec(String(await redis.admin("INFO", "stats")))?.[1]);
      const before = await count();
      await step();
      return ((await count()) - before) / MIB;
    };
    const query = { prefix: "", cursor: null, limit: 99, now: NOW };
    expect(await sent(() => storage.getMany?.(keys, 2.5 * MIB))).toBeLessThan(2.1);
    expect(await sent(() => storage.list({ ...query, valueBytes: 1.5 * MIB }))).toBeLessThan(2.1);
    expect(await sent(() => storage.list({ ...query, valueBytes: null }))).toBeLessThan(0.1);
    const gets = keys.map((key): WriteOperation => ({ kind: "get", key }));
    const within = { now: NOW, atomic: true, valueBytes: 3.5 * MIB };
    expect(await sent(() => storage.write(gets, within))).toBeLessThan(3.1);
  });

  it("takes one round trip for each call, also for 1,000 operations", async () => {
    await using storage = closing(redis.open(freshNamespace()));
    await storage.get("k");
    await write(storage, put("k", "1"));
    const keys = Array.from({ length: 1000 }, (_, index) => `k${index}`);
    const query = { prefix: "", cursor: null, limit: 1000, valueBytes: 1000, now: NOW };
    await Promise.all([storage.list(query), storage.getMany?.(keys, 9), storage.sweep?.(NOW, 9)]);
    const calls: [string, () => unknown][] = [
      ["hmget", () => storage.get("k")],
      ["evalsha", () => write(storage, put("k", "1"))],
      ["evalsha", () => write(storage, { ...put("k", "1"), condition: { ifMatch: "*", ifNoneMatch: ["x"] } })],
      ["evalsha", () => write(storage, { kind: "delete", key: "k" })],
      ["evalsha", () => write(storage, ...keys.map((key) => put(key, "1")))],
      [
        "evalsha",
        () =>
          storage.write(
            [...keys, "k"].map((key) => put(key, "1")),
            { now: NOW, atomic: true },
          ),
      ],
      ["evalsha", () => storage.getMany?.(keys, 9999)],
      ["evalsha", () => storage.list(query)],
      ["evalsha", () => storage.sweep?.(NOW, 200)],
    ];
    for (const [name, call] of calls) expect(await commandsOf(async () => call()), String(call)).toEqual([name]);
  });

  it("sends a script again where the server has forgotten it", async () => {
    await using storage = closing(redis.open(freshNamespace()));
    await write(storage, put("k", "1"));
    await redis.admin("SCRIPT", "FLUSH");
    expect(await commandsOf(() => write(storage, put("k", "2")) as Promise<unknown>)).toEqual(["evalsha", "eval"]);
    expect(textOf((await storage.get("k"))?.value)).toBe("2");
  });

  it("lists keys up to the last code point, whatever bytes they have", async () => {
    await using storage = closing(redis.open(freshNamespace()));
    const keys = ["a", "a\u{10FFFF}", "a\u{10FFFF}\u{10FFFF}", "a\u00ff", "b", "\u{10FFFF}", "\uFEFFa"];
    await write(storage, ...keys.map((key) => put(key, "1")));
    expect((await listed(storage, "a")).sort()).toEqual(keys.slice(0, 4).sort());
    expect(await listed(storage, "a\u{10FFFF}")).toEqual(keys.slice(1, 3));
    expect(await listed(storage, "\uFEFF")).toEqual(["\uFEFFa"]);
    expect(await listed(storage)).toHaveLength(7);
  });

  it("takes names out of the index whose entries Redis itself removed", async () => {
    const namespace = freshNamespace();
    await using storage = closing(redis.open(namespace));
    const base = `workertown_kv:{${namespace}}:`;
    const names = ["a", "b", "c", "d"];
    await write(storage, ...names.map((key) => put(key, "1", { expiresAt: NOW + 1000 })));
    await redis.admin("DEL", ...["a", "b", "c"].map((name) => `${base}entry:${name}`));
    expect(await listed(storage, "a")).toEqual([]);
    expect(await redis.admin("ZRANGE", `${base}index`, "0", "-1")).toEqual(["b", "c", "d"]);
    expect(await redis.admin("ZRANGE", `${base}expiries`, "0", "-1")).toEqual(["b", "c", "d"]);
    expect(await storage.sweep?.(NOW + 999, 100)).toBe(0);
    expect(await storage.sweep?.(NOW + 1000, 2)).toBe(2);
    expect(await storage.sweep?.(NOW + 1000, 2)).toBe(1);
    expect(await redis.admin("KEYS", `${base}*`)).toEqual([`${base}schema`]);
  });

  it("takes out what expired long ago as it writes, so that it needs no sweep", async () => {
    const namespace = freshNamespace();
    await using storage = closing(redis.open(namespace));
    const base = `workertown_kv:{${namespace}}:`;
    const names = ["a", "b", "c", "d", "e"];
    await write(storage, ...names.map((key) => put(key, "1", { expiresAt: NOW + 1000 })), put("stays", "1"));
    const later = (at: number) => storage.write([put("x", "1")], { now: NOW + at, atomic: false });
    await later(60_999);
    expect(await redis.admin("ZCARD", `${base}index`)).toBe(7);
    await later(61_000);
    expect(await redis.admin("ZRANGE", `${base}index`, "0", "-1")).toEqual(["c", "d", "e", "stays", "x"]);
    await later(61_000);
    await later(61_000);
    expect(await redis.admin("ZRANGE", `${base}index`, "0", "-1")).toEqual(["stays", "x"]);
    expect(await redis.admin("KEYS", `${base}*`)).toHaveLength(4);
  });

  it("looks at a bounded number of expired entries a call, and reaches what is behind them", async () => {
    await using storage = closing(redis.open(freshNamespace()));
    const names = Array.from({ length: 2500 }, (_, index) => `k${String(index).padStart(4, "0")}`);
    await write(storage, ...names.map((key) => put(key, "1", { expiresAt: NOW })), put("z", "1"));
    const seen: string[] = [];
    let cursor: string | null = null;
    let pages = 0;
    do {
      const page = await storage.list({ prefix: "", cursor, limit: 1, valueBytes: null, now: NOW });
      seen.push(...page.entries.map(({ key }) => key));
      cursor = page.cursor;
      pages += 1;
    } while (cursor !== null);
    expect(seen).toEqual(["z"]);
    expect(pages).toBe(3);
  });

  it("goes to the edge of its limits", async () => {
    await using storage = closing(redis.open(freshNamespace()));
    const { maxKey, maxMetadata, atomic } = storage.capabilities;
    const operations = atomic === false ? 0 : atomic.operations;
    const key = "k".repeat(maxKey);
    const metadata = `"${"m".repeat(maxMetadata - 2)}"`;
    await write(storage, put(key, "1", { metadata }));
    expect((await storage.get(key))?.metadata).toBe(metadata);
    expect(await listed(storage)).toEqual([key]);
    const all = Array.from({ length: operations }, (_, index) => put(`many/${index}`, "1"));
    const outcomes = await storage.write(all, { now: NOW, atomic: true });
    expect(outcomes.filter((outcome) => outcome === "written")).toHaveLength(operations);
  });

  it("takes any number of operations that need not happen together, and any number of versions", async () => {
    await using storage = closing(redis.open(freshNamespace()));
    const keys = Array.from({ length: 30_000 }, (_, index) => `k${index}`);
    const outcomes = await write(storage, ...keys.map((key) => put(key, "1")), { kind: "delete", key: "k7" });
    expect(outcomes.filter((outcome) => outcome === "written")).toHaveLength(keys.length);
    expect(outcomes.at(-1)).toBe("deleted");
    const found = await storage.getMany?.(keys, keys.length);
    expect(found?.flatMap((entry, index) => (entry?.value?.length === 1 ? [] : [keys[index]]))).toEqual(["k7"]);
    const { version } = (await storage.get("k8")) as { version: string };
    const ifMatch = [...Array.from({ length: 200_000 }, (_, index) => `x${index}`), version];
    expect(await write(storage, { ...put("k8", "2"), condition: { ifMatch } })).toEqual(["written"]);
    const { version: next } = (await storage.get("k8")) as { version: string };
    const odd = ["", " ", "*", "v 1", `${next} x`, `x ${next}`, `x ${next} x`, version];
    expect(await write(storage, { ...put("k8", "3"), condition: { ifMatch: odd } })).toEqual(["refused"]);
  });

  it("names its layout once when ten start at once, and refuses that of a newer version", async () => {
    const namespace = freshNamespace();
    const ten = Array.from({ length: 10 }, () => redis.open(namespace));
    const steps = await Promise.all(ten.map((storage) => storage.migrate?.()));
    expect(steps.flat()).toEqual(["0001-create-namespace"]);
    const key = `workertown_kv:{${namespace}}:schema`;
    await redis.admin("HSET", key, "version", "2");
    const newer = redis.open(namespace);
    await expect(newer.write([put("k", "1")], { now: NOW, atomic: false })).rejects.toMatchObject({
      code: "unavailable",
      message:
        "The database was made by a newer version (its schema is 2, this version knows 1); update @workertown/kv",
    });
    expect(await redis.admin("KEYS", `workertown_kv:{${namespace}}:*`)).toEqual([key]);
    await redis.admin("HSET", key, "version", "1");
    await newer.write([put("k", "1")], { now: NOW, atomic: false });
    const spread = redisStorage({ url: redis.url, namespace, shards: 4 });
    await expect(spread.get("k")).rejects.toMatchObject({
      code: "unavailable",
      message: /made with shards: 1, not 4$/,
    });
    await Promise.all([...ten, newer, spread].map((storage) => storage.close?.()));
  });

  it("says that the memory is full, with nothing done, and reads and deletes go on", async () => {
    await using storage = closing(redis.open(freshNamespace()));
    await write(storage, put("k", "1"), put("other", "1"));
    await redis.admin("CONFIG", "SET", "maxmemory", "1");
    try {
      const full = { code: "storage_full" };
      await expect(write(storage, put("k", "2"))).rejects.toMatchObject(full);
      await expect(write(storage, put("k", `"${"x".repeat(MIB)}"`))).rejects.toMatchObject(full);
      await expect(write(storage, { kind: "delete", key: "k" }, put("new", "2"))).rejects.toMatchObject(full);
      expect(textOf((await storage.get("k"))?.value)).toBe("1");
      expect(await listed(storage)).toEqual(["k", "other"]);
      expect(await write(storage, { kind: "delete", key: "other" })).toEqual(["deleted"]);
    } finally {
      await redis.admin("CONFIG", "SET", "maxmemory", "0");
    }
    expect(await write(storage, put("k", "2"))).toEqual(["written"]);
  });

  it("is unavailable while the server is a replica, and goes on when it is none", async () => {
    await using storage = closing(redis.open(freshNamespace()));
    await write(storage, put("k", "1"));
    await redis.admin("REPLICAOF", "127.0.0.1", "1");
    try {
      const error = await Promise.resolve(write(storage, put("k", "2"))).catch((reason) => reason);
      expect(error).toMatchObject({ code: "unavailable", message: "The database cannot be used at the moment" });
      expect(inspect(error, { depth: null })).not.toContain(redis.secret);
    } finally {
      await redis.admin("REPLICAOF", "NO", "ONE");
    }
    expect(await write(storage, put("k", "2"))).toEqual(["written"]);
  });

  it("does not show that an idle connection was cut, and tells that the outcome of a write is unknown", async () => {
    await using storage = closing(redis.open(freshNamespace()));
    await write(storage, put("k", "1"));
    await redis.cut();
    expect(textOf((await storage.get("k"))?.value)).toBe("1");
    await redis.cut();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await write(storage, put("k", "2"))).toEqual(["written"]);
    redis.pause();
    const writing = Promise.resolve(write(storage, put("k", "3"))).catch((error) => error);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await redis.kill();
    expect(await writing).toMatchObject({
      code: "unavailable",
      message: "The database cannot be used at the moment; the outcome of the write is unknown",
    });
    const refused = await Promise.resolve(storage.get("k")).catch((error) => error);
    expect(refused).toMatchObject({ code: "unavailable", message: "The database cannot be used at the moment" });
    expect(inspect(refused, { depth: null })).not.toContain(redis.secret);
    await redis.start();
    expect(textOf((await storage.get("k"))?.value)).toBe("2");
  });

  it("shows no password where the login is refused", async () => {
    await redis.refuse(true);
    try {
      await using storage = closing(redis.open(freshNamespace()));
      const error = await Promise.resolve(storage.get("k")).catch((reason) => reason);
      expect(error).toMatchObject({ code: "unavailable" });
      expect(inspect(error, { depth: null })).not.toContain(redis.secret);
    } finally {
      await redis.refuse(false);
    }
  });

  it("serves as the example has it", async () => {
    const folder = mkdtempSync(join(tmpdir(), "kv-redis-"));
    const outfile = join(folder, "server.mjs");
    await build({
      entryPoints: ["examples/redis/server.ts"],
      bundle: true,
      platform: "node",
      format: "esm",
      conditions: ["workertown-source"],
      alias: {
        "@workertown/kv": "./src/index.ts",
        "@workertown/kv/node": "./src/node.ts",
        "@workertown/kv/storage/redis": "./src/storage/redis.ts",
      },
      // The driver is in CommonJS.
      banner: { js: `import { createRequire } from "node:module"; const require = createRequire(import.meta.url);` },
      outfile,
    });
    const port = await freePort();
    const env = { KV_DB: redis.url, KV_NAMESPACE: freshNamespace(), KV_API_KEY: KEY, PORT: `${port}` };
    const child = spawn(process.execPath, [outfile], { env, stdio: "inherit" });
    const ended = new Promise((resolve) => child.once("close", resolve));
    try {
      const url = `http://127.0.0.1:${port}`;
      await until(async () => (await fetch(`${url}/ready`)).status === 200);
      await request(`${url}/v1/kv/k`, "PUT", { body: { value: [1.5] } });
      expect(await request(`${url}/v1/kv/k`, "GET")).toMatchObject({ status: 200, json: { data: [1.5] } });
      child.kill("SIGTERM");
      expect(await ended).toBe(0);
    } finally {
      child.kill("SIGKILL");
      await ended;
      rmSync(folder, { recursive: true });
    }
  });

  describe("with a client of the caller's", () => {
    const client = () => createClient({ url: redis.url, socket: { reconnectStrategy: 50 } });

    it("opens it where it is not open, and does not close it", async () => {
      const given = client();
      const storage = redisStorage({ client: given, namespace: freshNamespace() });
      await Promise.all([write(storage, put("a", "1")), write(storage, put("b", "1"))]);
      expect(await listed(storage)).toEqual(["a", "b"]);
      await storage.close?.();
      expect(given.isReady).toBe(true);
      await given.close();
      const cut = redisStorage({ client: given, namespace: freshNamespace() });
      expect(await cut.get("a")).toBe(null);
      given.destroy();
    });

    it("keeps nothing for later while the server is away, and survives that", async () => {
      const given = client();
      const storage = redisStorage({ client: given, namespace: freshNamespace() });
      await write(storage, put("a", "1"));
      await redis.kill();
      const began = performance.now();
      await expect.poll(() => given.isReady).toBe(false);
      await expect(write(storage, put("late", "1"))).rejects.toMatchObject({ code: "unavailable" });
      expect(performance.now() - began).toBeLessThan(1000);
      await redis.start();
      await expect.poll(() => given.isReady).toBe(true);
      expect(await listed(storage)).toEqual(["a"]);
      given.destroy();
    });

    it("closes what a function of the caller's made", async () => {
      const made: ReturnType<typeof client>[] = [];
      const make = () => {
        made.push(client());
        return made[0] as ReturnType<typeof client>;
      };
      const storage = redisStorage({ client: make, namespace: freshNamespace() });
      expect(await storage.get("k")).toBe(null);
      await storage.close?.();
      expect(made.map(({ isOpen }) => isOpen)).toEqual([false]);
    });

    it("takes the clients of the driver by their types", () => {
      const clients: RedisClientLike[] = [createClient(), createCluster({ rootNodes: [] })];
      expect(clients).toHaveLength(2);
    });
  });
});

describe("the options of redisStorage", () => {
  it.each<[Parameters<typeof redisStorage>[0], RegExp]>([
    [{}, /^url: Expected either url or client$/],
    [{ url: "redis://h", namespace: "" }, /^namespace: Expected a name, got ""$/],
    [{ url: "redis://h", namespace: "\ud800" }, /^namespace: /],
    [{ url: "redis://h", shards: 0 }, /^shards: .*got 0$/],
    [{ url: "redis://h", shards: 1.5 }, /^shards: .*got 1.5$/],
    [{ url: "redis://h?shards=2000" }, /^shards: .*got 2000$/],
    ...[
      ...["", "h", "http://u:secret@h", "redis://", "redis://u:secret@h/x", "redis://u:sec%ret@h", "redis://h:99999"],
      ...["redis://u:secret@h?shard=2", "redis://h?shards=", "redis://h?shards=x", "redis+cluster://u:secret@h/1"],
    ].map((url): [{ url: string }, RegExp] => [{ url }, /^url: Expected redis:/]),
  ])("%j is refused without quoting it", (options, message) => {
    const error = (() => {
      try {
        redisStorage(options);
      } catch (thrown) {
        return thrown as Error;
      }
    })();
    expect(error).toBeInstanceOf(TypeError);
    expect(error?.message).toMatch(message);
    expect(inspect(error, { depth: null })).not.toMatch(/sec%?ret/);
  });

  it("has no atomic batches with several shards", () => {
    expect(redisStorage({ url: "redis+cluster://h:1?shards=16" }).capabilities.atomic).toBe(false);
    expect(redisStorage({ url: "rediss://h", shards: 1 }).capabilities.atomic).toMatchObject({ operations: 2500 });
  });
});

describe("a connection", () => {
  const nothing = undefined as unknown as RedisCommandsLike;
  /** A client that connects and does what it is told. */
  function fake(connect: () => Promise<unknown> = async () => {}) {
    const state = { isOpen: true, isReady: true, destroyed: 0, listeners: 0 };
    const client: RedisClientLike = Object.assign(state, {
      connect,
      close: async () => {},
      destroy: () => void state.destroyed++,
      on: () => void state.listeners++,
      withCommandOptions: () => nothing,
    });
    return { client, state };
  }
  const never = new Promise<never>(() => {});

  it("gives up a server that does not answer, and throws that client away when nobody waits for it", async () => {
    const made: ReturnType<typeof fake>[] = [];
    const make = async () => {
      made.push(fake());
      return (made.at(-1) as ReturnType<typeof fake>).client;
    };
    const connection = ownConnection(make, { connectMs: 400, answerMs: 400 });
    const slow = connection.run(() => new Promise((resolve) => setTimeout(resolve, 380, "slow")), false);
    const writing = connection.run(() => never, true).catch((error) => error);
    const reading = connection.run(() => never, false).catch((error) => error);
    expect(await slow).toBe("slow");
    expect(await writing).toMatchObject({ code: "unavailable", message: /outcome of the write is unknown$/ });
    expect(await reading).toMatchObject({ code: "unavailable", message: "The database cannot be used at the moment" });
    expect(made.map(({ state }) => state.destroyed)).toEqual([1]);
    expect(await connection.run(async () => "new", true)).toBe("new");
    expect(made).toHaveLength(2);
    expect(made.map(({ state }) => state.listeners)).toEqual([1, 1]);
  });

  it("gives up a connection that does not come about, once for all who wait", async () => {
    let tries = 0;
    const make = async () => {
      tries += 1;
      return fake(() => never).client;
    };
    const connection = ownConnection(make, { connectMs: 50, answerMs: 50 });
    const errors = await Promise.all([1, 2].map(() => connection.run(async () => 1, true).catch((error) => error)));
    expect(errors.map(({ message }) => message)).toEqual(Array(2).fill("The database cannot be used at the moment"));
    expect(tries).toBe(1);
    await expect(connection.run(async () => 1, false)).rejects.toMatchObject({ code: "unavailable" });
    expect(tries).toBe(2);
  });

  it("leaves a mistake in the program as it is", async () => {
    const connection = ownConnection(async () => fake().client);
    const mistake = new TypeError("x is not a function");
    await expect(connection.run(() => Promise.reject(mistake), true)).rejects.toBe(mistake);
    const reply = new Error("WRONGTYPE Operation against a key holding the wrong kind of value");
    await expect(connection.run(() => Promise.reject(reply), true)).rejects.toBe(reply);
  });

  it.each([
    ["LOADING Redis is loading the dataset in memory", "unavailable"],
    ["MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "unavailable"],
    ["CLUSTERDOWN The cluster is down", "unavailable"],
    ["MOVED 3999 127.0.0.1:6381", "unavailable"],
    ["TRYAGAIN Multiple keys request during rehashing of slot", "unavailable"],
    ["BUSY Redis is busy running a script.", "unavailable"],
    ["NOAUTH Authentication required.", "unavailable"],
    ["NOPERM User kv has no permissions to run the 'hmget' command", "unavailable"],
    ["ERR max number of clients reached", "unavailable"],
    ["ERR Error running script (call to f_1): @user_script:12: -READONLY You can't write", "unavailable"],
    ["MISCONF Errors writing to the AOF file: No space left on device", "storage_full"],
    ["OOM command not allowed when used memory > 'maxmemory'.", "storage_full"],
    ["ERR Error running script (call to f_1): @user_script:12: -OOM command not allowed", "storage_full"],
  ])("takes %j for %s", async (message, code) => {
    const connection = ownConnection(async () => fake().client);
    const error = await connection.run(() => Promise.reject(new Error(message)), true).catch((reason) => reason);
    expect(error).toMatchObject({ code, message: expect.not.stringContaining("unknown") });
  });
});

/** Closes a storage at the end of its block. */
function closing(storage: StorageAdapter): StorageAdapter & AsyncDisposable {
  return Object.assign(storage, { [Symbol.asyncDispose]: async () => storage.close?.() });
}
