import { inspect } from "node:util";
import { Redis } from "@upstash/redis";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StorageAdapter, WriteOperation } from "../../src/storage/adapter.ts";
import { redisStorage } from "../../src/storage/redis.ts";
import { upstashStorage } from "../../src/storage/upstash.ts";
import { storedEntry } from "../../src/testing/subject.ts";
import { KEY, request } from "../support.ts";
import { freshNamespace, testEngine } from "./engine.ts";
import { missing, startUpstash, type Upstash } from "./upstash-server.ts";

testEngine({ name: "upstash", missing, start: startUpstash });

const NOW = Date.now();
let versions = 0;
function put(key: string, text: string): WriteOperation {
  return { kind: "put", key, entry: storedEntry(text, { version: `v${versions++}` }) };
}
const write = (storage: StorageAdapter, ...operations: WriteOperation[]) =>
  Promise.resolve(storage.write(operations, { now: NOW, atomic: false }));
const failure = (promise: unknown) =>
  Promise.resolve(promise).then(
    () => null,
    (error: Error) => error,
  );

describe.skipIf(missing !== null)("upstash itself", () => {
  let upstash: Upstash;
  beforeAll(async () => {
    upstash = await startUpstash();
  });
  afterAll(() => upstash?.[Symbol.asyncDispose]());

  async function commandsOf(step: () => unknown): Promise<string[]> {
    upstash.commands.length = 0;
    await step();
    return [...upstash.commands];
  }

  it("shares its layout with redisStorage", async () => {
    const namespace = freshNamespace();
    const [storage, redis] = [upstash.open(namespace), redisStorage({ url: upstash.redis.url, namespace })];
    await write(storage, put("\uFEFFk", `{ "__proto__" : 1.0, "a" : null, "a" : "\\u0000é\u{1F600}" }`));
    const [one, other] = [await storage.get("\uFEFFk"), await redis.get("\uFEFFk")];
    expect(one).toEqual(other && plain(other));
    const page = { prefix: "", cursor: null, limit: 9, valueBytes: 999, now: NOW };
    const [a, b] = [await storage.list(page), await redis.list(page)];
    expect(a.entries.map(({ key }) => key)).toEqual(["\uFEFFk"]);
    expect(a).toEqual({ ...b, entries: b.entries.map(plain) });
    await redis.close?.();
  });

  it("takes one request for each call, and few for many large values", async () => {
    const storage = upstash.open(freshNamespace());
    await write(storage, put("k", "1"));
    const keys = Array.from({ length: 1000 }, (_, index) => `k${index}`);
    const query = { prefix: "", cursor: null, limit: 1000, valueBytes: null, now: NOW };
    await Promise.all([storage.getMany?.(keys, 9), storage.list(query), storage.sweep?.(NOW, 9)]);
    expect(await commandsOf(() => storage.get("k"))).toEqual(["HMGET"]);
    expect(await commandsOf(() => write(storage, ...keys.map((key) => put(key, "1"))))).toEqual(["EVALSHA"]);
    expect(await commandsOf(() => storage.getMany?.(keys, 9999))).toEqual(["EVALSHA"]);
    expect(await commandsOf(() => storage.list(query))).toEqual(["EVALSHA"]);
    expect(await commandsOf(() => storage.sweep?.(NOW, 9))).toEqual(["EVALSHA"]);
    const large = keys.map((key) => put(key, `"${"x".repeat(8000)}"`));
    expect(await commandsOf(() => write(storage, ...large))).toEqual(Array(4).fill("EVALSHA"));
    const reading = () => storage.getMany?.(keys, 1e9);
    expect((await reading())?.filter((entry) => entry?.value?.length === 8002)).toHaveLength(1000);
    expect((await commandsOf(reading)).length).toBeLessThan(12);
    expect((await commandsOf(() => storage.list({ ...query, valueBytes: 1e9 }))).length).toBeLessThan(3);
    await upstash.redis.admin("SCRIPT", "FLUSH");
    expect(await commandsOf(() => write(storage, put("k", "2")))).toEqual(["EVALSHA", "EVAL"]);
  });

  it("takes values that double in JSON up to its limit, and says so of what is over that of the plan", async () => {
    const storage = upstash.open(freshNamespace());
    const { maxValue, maxKey, atomic } = storage.capabilities;
    const quotes = `"${'\\"'.repeat((maxValue - 2) / 2)}"`;
    await write(storage, put("k".repeat(maxKey), quotes));
    expect((await storage.get("k".repeat(maxKey)))?.value?.length).toBe(quotes.length);
    const bytes = atomic === false ? 0 : atomic.bytes;
    const key = "k".repeat(500);
    const many = Array.from({ length: 1000 }, (_, index) =>
      put(`${key}${index}`, `"${'\\"'.repeat(Math.floor(bytes / 2000) - 1)}"`),
    );
    await storage.write(many, { now: NOW, atomic: true });
    const generous = upstashStorage({ url: upstash.url, token: upstash.secret, maxRequest: 100_000_000 });
    const error = await failure(write(generous, put("k", `"${"x".repeat(20_000_000)}"`)));
    expect(error).toMatchObject({ code: "too_large" });
    expect(inspect(error, { depth: null }).length, "what is logged of it").toBeLessThan(2000);
  });

  it("sends a write once: what it does not know it tells", async () => {
    const storage = upstash.open(freshNamespace());
    await write(storage, put("k", "1"));
    upstash.pause();
    const writing = failure(write(storage, { ...put("new", "1"), condition: { ifNoneMatch: "*" } }));
    await new Promise((resolve) => setTimeout(resolve, 100));
    await upstash.cut();
    upstash.resume();
    const message = "The database cannot be used at the moment; the outcome of the write is unknown";
    expect(await writing).toMatchObject({ code: "unavailable", message });
    await upstash.kill();
    const refused = await failure(write(storage, put("k", "2")));
    expect(refused).toMatchObject({ code: "unavailable", message: "The database cannot be used at the moment" });
    await upstash.start();
    expect(await write(storage, put("k", "2"))).toEqual(["written"]);
  });

  it.each([
    [400, `{"error":"ERR DB capacity quota exceeded"}`, "storage_full"],
    [400, `{"error":"ERR max requests limit exceeded. Limit: 500000, Usage: 500000"}`, "unavailable"],
    [400, `{"error":"ERR max daily request limit exceeded"}`, "unavailable"],
    [400, `{"error":"ERR max single record size exceeded"}`, "too_large"],
    [401, `{"error":"Unauthorized"}`, "unavailable"],
    [429, `{"error":"Too Many Requests"}`, "unavailable"],
    [502, "<html>Bad gateway</html>", "unavailable"],
    [200, "<html>Hello</html>", "unavailable"],
  ])("takes %i %s for %s", async (status, body, code) => {
    const storage = upstash.open(freshNamespace());
    await storage.get("k");
    upstash.answerNext(status, body);
    const error = await failure(write(storage, put("k", `"a value that nobody should log"`)));
    expect(error).toMatchObject({ code });
    expect(inspect(error, { depth: null })).not.toContain("nobody should log");
    expect(inspect(error, { depth: null })).not.toContain(upstash.secret);
  });

  describe("from a Worker, as the example has it", () => {
    let script: string;
    beforeAll(async () => {
      const bundle = await build({
        entryPoints: ["examples/upstash/worker.ts"],
        bundle: true,
        format: "esm",
        conditions: ["workertown-source", "workerd", "worker", "browser"],
        alias: { "@workertown/kv": "./src/index.ts", "@workertown/kv/storage/upstash": "./src/storage/upstash.ts" },
        write: false,
      });
      script = bundle.outputFiles[0]?.text ?? "";
    });

    async function withWorker(step: (url: string) => Promise<void>): Promise<void> {
      const bindings = { UPSTASH_REDIS_REST_URL: upstash.url, UPSTASH_REDIS_REST_TOKEN: upstash.secret };
      const miniflare = new Miniflare({
        modules: true,
        script,
        compatibilityDate: "2026-07-01",
        bindings: { KV_API_KEY: KEY, ...bindings },
        cf: false,
      });
      try {
        await step(String(await miniflare.ready));
      } finally {
        await miniflare.dispose();
      }
    }

    it("serves", () =>
      withWorker(async (url) => {
        const create = { body: { value: [1.5] }, headers: { "If-None-Match": "*" } };
        expect(await request(`${url}v1/kv/worker`, "PUT", create)).toMatchObject({ status: 200 });
        const answers = await Promise.all([1, 2, 3, 4].map(() => request(`${url}v1/kv/worker`, "GET")));
        expect(answers.map(({ json }) => json.data)).toEqual([[1.5], [1.5], [1.5], [1.5]]);
        expect((await request(`${url}v1/kv`, "GET")).text).toContain(`"name":"worker"`);
        expect(await request(`${url}v1/kv/worker`, "PUT", create)).toMatchObject({ status: 412 });
      }));

    it("goes on after a first request that had no answer in time", () =>
      withWorker(async (url) => {
        upstash.pause();
        expect((await fetch(`${url}ready`)).status).toBe(503);
        // What the request still waited for is cancelled a moment after it was answered.
        await new Promise((resolve) => setTimeout(resolve, 1300));
        upstash.resume();
        expect(await request(`${url}v1/kv/never`, "GET")).toMatchObject({ status: 404 });
      }));
  });

  it("takes a client that leaves text as it is, and no other", async () => {
    const given = (rest: object) =>
      new Redis({ url: upstash.url, token: upstash.secret, retry: { retries: 0 }, enableTelemetry: false, ...rest });
    const sound = { automaticDeserialization: false, responseEncoding: false };
    const storage = upstashStorage({ client: given(sound), namespace: freshNamespace() });
    await write(storage, put("\uFEFF", "1"));
    expect(
      (await storage.list({ prefix: "", cursor: null, limit: 1, valueBytes: null, now: NOW })).entries,
    ).toHaveLength(1);
    for (const rest of [{}, { automaticDeserialization: false }, { responseEncoding: false }]) {
      const other = upstashStorage({ client: given(rest), namespace: freshNamespace() });
      expect(await failure(other.get("k"))).toEqual(
        new TypeError("client: Expected one that answers text as it is stored"),
      );
    }
  });
});

