import { inspect } from "node:util";
import { neon } from "@neondatabase/serverless";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { StorageAdapter, WriteOperation } from "../../src/storage/adapter.ts";
import { type NeonSqlLike, neonStorage } from "../../src/storage/neon.ts";
import { postgresStorage } from "../../src/storage/postgres.ts";
import { freshNamespace, testEngine } from "./engine.ts";
import { missing, type Neon, startNeon } from "./neon-server.ts";

testEngine({ name: "neon", missing, start: startNeon });

const encoder = new TextEncoder();
const now = 1_800_000_000_000;
let versions = 0;
const put = (key: string, text = "1"): WriteOperation => ({
  kind: "put",
  key,
  entry: { value: encoder.encode(text), metadata: null, expiresAt: null, version: `v${versions++}` },
});
const create = (key: string): WriteOperation => ({ ...put(key), condition: { ifNoneMatch: "*" } });
const remove = (key: string): WriteOperation => ({ kind: "delete", key });
const keysTo = (count: number, prefix = "k") => Array.from({ length: count }, (_, index) => `${prefix}${index}`);
const textOf = async (adapter: StorageAdapter, key: string) => {
  const found = await adapter.get(key);
  return found && new TextDecoder().decode(found.value);
};

describe("neon: options", () => {
  it.each([
    [{}, "url"],
    [{ url: "postgres://u:hidden@h/d", sql: {} as NeonSqlLike }, "url"],
    [{ url: "https://u:hidden@h/d" }, "url"],
    [{ url: "postgres://u:hidden@h" }, "url"],
    [{ url: "postgres://u:hidden@h:port/d" }, "url"],
    [{ url: "postgres://h/d" }, "url"],
    [{ url: "postgres://u:hidden@h/d", namespace: "" }, "namespace"],
  ])("%o is refused by its path, without what may be secret", (options, path) => {
    const error = (() => {
      try {
        neonStorage(options);
      } catch (thrown) {
        return thrown;
      }
    })();
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).toMatch(new RegExp(`^${path}: Expected `));
    expect(inspect(error)).not.toContain("hidden");
  });
});

