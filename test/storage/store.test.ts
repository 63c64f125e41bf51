/** The store over memory, called directly: what it checks, what it asks of the engine, and what it makes of the answer. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { KvError } from "../../src/core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../../src/core/limits.ts";
import type { StorageAdapter, StorageCapabilities, StoredEntry } from "../../src/storage/adapter.ts";
import { memoryStorage } from "../../src/storage/memory.ts";
import { type BatchOperation, createStore, type NewEntry } from "../../src/storage/store.ts";

afterEach(() => void vi.useRealTimers());

const NOW = 1_700_000_000_000;
const bytesOf = (text: string) => new TextEncoder().encode(text);
const textOf = (entry: { value: Uint8Array | null } | null) => entry?.value && new TextDecoder().decode(entry.value);
const entryOf = (text: string, rest: Partial<NewEntry> = {}): NewEntry => ({
  value: bytesOf(text),
  metadata: null,
  ...rest,
});
const put = (key: string, text = "1", rest: Partial<NewEntry> = {}) => ({
  kind: "put" as const,
  key,
  entry: entryOf(text, rest),
});
const code = (code: string, rest: object = {}) => expect.objectContaining({ code, ...rest });

interface Given {
  limits?: Partial<Limits>;
  capabilities?: Partial<StorageCapabilities>;
  adapter?: Partial<StorageAdapter>;
  timeout?: number;
}

/** A store over memory, of which a test may change what it needs; `asked` are the calls that reached it. */
function start({ limits = {}, capabilities = {}, adapter = {}, timeout = 5 }: Given = {}) {
  const memory = memoryStorage();
  const clock = { now: NOW };
  const asked: unknown[][] = [];
  const engine: StorageAdapter = {
    ...memory,
    capabilities: { ...memory.capabilities, ...capabilities },
    ...adapter,
  };
  for (const name of ["get", "getMany", "write", "list"] as const) {
    const call = engine[name]?.bind(engine) as ((...given: unknown[]) => unknown) | undefined;
    if (call === undefined) continue;
    Object.assign(engine, {
      [name]: (...given: unknown[]) => {
        asked.push([name, ...given]);
        return call(...given);
      },
    });
  }
  let version = 0;
  const store = createStore(engine, {
    limits: { ...DEFAULT_LIMITS, ...limits },
    now: () => clock.now,
    version: () => `v${++version}`,
    timeout,
  });
  return { store, memory, clock, asked };
}

describe("limits", () => {
  it("are the service's, or the engine's where those are lower", () => {
    expect(start().store.limits).toEqual(DEFAULT_LIMITS);
    const { store } = start({ capabilities: { maxKey: 10, maxValue: 20, maxMetadata: 30 } });
    expect(store.limits).toEqual({ ...DEFAULT_LIMITS, key: 10, value: 20, metadata: 30 });
    const own = { key: 5, value: 6, metadata: 7, depth: 8, batch: 9 };
    const lower = start({ limits: own, capabilities: { maxKey: 10, maxValue: 20, maxMetadata: 30 } });
    expect(lower.store.limits).toEqual({ ...DEFAULT_LIMITS, ...own });
  });

  it("hold to the byte, and what is over is refused before the engine is asked", async () => {
    const { store, asked } = start({ limits: { key: 4, value: 5, metadata: 4 } });
    await store.put("abcd", entryOf("12345", { metadata: '"é"' }));
    asked.length = 0;
    const message = "Expected a value of at most 5 bytes of JSON text, got 6";
    const tooLarge = (path: string, message: unknown) => code("too_large", { message, issues: [{ path, message }] });
    await expect(store.put("a", entryOf("123456"))).rejects.toEqual(tooLarge("value", message));
    await expect(store.put("a", entryOf("1", { metadata: '"éa"' }))).rejects.toEqual(
      tooLarge("metadata", "Expected a metadata of at most 4 bytes of JSON text, got 5"),
    );
    await expect(store.put("abcde", entryOf("1"))).rejects.toEqual(code("too_large"));
    await expect(store.delete("abcde")).rejects.toEqual(code("too_large"));
    expect(() => store.get("abcde")).toThrow(code("too_large"));
    expect(() => store.get("")).toThrow(code("invalid_key"));
    await expect(store.list({ prefix: "abcde", limit: 1, cursor: null, values: false })).rejects.toEqual(
      code("invalid_request", {
        issues: [
          { path: "prefix", message: expect.stringMatching(/^Expected a prefix that a key can have: Expected a/) },
        ],
      }),
    );
    expect(() => store.walk("abcde")).toThrow(code("invalid_request"));
    expect(asked).toEqual([]);
  });
});