describe("the options of upstashStorage", () => {
  const [url, token] = ["https://a.upstash.io", "secret"];
  const client = { exec: async () => null };
  it.each<[Parameters<typeof upstashStorage>[0], RegExp]>([
    [{}, /^url: /],
    [{ url: "a.upstash.io", token }, /^url: /],
    [{ url: "redis://a.upstash.io", token }, /^url: /],
    [{ url }, /^token: /],
    [{ url, token: "" }, /^token: /],
    [{ url, token: "sec\nret" }, /^token: /],
    [{ url, token, client }, /^url: Expected either/],
    [{ url, token, namespace: "" }, /^namespace: /],
    [{ url, token, maxRequest: 1000 }, /^maxRequest: .*got 1000$/],
  ])("%j is refused without quoting it", (options, message) => {
    let error: unknown;
    try {
      upstashStorage(options);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).toMatch(message);
    expect(inspect(error)).not.toContain(`Expected ${token}`);
  });

  it("is eventually consistent unless it is told that there are no read regions", () => {
    expect(upstashStorage({ url, token }).capabilities.consistency).toBe("eventual");
    expect(upstashStorage({ url, token, consistency: "strong" }).capabilities.consistency).toBe("strong");
  });
});

/** An entry whose value is of no subclass of `Uint8Array`. */
function plain<T extends { value: Uint8Array | null }>(entry: T): T {
  return { ...entry, value: entry.value && new Uint8Array(entry.value) };
}
