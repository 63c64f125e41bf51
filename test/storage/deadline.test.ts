import { describe, expect, it, vi } from "vitest";
import type { StorageAdapter } from "../../src/storage/adapter.ts";
import { memoryStorage } from "../../src/storage/memory.ts";
import { migrateFirst } from "../../src/storage/migrate-first.ts";
import { KEY, startService } from "../support.ts";

const auth = { Authorization: `Bearer ${KEY}` };

/** Memory that does not answer until it is let go. */
function stuck() {
  const memory = memoryStorage();
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const later = async <T>(call: () => T): Promise<T> => released.then(call);
  const storage: StorageAdapter = {
    ...memory,
    get: (key) => later(() => memory.get(key)) as never,
    getMany: (keys, bytes) => later(() => memory.getMany?.(keys, bytes)) as never,
    write: (operations, options) => later(() => memory.write(operations, options)) as never,
    list: (query) => later(() => memory.list(query)) as never,
  };
  return { storage, release };
}

describe("an engine that does not answer", () => {
  it("gets limits.storageTimeout, then the caller 503, and of a write that its outcome is unknown", async () => {
    const { storage, release } = stuck();
    await using service = await startService({
      runtime: { storage: { ...storage, ping: () => {} } },
      limits: { storageTimeout: 0.3 },
    });
    const put = { op: "put", key: "k", value: 1 };
    const began = performance.now();
    const answers = await Promise.all([
      service.call("GET", "/v1/kv/k"),
      service.call("GET", "/v1/kv"),
      service.call("POST", "/v1/kv", { body: { operations: [{ op: "get", key: "k" }] } }),
      service.call("PUT", "/v1/kv/k", { body: { value: 1 } }),
      service.call("DELETE", "/v1/kv/k"),
      service.call("POST", "/v1/kv", { body: { operations: [put, put], atomic: true } }),
      service.call("POST", "/v1/kv", { body: { operations: [put] } }),
    ]);
    expect(performance.now() - began).toBeLessThan(2000);
    const unknown = "The storage did not answer in 0.3 s; the outcome of the write is unknown";
    const [get, list, gets, write, remove, atomic, puts] = answers.map(({ status, json, headers }) => {
      const first = Array.isArray(json.data) ? json.data[0] : json;
      return [status, first.error, first.detail, headers.get("Retry-After")];
    });
    expect(get).toEqual([503, "unavailable", "The storage did not answer in 0.3 s", "1"]);
    expect(list).toEqual(get);
    expect(gets?.slice(0, 3)).toEqual([200, "unavailable", "The storage did not answer in 0.3 s"]);
    expect([write, remove, atomic]).toEqual(Array(3).fill([503, "unavailable", unknown, "1"]));
    expect(puts?.slice(0, 3)).toEqual([200, "unavailable", unknown]);
    release();
  });

  it("says so at /ready long before the storage is given up", async () => {
    const { storage, release } = stuck();
    const adapter = { ...storage, ping: () => {} };
    await using service = await startService({ runtime: { storage: adapter } });
    const { ping: _, ...silent } = adapter;
    Object.assign(adapter, silent, { ping: () => new Promise(() => {}) });
    const began = performance.now();
    expect((await service.call("GET", "/ready")).status).toBe(503);
    expect(performance.now() - began).toBeLessThan(3000);
    release();
  });

  it("has a minute to make its tables when the service starts", async () => {
    const memory = memoryStorage();
    const migrate = () => new Promise<string[]>((resolve) => setTimeout(resolve, 1500, ["0001"]));
    await using service = await startService({ runtime: { storage: migrateFirst({ ...memory, migrate }) } });
    expect((await service.call("GET", "/ready")).status).toBe(200);
  });

  it("is asked no more than 1,000 things at once, the rest is refused at once", { timeout: 60_000 }, async () => {
    const { storage, release } = stuck();
    await using service = await startService({
      runtime: { storage: { ...storage, ping: () => {} } },
      limits: { storageTimeout: 20 },
    });
    const waiting = Array.from({ length: 1000 }, () => service.app.request("/v1/kv/k", { headers: auth }));
    const refused = await service.call("GET", "/v1/kv/k");
    expect([refused.status, refused.json.detail]).toEqual([503, "The storage is overloaded"]);
    // Those that never end, as on Workers, are forgotten after a minute.
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 61_000 });
    const patient = service.app.request("/v1/kv/k", { headers: auth });
    expect(await Promise.race([patient, new Promise((resolve) => setTimeout(resolve, 50, "waits"))])).toBe("waits");
    vi.useRealTimers();
    release();
    expect(new Set((await Promise.all(waiting)).map(({ status }) => status))).toEqual(new Set([404]));
    expect((await service.call("GET", "/v1/kv/k")).status).toBe(404);
  });
});

describe("migrateFirst", () => {
  it("migrates once before the first answers, and again where that failed", async () => {
    const memory = memoryStorage();
    const order: string[] = [];
    let fails = true;
    const adapter = migrateFirst({
      ...memory,
      async migrate() {
        order.push("migrate");
        await new Promise((resolve) => setTimeout(resolve, 5));
        if (fails) throw new Error("away");
        return ["0001"];
      },
      get(key) {
        order.push(`get ${key}`);
        return memory.get(key);
      },
    });
    const failed = await Promise.allSettled([adapter.get("a"), adapter.list({ ...QUERY }), adapter.sweep?.(0, 1)]);
    expect(failed.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    fails = false;
    await Promise.all([adapter.get("b"), adapter.get("c")]);
    adapter.get("d");
    expect(order).toEqual(["migrate", "migrate", "get b", "get c", "get d"]);
  });
});

const QUERY = { prefix: "", cursor: null, limit: 1, valueBytes: null, now: 0 };