describe("one entry", () => {
  it("is as it was written, with the version of that write, until it expires", async () => {
    const { store, clock } = start();
    const written = await store.put("k", entryOf("1", { metadata: "{}", ttl: 2 }));
    expect(written).toEqual({ value: bytesOf("1"), metadata: "{}", expiresAt: NOW + 2000, version: "v1" });
    expect(await store.get("k")).toEqual(written);
    clock.now += 1999;
    expect(await store.get("k")).toEqual(written);
    clock.now += 1;
    expect(await store.get("k")).toBeNull();
    expect(await store.delete("k")).toBe(false);
    expect(await store.get("none")).toBeNull();
  });

  it("is answered without waiting where the engine need not wait, and else as a promise", async () => {
    const { store, memory } = start();
    await store.put("k", entryOf("1"));
    expect(store.get("k")).not.toBeInstanceOf(Promise);
    const { store: slow } = start({ adapter: { get: async (key) => memory.get(key) } });
    expect(slow.get("k")).toBeInstanceOf(Promise);
    expect(textOf(await slow.get("k"))).toBe("1");
    expect(await slow.get("none")).toBeNull();
  });

  it("is deleted once", async () => {
    const { store, asked } = start();
    await store.put("k", entryOf("1"));
    expect([await store.delete("k"), await store.delete("k")]).toEqual([true, false]);
    expect(asked.at(-1)).toEqual(["write", [{ kind: "delete", key: "k" }], { now: NOW, atomic: false }]);
    const { store: blind } = start({ capabilities: { reportsDelete: false } });
    expect(await blind.delete("none")).toBe(true);
  });

  it("is written and deleted only where its condition holds", async () => {
    const { store } = start();
    await store.put("k", entryOf("1"), { ifNoneMatch: "*" });
    const refused = code("precondition_failed");
    await expect(store.put("k", entryOf("2"), { ifNoneMatch: "*" })).rejects.toEqual(refused);
    await expect(store.delete("k", { ifMatch: ["v9"] })).rejects.toEqual(refused);
    expect(textOf(await store.get("k"))).toBe("1");
    expect(await store.delete("k", { ifMatch: ["v1"] })).toBe(true);
  });

  it("has a version of 72 random bits", async () => {
    const memory = memoryStorage();
    const store = createStore(memory, { limits: DEFAULT_LIMITS, now: () => NOW, timeout: 5 });
    const versions = new Set<string>();
    for (let index = 0; index < 250; index++) {
      const { version } = await store.put("k", entryOf("1"));
      expect(version).toMatch(/^[\w-]{12}$/);
      versions.add(version);
    }
    expect(versions.size).toBe(250);
  });
});

describe("an engine without conditions", () => {
  const { store, asked } = start({ capabilities: { conditional: false } });

  it("refuses each conditional write, alone and in a batch, and does nothing", async () => {
    const refused = code("unsupported", {
      message: 'The storage engine "memory" cannot do that: its capability "conditional" is false',
    });
    const condition = { ifNoneMatch: "*" } as const;
    await expect(store.put("k", entryOf("1"), condition)).rejects.toEqual(refused);
    await expect(store.delete("k", condition)).rejects.toEqual(refused);
    await expect(
      store.batch(
        [
          { ...put(""), condition: undefined },
          { ...put("k"), condition },
        ],
        { atomic: false },
      ),
    ).rejects.toEqual(refused);
    expect(asked).toEqual([]);
  });

  it("takes what has none, and a read with one", async () => {
    await store.put("k", entryOf("1"));
    const results = await store.batch([{ kind: "get", key: "k", condition: { ifMatch: "*" } }], { atomic: false });
    expect(results).toMatchObject([{ kind: "entry" }]);
  });
});

