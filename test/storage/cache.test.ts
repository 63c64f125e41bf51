import { describe, expect, it } from "vitest";
import type { StorageAdapter, StoredEntry, WriteOutcome } from "../../src/storage/adapter.ts";
import { cached } from "../../src/storage/cache.ts";
import { memoryStorage } from "../../src/storage/memory.ts";
import { adapterSubject, storageConformance } from "../../src/testing/conformance.ts";
import { startService } from "../support.ts";

const NOW = 1_000_000;

function entryOf(text: string, version = "v1"): StoredEntry {
  return { value: new TextEncoder().encode(text), metadata: null, expiresAt: null, version };
}

const put = (key: string, entry: StoredEntry) => ({ kind: "put" as const, key, entry });
const shown = (entry: StoredEntry | null) => entry && new TextDecoder().decode(entry.value);

/** An engine elsewhere: each answer waits until it is let go. */
function remote() {
  const memory = memoryStorage();
  const waiting: (() => void)[] = [];
  const asked: string[] = [];
  /** What is read or written is so when the call arrives; the answer comes later. */
  const later = <T>(what: string, call: () => T | Promise<T>): Promise<T> => {
    asked.push(what);
    const answer = (async () => call())();
    return new Promise((resolve, reject) => {
      waiting.push(() => void answer.then(resolve, reject));
    });
  };
  const adapter: StorageAdapter = {
    ...memory,
    get: (key) => later(`get ${key}`, () => memory.get(key)),
    write: (operations, options) =>
      later(`write ${operations.map(({ key }) => key)}`, () => memory.write(operations, options)),
  };
  const answer = async (index = 0) => {
    waiting.splice(index, 1)[0]?.();
    await new Promise((resolve) => setImmediate(resolve));
  };
  const store = (key: string, entry: StoredEntry) => memory.write([put(key, entry)], { now: NOW, atomic: false });
  return { adapter, asked, answer, store };
}

