import { Miniflare } from "miniflare";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { StorageAdapter, WriteOperation } from "../../src/storage/adapter.ts";
import { type KvNamespaceLike, workersKvStorage } from "../../src/storage/workers-kv.ts";

let miniflare: Miniflare;
let binding: KvNamespaceLike;
let storage: StorageAdapter;
const now = Date.now();

beforeAll(async () => {
  miniflare = new Miniflare({
    modules: true,
    script: "export default { fetch: () => new Response() }",
    compatibilityDate: "2026-01-01",
    kvNamespaces: ["KV_DB"],
    cf: false,
  });
  binding = (await miniflare.getKVNamespace("KV_DB")) as unknown as KvNamespaceLike;
});
beforeEach(async () => {
  for (const { name } of (await binding.list({})).keys) await binding.delete(name);
  storage = workersKvStorage(binding);
});
afterAll(() => miniflare.dispose());

interface Rest {
  metadata?: string;
  expiresAt?: number;
}

function put(key: string, text = "1", { metadata, expiresAt }: Rest = {}): WriteOperation {
  const value = new TextEncoder().encode(text);
  return { kind: "put", key, entry: { value, metadata: metadata ?? null, expiresAt: expiresAt ?? null, version: "v" } };
}

const write = async (...operations: WriteOperation[]) => storage.write(operations, { now, atomic: false });
const read = async (key: string) => {
  const entry = await storage.get(key);
  return entry && { ...entry, value: new TextDecoder().decode(entry.value) };
};
const list = (values: number | null, cursor: string | null = null, prefix = "", limit = 1000) =>
  Promise.resolve(storage.list({ prefix, cursor, limit, valueBytes: values, now }));

/** The binding with some of its methods replaced. */
const withMethods = (methods: Partial<KvNamespaceLike>): KvNamespaceLike => ({
  getWithMetadata: (key, type) => binding.getWithMetadata(key, type),
  put: (key, value, options) => binding.put(key, value, options),
  delete: (key) => binding.delete(key),
  list: (options) => binding.list(options),
  ...methods,
});

describe("at rest", () => {
  test("the key is the key, the value is the value, and the rest is in the metadata", async () => {
    const expiresAt = now + 150_500;
    await write(put("a/b", `{"x":1.0}`, { metadata: `{"m":1}`, expiresAt }));
    const { value, metadata } = await binding.getWithMetadata("a/b", "arrayBuffer");
    expect(new TextDecoder().decode(value ?? undefined)).toBe(`{"x":1.0}`);
    expect(metadata).toEqual(["v", expiresAt, `{"m":1}`, 9]);
    expect((await binding.list({})).keys).toMatchObject([{ name: "a/b", expiration: Math.ceil(expiresAt / 1000) }]);
  });

  test("KV's own expiry is never under a minute, and left out where its 32 bits end", async () => {
    await write(put("short", "1", { expiresAt: now + 1 }), put("long", "1", { expiresAt: 2_147_483_648_000 }));
    const [long, short] = (await binding.list({})).keys as { name: string; expiration?: number }[];
    expect(short?.expiration).toBe(Math.floor(now / 1000) + 120);
    expect(long).not.toHaveProperty("expiration");
    expect(await read("long")).toMatchObject({ expiresAt: 2_147_483_648_000 });
    expect((await list(null)).entries.map(({ key }) => key)).toEqual(["long", "short"]);
  });

  test("metadata of 900 bytes fits in any script", async () => {
    const metadata = `"${"漢".repeat(299)}x"`;
    await write(put("k", "1", { metadata, expiresAt: 8_640_000_000_000_000 }));
    expect(await read("k")).toMatchObject({ metadata });
  });

  test("of several writes to one key only the last is sent", async () => {
    const sent: string[] = [];
    const counting = workersKvStorage(
      withMethods({
        put: async (key) => void sent.push(`put ${key}`),
        delete: async (key) => void sent.push(`delete ${key}`),
      }),
    );
    const operations = [put("a"), put("b"), { kind: "delete" as const, key: "a" }, put("b", "2")];
    expect(await counting.write(operations, { now, atomic: false })).toEqual([
      "written",
      "written",
      "deleted",
      "written",
    ]);
    expect(sent).toEqual(["delete a", "put b"]);
  });
});