describe("a batch", () => {
  const get = (key: string): BatchOperation => ({ kind: "get", key });
  const remove = (key: string): BatchOperation => ({ kind: "delete", key });

  it("answers each operation in its order, and asks for neighbours of a kind together", async () => {
    const { store, asked } = start();
    const results = await store.batch(
      [put("a", "1"), put("b", "2"), get("a"), get("none"), remove("a"), remove("a"), get("a"), put("c")],
      { atomic: false },
    );
    expect(results.map(({ kind }) => kind)).toEqual([
      ...["written", "written", "entry", "failed", "deleted", "deleted", "failed", "written"],
    ]);
    expect(results[2]).toMatchObject({ kind: "entry", entry: { version: "v1", value: bytesOf("1") } });
    expect(results[3]).toMatchObject({ error: { code: "not_found", message: 'No value under key "none"' } });
    expect([results[4], results[5]]).toEqual([
      { kind: "deleted", existed: true },
      { kind: "deleted", existed: false },
    ]);
    expect(asked.map(([name, given]) => [name, (given as unknown[]).length])).toEqual([
      ["write", 2],
      ["getMany", 2],
      ["write", 2],
      ["getMany", 1],
      ["write", 1],
    ]);
    expect(asked[0]?.[2]).toEqual({ now: NOW, atomic: false });
    expect(asked[1]).toEqual(["getMany", ["a", "none"], 104_857_600]);
  });

  it("of nothing asks nothing", async () => {
    const { store, asked } = start();
    expect(await store.batch([], { atomic: false })).toEqual([]);
    expect(await store.batch([], { atomic: true })).toEqual([]);
    expect(asked).toEqual([]);
  });

  it("reads under conditions, each for itself", async () => {
    const { store, clock } = start();
    await store.put("a", entryOf("1"));
    await store.put("old", entryOf("1", { ttl: 1 }));
    clock.now += 1000;
    const results = await store.batch(
      [
        { kind: "get", key: "a", condition: { ifNoneMatch: ["v1"] } },
        { kind: "get", key: "a", condition: { ifMatch: ["v9"] } },
        get("old"),
        { ...put("a"), condition: { ifMatch: ["v9"] } },
        put("b"),
      ],
      { atomic: false },
    );
    expect(results).toMatchObject([
      { kind: "unchanged", entry: { version: "v1" } },
      { kind: "failed", error: { code: "precondition_failed" } },
      { kind: "failed", error: { code: "not_found" } },
      { kind: "failed", error: { code: "precondition_failed" } },
      { kind: "written" },
    ]);
  });

  it("has a budget for the values of its answer, of which each read takes its part", async () => {
    const { store, asked } = start();
    await store.put("a", entryOf("12345"));
    asked.length = 0;
    await store.batch([get("a"), get("a"), put("b"), get("none"), put("b"), get("a")], { atomic: false });
    const budgets = asked.filter(([name]) => name === "getMany").map((call) => call[2]);
    expect(budgets).toEqual([104_857_600, 104_857_590, 104_857_590]);
    const { store: full } = start({
      adapter: { getMany: () => [{ value: null, metadata: null, expiresAt: null, version: "v1" }] },
    });
    expect(await full.batch([get("a"), put("b"), get("a")], { atomic: false })).toMatchObject([
      { kind: "failed", error: { code: "too_large" } },
      { kind: "written" },
      { kind: "failed", error: { code: "too_large" } },
    ]);
  });

  it("reads one by one where the engine has no better", async () => {
    const memory = memoryStorage();
    const { getMany: _, ...engine } = memory;
    const store = createStore(engine, { limits: DEFAULT_LIMITS, now: () => NOW, timeout: 5 });
    await store.put("a", entryOf("1"));
    expect(await store.batch([get("a"), get("none")], { atomic: false })).toMatchObject([
      { kind: "entry", entry: { value: bytesOf("1") } },
      { kind: "failed", error: { code: "not_found" } },
    ]);
  });

  it("that the engine fails in the middle says so of each operation that it concerns", async () => {
    let calls = 0;
    const memory = memoryStorage();
    const { store } = start({
      adapter: {
        write(operations, options) {
          if (++calls === 2) throw new KvError("unavailable", "No");
          return memory.write(operations, options);
        },
      },
    });
    const results = await store.batch([put("a"), get("a"), put("b"), remove("a"), get("none")], { atomic: false });
    expect(results.map((result) => (result.kind === "failed" ? result.error.code : result.kind))).toEqual([
      ...["written", "not_found", "unavailable", "unavailable", "not_found"],
    ]);
    const { store: broken } = start({ adapter: { write: () => Promise.reject(new TypeError("A fault of ours")) } });
    await expect(broken.batch([put("a")], { atomic: false })).rejects.toThrow("A fault of ours");
  });

  it("in which operations can be seen to be wrong does nothing and names each", async () => {
    const { store, asked } = start({ limits: { value: 3 } });
    const wrong = [put("a"), put(""), put("b", "1", { ttl: 0 }), put("c", "12345"), get("\ud800")];
    await expect(store.batch(wrong, { atomic: false })).rejects.toEqual(
      code("invalid_key", {
        issues: [
          { path: "operations.1.key", message: expect.stringMatching(/^Expected a key of at least/) },
          { path: "operations.2.ttl", message: expect.stringMatching(/^Expected a number of seconds/) },
          { path: "operations.3.value", message: expect.stringMatching(/^Expected a value of at most 3/) },
          { path: "operations.4.key", message: expect.stringMatching(/^Expected a key without/) },
        ],
      }),
    );
    expect(asked).toEqual([]);
  });

  it("may be refused by the engine, which checks each write", async () => {
    const check = vi.fn(({ key }: { key: string }) => {
      if (key === "b") throw new KvError("too_large", "Too much for one item");
    });
    const { store } = start({ adapter: { check } });
    await expect(store.batch([put("a"), put("b")], { atomic: true })).rejects.toEqual(
      code("too_large", { issues: [{ path: "operations.1.key", message: "Too much for one item" }] }),
    );
    expect(check.mock.calls.map(([{ key }]) => key)).toEqual(["a", "b"]);
    const fault = new TypeError("A fault of ours");
    const broken = start({
      adapter: {
        check() {
          throw fault;
        },
      },
    });
    await expect(broken.store.batch([put("a")], { atomic: false })).rejects.toBe(fault);
  });
});