describe("the cache", () => {
  it("passes the conformance suite", async () => {
    for (const { run, skip } of storageConformance({ large: false })) {
      if (skip?.(memoryStorage().capabilities)) continue;
      const clock = { now: Date.now() };
      const options = { maxBytes: 1_000_000, maxAge: 3600, now: () => clock.now };
      await run(adapterSubject(cached(memoryStorage(), options), clock));
    }
  });

  it("asks once for a key, however many wait, and then answers from memory for maxAge", async () => {
    const { adapter, asked, answer, store } = remote();
    const clock = { now: NOW };
    const cache = cached(adapter, { maxBytes: 10_000, maxAge: 2, now: () => clock.now });
    store("k", entryOf("1"));
    const reads = Promise.all([cache.get("k"), cache.get("k"), cache.get("k")]);
    await answer();
    expect((await reads).map(shown)).toEqual(["1", "1", "1"]);
    store("k", entryOf("2"));
    clock.now += 1999;
    expect(shown(await cache.get("k"))).toBe("1");
    clock.now += 1;
    const late = cache.get("k");
    await answer();
    expect(shown(await late)).toBe("2");
    expect(asked).toEqual(["get k", "get k"]);
  });

  it("counts the age from when the read began, and keeps no absence", async () => {
    const { adapter, asked, answer, store } = remote();
    const clock = { now: NOW };
    const cache = cached(adapter, { maxBytes: 10_000, maxAge: 2, now: () => clock.now });
    const absent = cache.get("k");
    await answer();
    expect(await absent).toBeNull();
    store("k", entryOf("1"));
    const slow = cache.get("k");
    clock.now += 2000;
    await answer();
    expect(shown(await slow)).toBe("1");
    void cache.get("k");
    expect(asked).toEqual(["get k", "get k", "get k"]);
  });

  it("begins anew where a read does not end", async () => {
    const { adapter, asked, answer, store } = remote();
    const clock = { now: NOW };
    const cache = cached(adapter, { maxBytes: 10_000, maxAge: 60, now: () => clock.now });
    store("k", entryOf("1"));
    void cache.get("k");
    clock.now += 1000;
    const second = cache.get("k");
    await answer(1);
    expect(shown(await second)).toBe("1");
    expect(asked).toEqual(["get k", "get k"]);
  });

  it("serves a key with a write in flight from the engine, and shows the write once it is answered", async () => {
    const { adapter, asked, answer } = remote();
    const cache = cached(adapter, { maxBytes: 10_000, maxAge: 60, now: () => NOW });
    const first = cache.write([put("k", entryOf("1"))], { now: NOW, atomic: false });
    await answer();
    await first;
    const fill = cache.get("k");
    await answer();
    await fill;
    // In the cache: now a write begins, and ends before a read that began before it.
    const write = cache.write([put("k", entryOf("2"))], { now: NOW, atomic: false });
    const during = cache.get("k");
    expect(asked.slice(2)).toEqual(["write k", "get k"]);
    await answer();
    await write;
    await answer();
    expect(shown(await during)).toBe("2");
    const after = cache.get("k");
    await answer();
    expect(shown(await after)).toBe("2");
    expect(asked.slice(4)).toEqual(["get k"]);
  });

  it("does not keep what a read saw before a write", async () => {
    const { adapter, asked, answer, store } = remote();
    const cache = cached(adapter, { maxBytes: 10_000, maxAge: 60, now: () => NOW });
    store("k", entryOf("old"));
    const old = cache.get("k");
    const write = cache.write([put("k", entryOf("new"))], { now: NOW, atomic: false });
    await answer(1);
    await write;
    const fresh = cache.get("k");
    await answer(0);
    expect(shown(await old)).toBe("old");
    await answer(0);
    expect(shown(await fresh)).toBe("new");
    expect(shown(await cache.get("k"))).toBe("new");
    expect(asked).toEqual(["get k", "write k", "get k"]);
  });

  it("forgets a key whose write failed, since it may have happened", async () => {
    const { adapter, answer, store } = remote();
    let fails = false;
    const failing: StorageAdapter = {
      ...adapter,
      async write(operations, options): Promise<WriteOutcome[]> {
        const outcomes = await adapter.write(operations, options);
        if (fails) throw new Error("The connection was lost");
        return outcomes;
      },
    };
    const cache = cached(failing, { maxBytes: 10_000, maxAge: 60, now: () => NOW });
    store("k", entryOf("1"));
    const fill = cache.get("k");
    await answer();
    await fill;
    fails = true;
    const write = expect(cache.write([put("k", entryOf("2"))], { now: NOW, atomic: false })).rejects.toThrow("lost");
    await answer();
    await write;
    const after = cache.get("k");
    await answer();
    expect(shown(await after)).toBe("2");
  });

  it("holds at most maxBytes, the least recently used go first, and a failed read is not joined again", async () => {
    const memory = memoryStorage();
    let asked = 0;
    const adapter: StorageAdapter = {
      ...memory,
      get(key) {
        asked += 1;
        if (key === "bad") throw new Error("No");
        return memory.get(key);
      },
    };
    const cache = cached(adapter, { maxBytes: 3 * 1300, maxAge: 60, now: () => NOW });
    for (const key of "abcd")
      await cache.write([put(key, entryOf(`"${"x".repeat(998)}"`))], { now: NOW, atomic: false });
    for (const key of ["a", "b", "c", "a", "d", "a", "c"]) await cache.get(key);
    expect(asked).toBe(4);
    await cache.get("b");
    expect(asked).toBe(5);
    await cache.write([put("large", entryOf(`"${"x".repeat(5000)}"`))], { now: NOW, atomic: false });
    await cache.get("large");
    await cache.get("large");
    expect(asked).toBe(7);
    await expect(cache.get("bad")).rejects.toThrow("No");
    await expect(cache.get("bad")).rejects.toThrow("No");
    expect(asked).toBe(9);
  });

  it("is switched on by the runtime, and refuses what cannot be", async () => {
    const memory = memoryStorage();
    let asked = 0;
    const storage: StorageAdapter = {
      ...memory,
      get(key) {
        asked += 1;
        return memory.get(key);
      },
    };
    await using service = await startService({ runtime: { storage, cache: { maxBytes: 1_000_000, maxAge: 5 } } });
    await service.call("PUT", "/v1/kv/k", { body: { value: 1 } });
    asked = 0;
    for (let turn = 0; turn < 5; turn++) expect((await service.call("GET", "/v1/kv/k")).json.data).toBe(1);
    expect(asked).toBe(1);
    await service.call("PUT", "/v1/kv/k", { body: { value: 2 } });
    expect((await service.call("GET", "/v1/kv/k")).json.data).toBe(2);
    // The engine itself is asked, not the cache.
    const before = asked;
    expect((await service.call("GET", "/ready")).status).toBe(200);
    expect(asked).toBe(before + 1);
    await expect(startService({ runtime: { storage, cache: { maxBytes: 0, maxAge: 5 } } })).rejects.toThrow(
      "runtime.cache: expected { maxBytes, maxAge } greater than 0",
    );
  });
});
