import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StorageAdapter } from "../../src/storage/adapter.ts";
import { shardOf } from "../../src/storage/sharded.ts";
import { storedEntry } from "../../src/testing/subject.ts";
import { freshNamespace, testEngine } from "./engine.ts";
import { missing, type Redis, type RedisNode, startRedisCluster } from "./redis-server.ts";

testEngine({
  http: false,
  name: "redis cluster with 16 shards",
  missing,
  start: () => startRedisCluster({ shards: 16 }),
});

describe("the shard of a key", () => {
  it("is what it always was", () => {
    const keys = ["a", "user/1", "user/2", "é", "\u{1F600}", "k".repeat(512)];
    expect(keys.map((key) => shardOf(key, 16))).toEqual([12, 2, 15, 1, 8, 5]);
    // FNV-1a as published: http://www.isthe.com/chongo/tech/comp/fnv/
    expect(["", "a", "foobar"].map((key) => shardOf(key, 2 ** 32))).toEqual([0x811c9dc5, 0xe40c292c, 0xbf9cf968]);
  });
});

describe.skipIf(missing !== null)("shards themselves", () => {
  const NOW = Date.now();
  let redis: Redis;
  beforeAll(async () => {
    redis = await startRedisCluster({ shards: 16 });
  });
  afterAll(() => redis?.[Symbol.asyncDispose]());

  const put = (key: string, text: string, expiresAt: number | null = null) => ({
    kind: "put" as const,
    key,
    entry: storedEntry(text, { version: "v", expiresAt }),
  });
  const write = (storage: StorageAdapter, ...operations: ReturnType<typeof put>[]) =>
    Promise.resolve(storage.write(operations, { now: NOW, atomic: false }));

  async function walk(storage: StorageAdapter, limit: number, valueBytes: number | null) {
    const pages: string[][] = [];
    let cursor: string | null = null;
    do {
      const page = await storage.list({ prefix: "", cursor, limit, valueBytes, now: NOW });
      pages.push(page.entries.map(({ key }) => key));
      cursor = page.cursor;
    } while (cursor !== null);
    return pages;
  }

  it("spreads a namespace over all nodes, and names their number", async () => {
    const namespace = freshNamespace();
    const storage = redis.open(namespace);
    const keys = Array.from({ length: 500 }, (_, index) => `k${String(index).padStart(3, "0")}`);
    await write(storage, ...keys.map((key) => put(key, "1")));
    const counts = await Promise.all(
      redis.nodes.map(async (node) => ((await node.admin("KEYS", `*{${namespace}:*}:entry:*`)) as string[]).length),
    );
    expect(Math.min(...counts)).toBeGreaterThan(50);
    expect(counts.reduce((sum, count) => sum + count)).toBe(500);
    const schema = await Promise.all(
      redis.nodes.map((node) =>
        node.admin("HGETALL", `workertown_kv:{${namespace}}:schema`).catch((error: Error) => error.message.slice(0, 5)),
      ),
    );
    expect(schema.filter((found) => found !== "MOVED")).toEqual([["version", "1", "shards", "16"]]);
    for (const limit of [7, 500, 1000]) {
      const pages = await walk(storage, limit, null);
      expect(pages.flat()).toEqual(keys);
      expect(pages).toHaveLength(Math.ceil(500 / limit));
    }
    await storage.close?.();
  });

  it("reads values within their bytes, over all shards together", async () => {
    const storage = redis.open(freshNamespace());
    const keys = Array.from({ length: 60 }, (_, index) => `k${String(index).padStart(2, "0")}`);
    await write(storage, ...keys.map((key, index) => put(key, `"${"x".repeat(index * 10)}"`)));
    for (const valueBytes of [0, 100, 5000, 1e9]) {
      const found = (await storage.getMany?.(keys, valueBytes)) ?? [];
      const left = found.reduce((rest, entry) => rest - (entry?.value?.length ?? 0), valueBytes);
      expect(left).toBeGreaterThanOrEqual(0);
      for (const [index, entry] of found.entries())
        if (entry?.value === null) expect(index * 10 + 2).toBeGreaterThan(left);
    }
    for (const valueBytes of [1, 700, 4000]) {
      const pages = await walk(storage, 50, valueBytes);
      expect(pages.flat()).toEqual(keys);
      const sizes = pages.map((page) => page.slice(0, -1).reduce((sum, key) => sum + Number(key.slice(1)) * 10 + 2, 0));
      expect(Math.max(...sizes)).toBeLessThan(valueBytes);
    }
    await storage.close?.();
  });

  it("keeps the order where the shards do not look equally far", async () => {
    const storage = redis.open(freshNamespace());
    const names = Array.from({ length: 50_000 }, (_, index) => `a${String(index).padStart(5, "0")}`);
    // All of these are in one shard, which has to look at them in vain before it finds its last.
    const [last = "", ...expired] = names.filter((key) => shardOf(key, 16) === 0).toReversed();
    const others = ["b", "c", "d", "e", "f", "g"].filter((key) => shardOf(key, 16) !== 0);
    await write(storage, ...expired.map((key) => put(key, "1", NOW)), ...[last, ...others].map((key) => put(key, "1")));
    expect(expired.length).toBeGreaterThan(2500);
    const pages = await walk(storage, 3, null);
    expect(pages.flat()).toEqual([last, ...others]);
    expect(pages.length).toBeGreaterThan(3);
    expect(await storage.sweep?.(NOW, 1000)).toBe(1000);
    await storage.close?.();
  });

  it("tells of a write that a part of it may have happened", async () => {
    const storage = redis.open(freshNamespace());
    const all = Array.from({ length: 100 }, (_, index) => put(`k${index}`, "1"));
    await write(storage, ...all);
    await (redis.nodes[0] as RedisNode).admin("CONFIG", "SET", "maxmemory", "1");
    try {
      const error = await write(storage, ...all).catch((reason) => reason);
      const message = "The database is full; the outcome of the write is unknown";
      expect(error).toMatchObject({ code: "storage_full", message });
    } finally {
      await (redis.nodes[0] as RedisNode).admin("CONFIG", "SET", "maxmemory", "0");
    }
    expect(await write(storage, ...all)).toEqual(Array(100).fill("written"));
    await storage.close?.();
  });
});
