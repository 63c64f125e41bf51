import { createCluster } from "redis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StorageAdapter } from "../../src/storage/adapter.ts";
import { redisStorage } from "../../src/storage/redis.ts";
import { storedEntry } from "../../src/testing/subject.ts";
import { until } from "../runtimes.ts";
import { freshNamespace, testEngine } from "./engine.ts";
import { missing, type Redis, type RedisNode, startNode, startRedisCluster } from "./redis-server.ts";

testEngine({
  http: false,
  name: "redis cluster",
  missing,
  start: startRedisCluster,
});

describe.skipIf(missing !== null)("a redis cluster itself", () => {
  let redis: Redis;
  beforeAll(async () => {
    redis = await startRedisCluster();
  });
  afterAll(() => redis?.[Symbol.asyncDispose]());

  const write = (storage: StorageAdapter, key: string, version: string) =>
    Promise.resolve(
      storage.write([{ kind: "put", key, entry: storedEntry("1", { version }) }], { now: Date.now(), atomic: false }),
    );
  const slotOf = async (namespace: string) => Number(await redis.admin("CLUSTER", "KEYSLOT", `{${namespace}}`));

  /** A namespace whose slot a node has. */
  async function namespaceOn(index: number): Promise<string> {
    for (;;) {
      const namespace = freshNamespace();
      if (Math.floor((await slotOf(namespace)) / 5462) === index) return namespace;
    }
  }

  it("has the whole of a namespace on one node", async () => {
    const namespace = await namespaceOn(2);
    const storage = redis.open(namespace);
    for (const key of ["a", "{b}", "c"]) await write(storage, key, "1");
    const keys = await Promise.all(redis.nodes.map((node) => node.admin("KEYS", `workertown_kv:{${namespace}}:*`)));
    expect(keys.map((found) => (found as string[]).length)).toEqual([0, 0, 5]);
    await storage.close?.();
  });

  it("takes a client of the caller's", async () => {
    const { port } = redis.nodes[0] as RedisNode;
    const client = createCluster({
      rootNodes: [{ socket: { host: "127.0.0.1", port } }],
      defaults: { username: "kv", password: redis.secret },
    });
    const storage = redisStorage({ client, namespace: freshNamespace() });
    await write(storage, "k", "1");
    expect((await storage.get("k"))?.version).toBe("1");
    await storage.close?.();
    expect(client.isOpen).toBe(true);
    client.destroy();
  });

  it("follows a slot that moves to another node, and is right or unavailable meanwhile", async () => {
    const namespace = await namespaceOn(0);
    const slot = `${await slotOf(namespace)}`;
    const [source, , target] = redis.nodes as [RedisNode, RedisNode, RedisNode];
    const storage = redis.open(namespace);
    const written = new Map<string, string>();
    let turn = 0;
    let moving = true;
    const load = (async () => {
      while (moving) {
        const [key, version] = [`k${turn % 20}`, `v${turn++}`];
        const error = await write(storage, key, version).then(
          () => void written.set(key, version),
          (reason) => reason,
        );
        if (error !== undefined) expect(error).toMatchObject({ code: "unavailable" });
      }
    })();
    await until(async () => written.size === 20);
    const [from, to] = [String(await source.admin("CLUSTER", "MYID")), String(await target.admin("CLUSTER", "MYID"))];
    await target.admin("CLUSTER", "SETSLOT", slot, "IMPORTING", from);
    await source.admin("CLUSTER", "SETSLOT", slot, "MIGRATING", to);
    for (;;) {
      const keys = (await source.admin("CLUSTER", "GETKEYSINSLOT", slot, "3")) as string[];
      if (keys.length === 0) break;
      await source.admin("MIGRATE", "127.0.0.1", `${target.port}`, "", "0", "5000", "KEYS", ...keys);
    }
    for (const node of [target, source]) await node.admin("CLUSTER", "SETSLOT", slot, "NODE", to);
    const before = turn;
    await until(async () => turn > before + 100);
    moving = false;
    await load;
    for (const [key, version] of written) expect((await storage.get(key))?.version).toBe(version);
    const page = await storage.list({ prefix: "", cursor: null, limit: 99, valueBytes: null, now: Date.now() });
    expect(page.entries).toHaveLength(20);
    await storage.close?.();
  });

  it("goes on where nodes are up, and has the replica of one that is gone in its place", async () => {
    const [there, gone] = await Promise.all([namespaceOn(1), namespaceOn(0)]);
    const [node, other] = redis.nodes as [RedisNode, RedisNode];
    await using replica = await startNode(redis.secret, { cluster: true });
    await other.admin("CLUSTER", "MEET", "127.0.0.1", `${replica.port}`, `${replica.bus}`);
    const id = String(await node.admin("CLUSTER", "MYID"));
    await until(async () => String(await replica.admin("CLUSTER", "NODES")).includes(id));
    await until(async () => (await replica.admin("CLUSTER", "REPLICATE", id).catch(() => null)) !== null);
    // Any node of it will do, also the one that goes.
    const url = `redis+cluster://kv:${redis.secret}@127.0.0.1:${node.port}`;
    const storages = [there, gone].map((namespace) => redisStorage({ url, namespace }));
    for (const storage of storages) await write(storage, "k", "1");
    await until(async () => /master_link_status:up/.test(String(await replica.admin("INFO", "replication"))));
    await node.kill();
    const began = performance.now();
    const [up, down] = storages as [StorageAdapter, StorageAdapter];
    expect((await up.get("k"))?.version).toBe("1");
    await expect(write(down, "k", "2")).rejects.toMatchObject({ code: "unavailable" });
    expect(performance.now() - began, "milliseconds for both").toBeLessThan(1000);
    await until(async () =>
      write(down, "k", "3").then(
        () => true,
        () => false,
      ),
    );
    expect((await down.get("k"))?.version).toBe("3");
    await Promise.all(storages.map((storage) => storage.close?.()));
  });
});
