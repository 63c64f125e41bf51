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

  /** A cache over memory that counts what it is asked for. */
  function counted(maxBytes: number, entry: (key: string) => StoredEntry = () => entryOf("1")) {
    const clock = { now: NOW };
    const asked: string[] = [];
    const engine: StorageAdapter = {
      ...memoryStorage(),
      get(key) {
        asked.push(key);
        return entry(key);
      },
    };
    return { clock, asked, cache: cached(engine, { maxBytes, maxAge: 60, now: () => clock.now }) };
  }

  it("counts value, key and metadata, and 250 bytes besides", async () => {
    // 1 + (1 + 10) * 2 + 250
    const entry = () => ({ ...entryOf("1"), metadata: '"12345678"' });
    const tight = counted(272, entry);
    for (let turn = 0; turn < 2; turn++) await tight.cache.get("k");
    expect(tight.asked).toEqual(["k", "k"]);
    const alone = counted(273, entry);
    for (let turn = 0; turn < 2; turn++) await alone.cache.get("k");
    expect(alone.asked).toEqual(["k"]);
    const exact = counted(2 * 273, entry);
    for (const key of ["k", "l", "k", "l"]) await exact.cache.get(key);
    expect(exact.asked).toEqual(["k", "l"]);
    await exact.cache.get("m");
    for (const key of ["l", "m", "k"]) await exact.cache.get(key);
    expect(exact.asked).toEqual(["k", "l", "m", "k"]);
  });

  it("lets what is too large alone push out nothing", async () => {
    const { cache, asked } = counted(1000, (key) => entryOf(key === "large" ? "x".repeat(1000) : "1"));
    for (const key of ["k", "large", "k"]) await cache.get(key);
    expect(asked).toEqual(["k", "large"]);
  });

  it("counts an entry that is read anew once", async () => {
    const { cache, asked, clock } = counted(2 * 253);
    for (let turn = 0; turn < 5; turn++) {
      await cache.get("k");
      clock.now += 60_000;
    }
    for (const key of ["k", "l", "k", "l"]) await cache.get(key);
    expect(asked.slice(5)).toEqual(["k", "l"]);
  });

  it("keeps bytes of its own of a part of a buffer, and a whole one as it is", async () => {
    const buffer = new TextEncoder().encode("xxx1xxx");
    const whole = entryOf("1");
    const { cache } = counted(1000, (key) => (key === "part" ? { ...whole, value: buffer.subarray(3, 4) } : whole));
    for (const key of ["part", "whole"]) await cache.get(key);
    const part = (await cache.get("part")) as StoredEntry;
    expect([shown(part), part.value.buffer.byteLength]).toEqual(["1", 1]);
    expect(await cache.get("whole")).toBe(whole);
  });

  it("asks the engine until the last of several writes is answered, and then keeps what it reads", async () => {
    const { adapter, asked, answer } = remote();
    const cache = cached(adapter, { maxBytes: 10_000, maxAge: 60, now: () => NOW });
    const writes = ["1", "2"].map((text) => cache.write([put("k", entryOf(text))], { now: NOW, atomic: false }));
    await answer(0);
    await writes[0];
    for (let turn = 0; turn < 2; turn++) {
      const read = cache.get("k");
      await answer(1);
      expect(shown(await read)).toBe("2");
    }
    await answer(0);
    await writes[1];
    asked.length = 0;
    const last = cache.get("k");
    await answer(0);
    await last;
    expect(shown(await cache.get("k"))).toBe("2");
    expect(asked).toEqual(["get k"]);
  });

  it("is not emptied by the reads of a batch", async () => {
    const { cache, asked } = counted(1000);
    await cache.get("k");
    await cache.write([{ kind: "get", key: "k" }, put("l", entryOf("1"))], { now: NOW, atomic: true });
    await cache.get("k");
    await cache.get("l");
    expect(asked).toEqual(["k", "l"]);
  });

  it("passes reads of many and pings on, or reads one by one where there are none", async () => {
    const memory = memoryStorage();
    memory.write([put("k", entryOf("1"))], { now: NOW, atomic: false });
    const { getMany: _, ...plain } = memory;
    const asked: string[] = [];
    const options = { maxBytes: 1000, maxAge: 60, now: () => NOW };
    const get: StorageAdapter["get"] = (key) => {
      asked.push(key);
      return memory.get(key);
    };
    const cache = cached({ ...plain, get }, options);
    expect(await cache.getMany?.(["k", "none"], 10)).toEqual([entryOf("1"), null]);
    await cache.ping?.();
    expect(asked).toEqual(["k", "none", "ready"]);
    const ping = async () => void asked.push("ping");
    await cached({ ...memory, get, ping }, options).ping?.();
    expect(asked).toEqual(["k", "none", "ready", "ping"]);
    expect((await cached(memory, options).getMany?.(["k"], 0))?.[0]?.value).toBeNull();
  });

  it.each([
    [0, 1],
    [1, 0],
    [-1, 1],
    [1, Number.NaN],
  ])("of %d bytes and %d s is refused", (maxBytes, maxAge) => {
    expect(() => cached(memoryStorage(), { maxBytes, maxAge, now: () => NOW })).toThrow(TypeError);
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