describe("an atomic batch", () => {
  it("is one call of the engine, which is told the time and how much it may answer", async () => {
    const { store, asked } = start();
    const results = await store.batch([put("a", "12"), { kind: "get", key: "a" }, { kind: "delete", key: "a" }], {
      atomic: true,
    });
    expect(results).toMatchObject([
      { kind: "written", entry: { version: "v1" } },
      { kind: "entry", entry: { version: "v1" } },
      { kind: "deleted", existed: true },
    ]);
    expect(asked).toHaveLength(1);
    expect(asked[0]?.[2]).toEqual({ now: NOW, atomic: true, valueBytes: 104_857_600 });
  });

  it("is refused whole where conditions do not hold, and names those", async () => {
    const { store } = start();
    await store.put("a", entryOf("1"));
    const operations: BatchOperation[] = [
      put("b"),
      { ...put("a"), condition: { ifNoneMatch: "*" } },
      { kind: "get", key: "a", condition: { ifMatch: ["v9"] } },
      { kind: "delete", key: "a", condition: { ifMatch: ["v9"] } },
    ];
    await expect(store.batch(operations, { atomic: true })).rejects.toEqual(
      code("precondition_failed", { failed: [1, 2, 3] }),
    );
    expect(await store.get("b")).toBeNull();
    expect(textOf(await store.get("a"))).toBe("1");
  });

  it("is not refused by an If-None-Match of a read, which is an answer", async () => {
    const { store } = start();
    await store.put("a", entryOf("1"));
    const results = await store.batch(
      [
        put("b"),
        { kind: "get", key: "a", condition: { ifNoneMatch: ["v1"] } },
        { kind: "get", key: "a", condition: { ifMatch: ["v1"], ifNoneMatch: "*" } },
        { kind: "get", key: "none", condition: { ifNoneMatch: "*" } },
      ],
      { atomic: true },
    );
    expect(results).toMatchObject([
      { kind: "written" },
      { kind: "unchanged" },
      { kind: "unchanged" },
      { kind: "failed", error: { code: "not_found" } },
    ]);
  });

  it("is unsupported over what the engine can do, and not below", async () => {
    const { store, asked } = start({ capabilities: { atomic: { operations: 2, bytes: 4 } } });
    await store.batch([put("a", "12"), put("b", "34")], { atomic: true });
    await store.batch([put("a", "1234"), { kind: "delete", key: "b" }], { atomic: true });
    asked.length = 0;
    const refused = code("unsupported", { message: expect.stringContaining('"atomic" is {"operations":2,"bytes":4}') });
    await expect(store.batch([put("a"), put("b"), put("c")], { atomic: true })).rejects.toEqual(refused);
    await expect(store.batch([put("a", "12"), put("b", "345")], { atomic: true })).rejects.toEqual(refused);
    expect(asked).toEqual([]);
    await store.batch([put("a", "12345"), put("b"), put("c")], { atomic: false });
    const { store: none } = start({ capabilities: { atomic: false } });
    await expect(none.batch([put("a")], { atomic: true })).rejects.toEqual(code("unsupported"));
  });
});

