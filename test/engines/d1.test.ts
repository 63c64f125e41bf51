import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { StorageAdapter, WriteOperation } from "../../src/storage/adapter.ts";
import { type D1DatabaseLike, type D1StatementLike, d1Storage } from "../../src/storage/d1.ts";
import { type D1, missing, startD1 } from "./d1-server.ts";
import { freshNamespace, testEngine } from "./engine.ts";
import { sharedTests } from "./libsql-shared.ts";
import { create, NOW, put, textOf } from "./libsql-shared-entries.ts";

testEngine({ name: "d1", missing, start: startD1 });

describe("d1", () => {
  let engine: D1;
  beforeAll(async () => {
    engine = await startD1();
  });
  afterAll(() => engine[Symbol.asyncDispose]());
  afterEach(() => void vi.restoreAllMocks());

  sharedTests(() => engine);

  const write = async (adapter: StorageAdapter, ...operations: WriteOperation[]) =>
    adapter.write(operations, { now: NOW, atomic: false });
  const live = async (namespace: string) => {
    const [row] = await engine.query(`SELECT count(*) AS n FROM workertown_kv WHERE namespace = '${namespace}'`);
    return row?.n;
  };

  it("single operations are one statement each, and many of them a handful, in one call each", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0.99);
    const calls: number[] = [];
    const inner = new Map<D1StatementLike, D1StatementLike>();
    function counted(statement: D1StatementLike): D1StatementLike {
      const outer: D1StatementLike = {
        bind: (...values) => counted(statement.bind(...values)),
        all() {
          calls.push(1);
          return statement.all();
        },
      };
      inner.set(outer, statement);
      return outer;
    }
    const counting: D1DatabaseLike = {
      prepare: (sql) => counted(engine.database.prepare(sql)),
      batch(statements) {
        calls.push(statements.length);
        return engine.database.batch(statements.map((outer) => inner.get(outer) as D1StatementLike));
      },
    };
    const storage = d1Storage(counting, { namespace: freshNamespace() });
    await storage.get("k");
    const statements = async (call: () => unknown) => {
      calls.length = 0;
      await call();
      return calls.join();
    };
    const thousand = Array.from({ length: 1000 }, (_, index) => put(`k${index}`, `"${"x".repeat(1000)}"`));
    const keys = thousand.map(({ key }) => key);
    const list = { prefix: "", cursor: null, limit: 1000, valueBytes: 1e7, now: NOW };
    const matched = thousand.map((one) => ({ ...one, condition: { ifMatch: "*" as const } }));
    expect({
      get: await statements(() => storage.get("k")),
      put: await statements(() => write(storage, put("k", "1", { version: "one" }))),
      create: await statements(() => write(storage, create("k", "2"))),
      replace: await statements(() => write(storage, { ...put("k", "3"), condition: { ifMatch: ["one"] } })),
      delete: await statements(() => write(storage, { kind: "delete", key: "k" })),
      "1,000 puts": await statements(() => write(storage, ...thousand)),
      "1,000 gets": await statements(() => storage.getMany?.(keys, 1e9)),
      list: await statements(() => storage.list(list)),
      "1,000 replaced": await statements(() => storage.write(matched, { now: NOW, atomic: true })),
      "1,000 deletes": await statements(() => write(storage, ...keys.map((key) => ({ kind: "delete" as const, key })))),
    }).toEqual({
      ...{ get: "1", put: "1", create: "1", replace: "1", delete: "1", list: "1" },
      ...{ "1,000 puts": "1", "1,000 gets": "1", "1,000 replaced": "1,2", "1,000 deletes": "2" },
    });
  });

  it("one write in 16 removes 20 expired entries with it, whatever it writes", async () => {
    const random = vi.spyOn(Math, "random").mockReturnValue(1 / 16);
    const namespace = freshNamespace();
    const storage = d1Storage(engine.database, { namespace });
    const expired = Array.from({ length: 100 }, (_, index) =>
      put(`gone${index}`, "1", { expiresAt: index < 90 ? NOW : NOW + 1 }),
    );
    await write(storage, ...expired);
    await write(storage, put("a", "1"));
    expect(await live(namespace)).toBe(101);
    random.mockReturnValue(1 / 16 - 0.001);
    expect(await write(storage, put("b", "1"))).toEqual(["written"]);
    expect(await live(namespace)).toBe(82);
    expect(await write(storage, create("b", "2"))).toEqual(["refused"]);
    expect(await live(namespace)).toBe(62);
    expect(await write(storage, { kind: "delete", key: "b" })).toEqual(["deleted"]);
    expect(await live(namespace)).toBe(41);
    expect(await write(storage, put("a", "2"), { kind: "delete", key: "a" })).toEqual(["written", "deleted"]);
    expect(await live(namespace)).toBe(20);
    expect(await write(storage, create("c", "2"), create("c", "3"))).toEqual(["written", "refused"]);
    expect(await live(namespace)).toBe(11);
    const { entries } = await storage.list({ prefix: "gone", cursor: null, limit: 100, valueBytes: null, now: NOW });
    expect(entries).toHaveLength(10);
  });

  it("1,000 operations with the longest keys, metadata and 10 MB of values fit in an atomic batch", async () => {
    const storage = engine.open(freshNamespace());
    const { maxKey, maxMetadata, atomic } = storage.capabilities;
    const { operations, bytes } = atomic as { operations: number; bytes: number };
    const metadata = `"${"m".repeat(maxMetadata - 2)}"`;
    const value = `"${'\\"'.repeat(bytes / operations / 2 - 1)}"`;
    const all = Array.from({ length: operations }, (_, index) => ({
      ...put(String(index).padEnd(maxKey, "k"), value, { metadata }),
      condition: { ifNoneMatch: "*" as const },
    }));
    const outcomes = await storage.write(all, { now: NOW, atomic: true });
    expect(new Set(outcomes)).toEqual(new Set(["written"]));
    const found = await storage.getMany?.(
      all.map(({ key }) => key),
      bytes,
    );
    expect(found?.filter((entry) => textOf(entry) === value && entry?.metadata === metadata)).toHaveLength(operations);
  });

  it("more than 1,000 operations that need not be atomic are taken in several batches", async () => {
    const storage = engine.open(freshNamespace());
    const keys = Array.from({ length: 3000 }, (_, index) => String(index).padEnd(512, "k"));
    const creates = keys.map((key, index) => create(key, `${index}`));
    expect(await write(storage, ...creates, ...creates)).toEqual([
      ...Array(3000).fill("written"),
      ...Array(3000).fill("refused"),
    ]);
    expect(textOf(await storage.get(keys[2999] as string))).toBe("2999");
    const deletes = keys.map((key) => ({ kind: "delete" as const, key }));
    expect(await write(storage, ...deletes)).toEqual(Array(3000).fill("deleted"));
  });

  it("the largest entry of all fits in a row, and what does not is too large", async () => {
    const storage = engine.open(freshNamespace());
    const { maxKey, maxValue, maxMetadata } = storage.capabilities;
    const metadata = `"${"m".repeat(maxMetadata - 2)}"`;
    const largest = put("k".repeat(maxKey), `"${'\\"'.repeat(maxValue / 2 - 1)}"`, { metadata });
    expect(await write(storage, largest)).toEqual(["written"]);
    expect(await write(storage, largest, put("l", "1"))).toEqual(["written", "written"]);
    expect((await storage.get(largest.key))?.value.length).toBe(maxValue);
    await expect(write(storage, put("m", `"${"x".repeat(2_300_000)}"`))).rejects.toMatchObject({ code: "too_large" });
    expect(await storage.get("m")).toBeNull();
  });

  it("a request that ends in the middle of the migration leaves no other waiting", async () => {
    await engine.query("DROP TABLE IF EXISTS workertown_kv");
    await engine.query("DROP TABLE IF EXISTS workertown_kv_schema");
    for (let round = 0; round < 5; round++) {
      const { abandon, storage } = engine.openAbandoned(freshNamespace());
      await abandon("k");
      const began = performance.now();
      expect(await write(storage, put("k", "1"))).toEqual(["written"]);
      expect(performance.now() - began).toBeLessThan(3000);
    }
  });

  it("the example serves from it", async () => {
    const bundle = await build({
      entryPoints: ["examples/d1/worker.ts"],
      bundle: true,
      format: "esm",
      conditions: ["workertown-source", "workerd", "worker", "browser"],
      alias: { "@workertown/kv/storage/d1": "./src/storage/d1.ts", "@workertown/kv": "./src/index.ts" },
      write: false,
    });
    const key = "a-key-of-at-least-thirty-two-characters";
    const miniflare = new Miniflare({
      modules: true,
      script: bundle.outputFiles[0]?.text ?? "",
      compatibilityDate: "2026-01-01",
      d1Databases: ["KV_DB"],
      bindings: { KV_API_KEY: key },
      cf: false,
    });
    try {
      const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
      const call = async (method: string, body?: string) => {
        const request = { method, headers, ...(body !== undefined && { body }) };
        const response = await miniflare.dispatchFetch("http://service/v1/kv/greeting", request);
        return [response.status, ((await response.json()) as { data?: unknown }).data];
      };
      expect((await call("PUT", '{"value":"hello"}'))[0]).toBe(200);
      expect(await call("GET")).toEqual([200, "hello"]);
      expect((await call("DELETE"))[0]).toBe(200);
      expect((await call("GET"))[0]).toBe(404);
    } finally {
      await miniflare.dispose();
    }
  });

  describe("errors", () => {
    /** A binding whose schema is there, and that fails otherwise. */
    function failing(message: string): D1DatabaseLike {
      const fail = async () => {
        throw new Error(message);
      };
      const statement = (sql: string): D1StatementLike => ({
        bind: () => statement(sql),
        all: async () => (sql.includes("workertown_kv_schema") ? { results: [{ version: 1 }] } : fail()),
      });
      return { prepare: statement, batch: fail };
    }
    const cannot = "D1 cannot be used at the moment";
    const unknown = `${cannot}; the outcome of the write is unknown`;

    // https://developers.cloudflare.com/d1/observability/debug-d1/
    it.each([
      ["D1_ERROR: D1 DB reset because its code was updated.", unknown],
      ["D1_ERROR: Internal error while starting up D1 DB storage caused object to be reset.", unknown],
      ["D1_ERROR: Network connection lost.", unknown],
      ["D1_ERROR: Internal error in D1 DB storage caused object to be reset.", unknown],
      ["D1_ERROR: Cannot resolve D1 DB due to transient issue on remote node.", cannot],
      ["D1_ERROR: Can't read from request stream because client disconnected.", unknown],
      ["D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset.", unknown],
      ["D1_ERROR: D1 DB is overloaded. Requests queued for too long.", cannot],
      ["D1_ERROR: D1 DB is overloaded. Too many requests queued.", cannot],
      ["D1_ERROR: D1 DB's isolate exceeded its memory limit and was reset.", unknown],
      ["D1_ERROR: D1 DB exceeded its CPU time limit and was reset.", unknown],
      ["Too many API requests by single worker invocation.", cannot],
    ])("%s is unavailable", async (message, ofWrite) => {
      const storage = d1Storage(failing(message));
      await expect(storage.get("k")).rejects.toMatchObject({ code: "unavailable", message: cannot });
      await expect(write(storage, put("k", "1"))).rejects.toMatchObject({ code: "unavailable", message: ofWrite });
    });

    it("a full database is storage_full, a long row too_large, and a statement that is refused a fault of ours", async () => {
      const codeOf = (message: string) =>
        write(d1Storage(failing(message)), put("k", "1")).catch((error) => error.code ?? error.message);
      expect(await codeOf("D1_ERROR: Exceeded maximum DB size")).toBe("storage_full");
      expect(await codeOf("D1_ERROR: database or disk is full: SQLITE_FULL")).toBe("storage_full");
      expect(await codeOf("D1_ERROR: string or blob too big: SQLITE_TOOBIG")).toBe("too_large");
      expect(await codeOf("D1_ERROR: no such column: x: SQLITE_ERROR")).toBe(
        "D1_ERROR: no such column: x: SQLITE_ERROR",
      );
    });

    it("a call that never ends does", async () => {
      vi.useFakeTimers();
      try {
        const never = failing("");
        never.batch = () => new Promise(() => {});
        const written = write(d1Storage(never), put("k", "1"));
        const refused = expect(written).rejects.toMatchObject({
          code: "unavailable",
          message: "D1 did not answer in 10 s; the outcome of the write is unknown",
        });
        await vi.advanceTimersByTimeAsync(10_000);
        await refused;
      } finally {
        vi.useRealTimers();
      }
    });

    it("bad options are refused at once", () => {
      const wrong = { getWithMetadata() {} } as unknown as D1DatabaseLike;
      expect(() => d1Storage(undefined as never)).toThrow(
        new TypeError("database: Expected the binding of a D1 database, got undefined"),
      );
      expect(() => d1Storage(wrong)).toThrow(TypeError);
      expect(() => d1Storage(failing(""), { namespace: "" })).toThrow(
        new TypeError('namespace: Expected a name, got ""'),
      );
    });
  });
});