describe("what is refused", () => {
  test("metadata over KV's 1,024 bytes with its escapes, before anything is sent", () => {
    const metadata = JSON.stringify('"'.repeat(300));
    const issues = [{ path: "metadata", message: expect.stringContaining("at most 1024 bytes") }];
    expect(() => storage.check?.(put("k", "1", { metadata }))).toThrow(
      expect.objectContaining({ code: "too_large", issues }),
    );
    expect(() => storage.check?.(put("k", "1", { metadata: JSON.stringify('"'.repeat(200)) }))).not.toThrow();
  });

  test("the one key of 512 bytes that has no room for its escape", async () => {
    expect(() => storage.check?.(put(`.${"\0".repeat(511)}`))).toThrow(
      expect.objectContaining({ code: "too_large", issues: [expect.objectContaining({ path: "key" })] }),
    );
    expect(await write(put(`.${"\0".repeat(510)}`))).toEqual(["written"]);
  });

  test("429 and 5xx of KV are unavailable with their cause, other errors stay themselves", async () => {
    for (const message of ["KV PUT failed: 429 Too Many Requests", "KV PUT failed: 503 Service Unavailable"]) {
      const cause = new Error(message);
      const failing = workersKvStorage(withMethods({ put: () => Promise.reject(cause) }));
      await expect(failing.write([put("a")], { now, atomic: false })).rejects.toMatchObject({
        code: "unavailable",
        cause,
      });
    }
    const fault = new Error("KV GET failed: 400 Bad Request");
    const failing = workersKvStorage(withMethods({ getWithMetadata: () => Promise.reject(fault) }));
    await expect(failing.get("a")).rejects.toBe(fault);
  });

  test("after a failure no more is sent", async () => {
    let sent = 0;
    const put503 = () => Promise.reject(new Error(`KV PUT failed: 503 ${++sent}`));
    const failing = workersKvStorage(withMethods({ put: put503 }));
    const operations = Array.from({ length: 50 }, (_, index) => put(`k${index}`));
    await expect(failing.write(operations, { now, atomic: false })).rejects.toMatchObject({ code: "unavailable" });
    expect(sent).toBeLessThanOrEqual(6);
  });
});

describe("what others wrote", () => {
  const foreign = (text: string, metadata?: unknown) =>
    binding.put("k", new TextEncoder().encode(text), metadata === undefined ? ({} as never) : { metadata });

  test("is JSON where it is JSON, and a string otherwise", async () => {
    for (const [text, value] of [
      [`{"x":1.0}`, `{"x":1.0}`],
      [` 1 \n`, "1"],
      ["hello", `"hello"`],
      [`1}, "x": {`, `"1}, \\"x\\": {"`],
      ["", `""`],
    ] as const) {
      await foreign(text);
      expect(await read("k")).toMatchObject({ value, metadata: null, expiresAt: null });
      expect(new TextDecoder().decode((await list(1)).entries[0]?.value ?? undefined)).toBe(value);
    }
  });

  test("has a version that changes with the value", async () => {
    await foreign("1");
    const first = await read("k");
    expect(first?.version).toMatch(/^[0-9a-f]{18}$/);
    expect(await read("k")).toEqual(first);
    await foreign("2");
    expect((await read("k"))?.version).not.toBe(first?.version);
  });

  test("with metadata of another form is read without it, and is listed", async () => {
    for (const metadata of ["text", { a: 1 }, ["v"], ["v", "soon", null, 1], [1, null, null, 1], ["v", null, 5, 1]]) {
      await foreign("1", metadata);
      expect(await read("k")).toMatchObject({ value: "1", metadata: null, expiresAt: null });
      expect((await list(null)).entries).toMatchObject([{ key: "k", metadata: null, expiresAt: null, version: "0" }]);
    }
  });
});

describe("pages with values", () => {
  const keysOf = ({ entries }: { entries: { key: string }[] }) => entries.map(({ key }) => key).join("");

  test("read the values that they return and no others", async () => {
    await write(...[..."abcdefgh"].map((key) => put(key, `"${"x".repeat(8)}"`)));
    const asked: string[] = [];
    storage = workersKvStorage(
      withMethods({
        getWithMetadata: (key, type) => {
          asked.push(key);
          return binding.getWithMetadata(key, type);
        },
      }),
    );
    expect(keysOf(await list(25))).toBe("abc");
    expect(asked.join("")).toBe("abc");
  });

  test("go on after their last key, whatever came and went before it", async () => {
    await write(...[..."bdfhjl"].map((key) => put(key)));
    const first = await list(3);
    expect(keysOf(first)).toBe("bdf");
    await write({ kind: "delete", key: "b" }, { kind: "delete", key: "f" }, put("a"), put("c"), put("e"), put("g"));
    const second = await list(3, first.cursor);
    expect(keysOf(second)).toBe("ghj");
    const third = await list(3, second.cursor);
    expect([keysOf(third), third.cursor]).toEqual(["l", null]);
  });

  test("go on over KV's own pages, and end", async () => {
    const keys = Array.from({ length: 9 }, (_, index) => `${index}`);
    await write(...keys.map((key) => put(key)));
    for (const limit of [1, 2, 4, 9, 10]) {
      for (const valueBytes of [1, 2, 3, 100]) {
        const seen: string[] = [];
        let cursor: string | null = null;
        do {
          const page: Awaited<ReturnType<typeof list>> = await list(valueBytes, cursor, "", limit);
          expect(page.entries.length).toBeLessThanOrEqual(Math.min(limit, valueBytes));
          seen.push(...page.entries.map(({ key }) => key));
          cursor = page.cursor;
        } while (cursor !== null);
        expect(seen).toEqual(keys);
      }
    }
  });
});