describe("a list", () => {
  const query = { prefix: "", limit: 2, cursor: null, values: false };

  it("goes on from its cursor, which is good for its prefix and engine only", async () => {
    const { store, asked } = start();
    for (const key of ["a1", "a2", "a3", "b"]) await store.put(key, entryOf("1"));
    asked.length = 0;
    const first = await store.list({ ...query, prefix: "a" });
    expect(first.entries.map(({ key, value }) => [key, value])).toEqual([
      ["a1", null],
      ["a2", null],
    ]);
    const second = await store.list({ ...query, prefix: "a", cursor: first.cursor, values: true });
    expect(second.entries.map((entry) => [entry.key, textOf(entry)])).toEqual([["a3", "1"]]);
    expect(second.cursor).toBeNull();
    expect(asked).toEqual([
      ["list", { prefix: "a", limit: 2, cursor: null, valueBytes: null, now: NOW }],
      ["list", { prefix: "a", limit: 2, cursor: "a2", valueBytes: 10_485_760, now: NOW }],
    ]);
    await expect(store.list({ ...query, cursor: first.cursor })).rejects.toEqual(code("invalid_request"));
    const { store: other } = start({ adapter: { engine: "other" } });
    await expect(other.list({ ...query, prefix: "a", cursor: first.cursor })).rejects.toEqual(code("invalid_request"));
  });

  it("leaves out what an engine shows that has expired", async () => {
    const listed = (key: string, expiresAt: number | null) => ({
      key,
      value: null,
      metadata: null,
      expiresAt,
      version: key,
    });
    const { store } = start({
      adapter: { list: async () => ({ entries: [listed("a", NOW), listed("b", NOW + 1)], cursor: null }) },
    });
    expect((await store.list(query)).entries.map(({ key }) => key)).toEqual(["b"]);
  });
});

