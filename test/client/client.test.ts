import { createServer } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createKvClient, type KvClientOptions } from "../../src/client/client.ts";
import { memoryStorage } from "../../src/storage/memory.ts";
import { sqliteStorage } from "../../src/storage/sqlite.ts";
import { storageConformance } from "../../src/testing/conformance.ts";
import { KEY, startService, type TestService } from "../support.ts";
import { serviceSubject } from "./subject.ts";

let service: TestService;

beforeEach(async () => {
  service = await startService();
});
afterEach(() => service[Symbol.asyncDispose]());

const clientOf = (options: Partial<KvClientOptions> = {}) =>
  createKvClient({ url: service.url, apiKey: KEY, ...options });

describe("the client", () => {
  it("gets what was put, with what stands beside it, and null where there is none", async () => {
    const client = clientOf({ url: `${service.url}/` });
    const { etag } = await client.put("a/b", { on: true }, { metadata: ["m"], expiration: 4_000_000_000.5 });
    expect(await client.get<{ on: boolean }>("a/b")).toEqual({
      value: { on: true },
      metadata: ["m"],
      expiration: 4_000_000_000.5,
      etag,
    });
    expect(await client.get("absent")).toBeNull();
    await client.put("null", null);
    expect(await client.get("null")).toMatchObject({ value: null, metadata: undefined, expiration: undefined });
    expect(await client.delete("a/b")).toBe(true);
    expect(await client.delete("a/b")).toBe(false);
  });

  it("walks every key under a prefix, page by page", async () => {
    const client = clientOf();
    const keys = Array.from({ length: 25 }, (_, index) => `p/${String(index).padStart(2, "0")}`);
    await client.batch(["other", ...keys].map((key) => ({ op: "put", key, value: key })));
    const seen: [string, unknown][] = [];
    for await (const { name, value } of client.list({ prefix: "p/", pageSize: 10 })) seen.push([name, value]);
    expect(seen).toEqual(keys.map((key) => [key, undefined]));
    const values: unknown[] = [];
    for await (const { value } of client.list<string>({ prefix: "p/", values: true })) values.push(value);
    expect(values).toEqual(keys);
  });

  it("states conditions, and rejects with the code of the table", async () => {
    const client = clientOf();
    const { etag } = await client.put("a", 1, { ifNoneMatch: "*" });
    await expect(client.put("a", 2, { ifNoneMatch: "*" })).rejects.toMatchObject({
      name: "KvError",
      code: "precondition_failed",
      status: 412,
    });
    await client.put("a", 2, { ifMatch: etag });
    await expect(client.delete("a", { ifMatch: etag })).rejects.toMatchObject({ code: "precondition_failed" });
    await expect(client.put("a", 1, { ttl: -1 })).rejects.toMatchObject({
      code: "invalid_request",
      issues: [{ path: "ttl" }],
    });
    await expect(clientOf({ apiKey: "wrong" }).get("a")).rejects.toMatchObject({ code: "unauthorized" });
    for (const key of ["", "\ud800"]) await expect(client.get(key)).rejects.toMatchObject({ code: "invalid_key" });
  });

  it("refuses times that JSON cannot carry: the value would stay for good", async () => {
    const client = clientOf();
    for (const options of [{ ttl: Number.NaN }, { ttl: Infinity }, { expiration: -Infinity }]) {
      const refused = { code: "invalid_request" };
      await expect(client.put("a", 1, options)).rejects.toMatchObject(refused);
      await expect(client.batch([{ op: "put", key: "a", value: 1, ...options }])).rejects.toMatchObject(refused);
    }
    expect(await client.get("a")).toBeNull();
    await client.put("a", 1);
    const atomic = client.batch([{ op: "put", key: "a", value: 2, ifNoneMatch: "*" }], { atomic: true });
    await expect(atomic).rejects.toMatchObject({ code: "precondition_failed", failed: [0] });
  });

  it("gathers the gets of one tick into one request where asked", async () => {
    const paths: string[] = [];
    const client = clientOf({
      gatherGets: true,
      fetch: (input, init) => {
        paths.push(`${init?.method} ${String(input).slice(service.url.length)}`);
        return fetch(input, init);
      },
    });
    await client.batch([
      { op: "put", key: "a", value: 1, metadata: "m" },
      { op: "put", key: "b", value: null },
    ]);
    const entries = await Promise.all([client.get("a"), client.get("absent"), client.get("b"), client.get("a")]);
    expect(entries.map((entry) => entry && [entry.value, entry.metadata])).toEqual([
      [1, "m"],
      null,
      [null, undefined],
      [1, "m"],
    ]);
    expect(paths).toEqual(["POST /v1/kv", "POST /v1/kv"]);
    const mixed = await Promise.allSettled([client.get("a"), client.get(""), client.get("x".repeat(513))]);
    expect(mixed).toMatchObject([
      { value: { value: 1 } },
      { reason: { code: "invalid_key" } },
      { reason: { code: "too_large" } },
    ]);
    const wrong = clientOf({ gatherGets: true, apiKey: "wrong" });
    await expect(wrong.get("a")).rejects.toMatchObject({ code: "unauthorized" });
  });

  it("says unavailable where nothing answers, and takes no foreign 404 for a missing key", async () => {
    await expect(clientOf({ url: "http://127.0.0.1:1" }).get("a")).rejects.toMatchObject({ code: "unavailable" });
    const foreign = createServer((_request, response) => response.writeHead(404).end("<html>")).listen(0, "127.0.0.1");
    await new Promise((resolve) => foreign.once("listening", resolve));
    const { port } = foreign.address() as { port: number };
    await expect(clientOf({ url: `http://127.0.0.1:${port}` }).get("a")).rejects.toMatchObject({
      code: "no_such_route",
    });
    foreign.close();
  });
});

for (const [engine, make] of Object.entries({
  memory: memoryStorage,
  sqlite: () => sqliteStorage({ path: ":memory:" }),
})) {
  describe(`the conformance suite over client, HTTP, service and ${engine}`, () => {
    const { capabilities } = memoryStorage();

    for (const { name, skip, run } of storageConformance({ large: false })) {
      if (skip?.(capabilities)) continue;
      it(name, async () => {
        const clock = { now: Date.now() };
        await using own = await startService({ runtime: { storage: make(), now: () => clock.now } });
        await run(serviceSubject(own, capabilities, clock));
      });
    }
  });
}