describe.skipIf(missing !== null)("neon: over HTTP", () => {
  let server: Neon;
  beforeAll(async () => {
    server = await startNeon();
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  it("each call takes as few requests as it can", async () => {
    const adapter = server.open(freshNamespace());
    await adapter.get("k");
    using _random = vi.spyOn(Math, "random").mockReturnValue(0.5);
    const count = async (call: unknown) => {
      const before = server.requests();
      await call;
      return server.requests() - before;
    };
    const write = (...operations: WriteOperation[]) => adapter.write(operations, { now, atomic: false });
    const atomic = (...operations: WriteOperation[]) =>
      adapter.write(operations, { now, atomic: true, valueBytes: 1000 });
    expect(await count(write(put("k")))).toBe(1);
    expect(await count(write(create("new")))).toBe(1);
    expect(await count(write(remove("new")))).toBe(1);
    expect(await count(adapter.get("k"))).toBe(1);
    expect(await count(adapter.getMany?.(keysTo(1000), 1_000_000))).toBe(1);
    expect(await count(write(...keysTo(1000).map((key) => put(key))))).toBe(1);
    expect(await count(atomic(...keysTo(1000, "c").map(create)))).toBe(2);
    expect(await count(atomic(...keysTo(1000, "c").map(create)))).toBe(1);
    expect(await count(atomic(...keysTo(1000).map((key): WriteOperation => ({ kind: "get", key }))))).toBe(2);
    expect(await count(write(...keysTo(900).map((key, index) => (index % 2 ? put(key) : remove(key)))))).toBe(2);
    expect(await count(adapter.sweep?.(now, 100))).toBe(1);
  });

  it("is made once by ten instances that start at once, and shares its table with postgresStorage", async () => {
    const url = await server.database("shared");
    const ten = Array.from({ length: 10 }, () => neonStorage({ url }));
    expect((await Promise.all(ten.map((adapter) => adapter.migrate?.()))).flat()).toEqual(["0001-create-table"]);
    const postgres = postgresStorage({ url });
    expect(await postgres.migrate?.()).toEqual([]);
    await postgres.write([put("é\0", '"p"')], { now, atomic: false });
    expect(await textOf(neonStorage({ sql: neon(url) }), "é\0")).toBe('"p"');
    await server.admin("INSERT INTO workertown_kv_schema VALUES (2, 'newer')", [], "shared");
    await expect(neonStorage({ url }).get("k")).rejects.toMatchObject({
      code: "unavailable",
      message:
        "The database was made by a newer version (its schema is 2, this version knows 1); update @workertown/kv",
    });
    await postgres.close?.();
  });

  it("a batch starts again where somebody was faster between its read and its write", async () => {
    const namespace = freshNamespace();
    const other = server.open(namespace);
    const sql = neon(server.url);
    let meanwhile: WriteOperation[] = [];
    let betweenReads: (() => unknown) | undefined;
    const watched: NeonSqlLike = {
      query(text, values, options) {
        const result = sql.query(text, values, options);
        const change = betweenReads;
        if (change === undefined) return result;
        betweenReads = undefined;
        return result.then(async (rows) => {
          await change();
          return rows;
        });
      },
      async transaction(queries, options) {
        const [first] = meanwhile.splice(0, 1);
        if (first !== undefined) await other.write([first], { now, atomic: false });
        return sql.transaction(queries, options);
      },
    };
    const adapter = neonStorage({ sql: watched, namespace });
    await adapter.write([put("there")], { now, atomic: false });
    const batch = (...operations: WriteOperation[]) => adapter.write(operations, { now, atomic: true });

    meanwhile = [put("absent"), remove("there"), put("other")];
    expect(await batch(remove("absent"), remove("there"), put("k"))).toEqual(["deleted", "absent", "written"]);
    meanwhile = [create("new")];
    expect(await batch(create("new"), put("k2"))).toContain("refused");
    expect(await textOf(adapter, "k2")).toBeNull();
    const rows = await server.admin("SELECT name FROM workertown_kv WHERE namespace = $1", [namespace]);
    expect(rows.map(({ name }) => String(name)).sort()).toEqual(["k", "new", "other"]);

    betweenReads = () => other.write([put("k", "2"), put("other", "2")], { now, atomic: true });
    const gets = ["k", "other"].map((key): WriteOperation => ({ kind: "get", key }));
    const found = await adapter.write(gets, { now, atomic: true, valueBytes: 100 });
    expect(found).toMatchObject(gets.map(() => ({ found: { value: encoder.encode("2") } })));
    await other.write([put("k", '"first"')], { now, atomic: false });
    betweenReads = () => other.write([put("k", '"longer"')], { now, atomic: false });
    const many = await adapter.getMany?.(["k", "other", "none"], 12);
    expect(many).toMatchObject([{ value: encoder.encode('"longer"') }, { value: encoder.encode("2") }, null]);
  });

  it("batches on the same keys at once all end", async () => {
    const namespace = freshNamespace();
    const two = [server.open(namespace), server.open(namespace)];
    const batches = keysTo(8).map((key, index) => {
      const operations = [remove("a"), put("a", `"${key}"`), put("b", `"${key}"`)];
      const order = index % 2 ? operations : operations.toReversed();
      return two[index % 2]?.write(order, { now, atomic: true });
    });
    for (const outcomes of await Promise.all(batches)) expect(outcomes).not.toContain("refused");
  });

  it("what is too much for one request goes in several, and the most that a value can be goes in one", async () => {
    const adapter = server.open(freshNamespace());
    const { maxValue } = adapter.capabilities;
    // Each character becomes two in a JSON string.
    const text = `"${'\\"'.repeat((maxValue - 2) / 2)}"`;
    await adapter.write([put("k", text)], { now, atomic: false });
    expect((await textOf(adapter, "k")) === text).toBe(true);
    using _random = vi.spyOn(Math, "random").mockReturnValue(0.5);
    const before = server.requests();
    const large = `"${"x".repeat(9_000_000)}"`;
    const operations = [put("a", large), remove("c"), put("b", large)];
    expect(await adapter.write(operations, { now, atomic: false })).toEqual(["written", "absent", "written"]);
    expect(server.requests() - before).toBe(3);
    const found = await adapter.getMany?.(["a", "b", "k"], 19_000_000);
    expect(found?.map((entry) => entry?.value?.length)).toEqual([9_000_002, 9_000_002, undefined]);
    expect(server.requests() - before).toBe(6);
  });

  it("some writes remove what has expired, since a Worker does nothing in the background", async () => {
    const namespace = freshNamespace();
    const adapter = server.open(namespace);
    const gone = keysTo(30).map((key) => {
      const operation = put(key) as WriteOperation & { kind: "put" };
      return { ...operation, entry: { ...operation.entry, expiresAt: now } };
    });
    const left = async () => {
      const text = "SELECT count(*)::int AS rows FROM workertown_kv WHERE namespace = $1";
      return (await server.admin(text, [namespace]))[0]?.rows;
    };
    using random = vi.spyOn(Math, "random").mockReturnValue(0.5);
    await adapter.write(gone, { now: now - 1, atomic: false });
    await adapter.write([put("a")], { now, atomic: false });
    expect(await left()).toBe(31);
    random.mockReturnValue(0);
    await adapter.write([put("b")], { now, atomic: false });
    expect(await left()).toBe(12);
  });

  it("a login that is refused is unavailable, and no error shows the password", async () => {
    const url = server.url.replace(server.secret, `wrong-${server.secret}`);
    const error = await Promise.resolve(neonStorage({ url }).get("k")).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "unavailable", cause: { code: "28P01" } });
    expect(inspect(error, { depth: 10 })).not.toContain(server.secret);
  });

  it("a write whose answer is lost has an unknown outcome", async () => {
    const adapter = server.open(freshNamespace());
    await adapter.get("k");
    await server.kill();
    try {
      await expect(adapter.get("k")).rejects.toMatchObject({ message: "The database cannot be used at the moment" });
      const write = adapter.write([put("k")], { now, atomic: false });
      await expect(write).rejects.toMatchObject({
        message: expect.stringContaining("outcome of the write is unknown"),
      });
    } finally {
      await server.start();
    }
  });
});