describe("a walk", () => {
  async function walk(store: ReturnType<typeof start>["store"], prefix = "") {
    const pages: string[][] = [];
    for await (const page of store.walk(prefix)) pages.push(page.map(({ key }) => key));
    return pages;
  }

  it("goes over every entry of a prefix, 50 at a time", async () => {
    const { store, asked } = start();
    const keys = Array.from({ length: 120 }, (_, index) => `k${String(index).padStart(3, "0")}`);
    await store.batch(
      [...keys, "other"].map((key) => put(key)),
      { atomic: false },
    );
    asked.length = 0;
    const pages = await walk(store, "k");
    expect(pages.map(({ length }) => length)).toEqual([50, 50, 20]);
    expect(pages.flat()).toEqual(keys);
    expect(asked[0]).toEqual(["list", { prefix: "k", limit: 50, valueBytes: 1_048_576, cursor: null, now: NOW }]);
    expect(await walk(store, "none")).toEqual([[]]);
  });

  it("leaves out what expires while the engine answers", async () => {
    const memory = memoryStorage();
    const { store, clock } = start({
      adapter: {
        async list(query) {
          const page = await memory.list(query);
          clock.now += 1000;
          return page;
        },
        write: memory.write,
      },
    });
    await store.batch([put("a", "1", { ttl: 1 }), put("b", "1", { ttl: 2 })], { atomic: false });
    expect(await walk(store)).toEqual([["b"]]);
  });

  it("reads from a snapshot where there is one, and closes it however it ends", async () => {
    const close = vi.fn();
    const memory = memoryStorage();
    const { store } = start({ adapter: { snapshot: async () => ({ list: memory.list, close }) } });
    await store.put("not in the snapshot", entryOf("1"));
    expect(await walk(store)).toEqual([[]]);
    expect(close).toHaveBeenCalledTimes(1);
    for await (const _ of store.walk("")) break;
    expect(close).toHaveBeenCalledTimes(2);
    const { store: failing } = start({
      adapter: { snapshot: () => ({ list: () => Promise.reject(new Error("No")), close }) },
    });
    await expect(walk(failing)).rejects.toThrow("No");
    expect(close).toHaveBeenCalledTimes(3);
  });
});

describe("an import", () => {
  it("stores what can be, skips what has expired, and says of each what became of it", async () => {
    const { store, asked } = start({ limits: { value: 3 } });
    const outcomes = await store.load([
      { key: "a", ...entryOf("1", { expiration: null }) },
      { key: "past", ...entryOf("1", { expiration: NOW / 1000 }) },
      { key: "soon", ...entryOf("1", { expiration: NOW / 1000 + 0.001 }) },
      { key: "large", ...entryOf("12345") },
      { key: "", ...entryOf("1", { expiration: 1 }) },
    ]);
    expect(outcomes).toEqual(["imported", "skipped", "imported", code("too_large"), code("invalid_key")]);
    expect(asked).toHaveLength(1);
    expect(asked[0]?.[2]).toEqual({ now: NOW, atomic: false });
    expect(asked[0]?.[1]).toMatchObject([{ key: "a" }, { key: "soon" }]);
    expect((await store.get("soon"))?.expiresAt).toBe(NOW + 1);
  });

  it("of which nothing is left asks nothing", async () => {
    const { store, asked } = start();
    expect(await store.load([{ key: "a", ...entryOf("1", { expiration: 1 }) }])).toEqual(["skipped"]);
    expect(asked).toEqual([]);
  });

  it("throws on what is no fault of an entry", async () => {
    const fault = new TypeError("A fault of ours");
    const { store } = start({
      adapter: {
        check() {
          throw fault;
        },
      },
    });
    await expect(store.load([{ key: "a", ...entryOf("1") }])).rejects.toBe(fault);
  });
});

describe("an engine that does not answer", () => {
  const never = () => new Promise<never>(() => {});
  const stuck = { get: never, getMany: never, write: never, list: never, ping: never };

  it("gets its time, then is unavailable, and of a write the outcome is unknown", async () => {
    vi.useFakeTimers();
    const { store } = start({ adapter: stuck, timeout: 2 });
    const settled: unknown[] = [];
    const calls = [
      store.get("a"),
      store.list({ prefix: "", limit: 1, cursor: null, values: false }),
      store.walk("").next(),
      store.put("a", entryOf("1")),
      store.delete("a"),
      store.load([{ key: "a", ...entryOf("1") }]),
    ] as Promise<unknown>[];
    for (const call of calls) call.catch((error: KvError) => settled.push([error.code, error.message]));
    await vi.advanceTimersByTimeAsync(1999);
    expect(settled).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    const late = "The storage did not answer in 2 s";
    const unknown = `${late}; the outcome of the write is unknown`;
    expect(settled.sort()).toEqual([
      ...Array(3).fill(["unavailable", late]),
      ...Array(3).fill(["unavailable", unknown]),
    ]);
  });

  it("is pinged for 0.8 s, or as long as is said", async () => {
    vi.useFakeTimers();
    const { store } = start({ adapter: stuck });
    const late = (seconds: number) => code("unavailable", { message: `The storage did not answer in ${seconds} s` });
    const pings = [expect(store.ping()).rejects.toEqual(late(0.8)), expect(store.ping(3)).rejects.toEqual(late(3))];
    await vi.advanceTimersByTimeAsync(3000);
    await Promise.all(pings);
  });

  it("is asked no more than 1,000 things at once, of which each is forgotten after a minute", async () => {
    vi.useFakeTimers({ now: NOW });
    const { store, asked } = start({ adapter: stuck, timeout: 100 });
    const overloaded = code("unavailable", { message: "The storage is overloaded" });
    for (let index = 0; index < 1000; index++) (store.get("a") as Promise<unknown>).catch(() => {});
    expect(() => store.get("a")).toThrow(overloaded);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(() => store.get("a")).toThrow(overloaded);
    await vi.advanceTimersByTimeAsync(1);
    (store.get("a") as Promise<unknown>).catch(() => {});
    expect(asked).toHaveLength(1001);
  });

  it("is asked again as soon as it has answered or failed", async () => {
    const waiting: PromiseWithResolvers<StoredEntry | null>[] = [];
    const { store } = start({
      adapter: {
        get() {
          const answer = Promise.withResolvers<StoredEntry | null>();
          waiting.push(answer);
          return answer.promise;
        },
      },
    });
    const calls = Array.from({ length: 1000 }, () => store.get("a") as Promise<unknown>);
    expect(() => store.get("a")).toThrow("overloaded");
    waiting[0]?.resolve(null);
    waiting[1]?.reject(new Error("No"));
    expect(await calls[0]).toBeNull();
    await expect(calls[1]).rejects.toThrow("No");
    for (let turn = 0; turn < 2; turn++) void store.get("a");
    expect(() => store.get("a")).toThrow("overloaded");
  });
});

describe("the engine's own calls", () => {
  it("are passed on where it has them, and cost nothing where it has not", async () => {
    const { store } = start();
    expect([await store.migrate(), await store.ping(), await store.close()]).toEqual([[], undefined, undefined]);
    const [close, ping, migrate] = [vi.fn(), vi.fn(), vi.fn(async () => ["0001"])];
    const { store: other, asked } = start({ adapter: { engine: "other", close, ping, migrate } });
    expect(other.engine).toBe("other");
    expect(await other.migrate()).toEqual(["0001"]);
    await other.ping();
    await other.close();
    expect([ping.mock.calls.length, close.mock.calls.length, asked.length]).toEqual([1, 1, 0]);
  });

  it("a ping reads where there is none", async () => {
    const { store, asked } = start();
    await store.ping();
    expect(asked).toEqual([["get", "ready"]]);
  });
});
