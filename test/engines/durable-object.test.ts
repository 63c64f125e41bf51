import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Miniflare } from "miniflare";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { KvError } from "../../src/core/errors.ts";
import type { StorageAdapter, WriteOperation } from "../../src/storage/adapter.ts";
import {
  type DurableObjectNamespaceLike,
  durableObjectStorage,
  KvDurableObject,
} from "../../src/storage/durable-object.ts";
import { decodeMessage, encodeMessage } from "../../src/storage/durable-object-message.ts";
import { storageConformance } from "../../src/testing/conformance.ts";
import { storedEntry } from "../../src/testing/subject.ts";
import { until } from "../runtimes.ts";
import { KEY, request } from "../support.ts";
import { bundleWorker, type DurableObject, missing, startDurableObject, TEST_WORKER } from "./durable-object-server.ts";
import { freshNamespace, testEngine } from "./engine.ts";

const MIB = 1_048_576;

testEngine({ name: "durable-object", missing, start: startDurableObject });

let engine: DurableObject;
beforeAll(async () => {
  engine = await startDurableObject();
});
afterAll(() => engine?.[Symbol.asyncDispose]());

const put = (key: string, text: string, options: { expiresAt?: number; metadata?: string; version?: string } = {}) =>
  ({ kind: "put", key, entry: storedEntry(text, { version: "v", ...options }) }) satisfies WriteOperation;
const now = () => ({ now: Date.now(), atomic: false });
const textOf = (bytes: number) => `"${"x".repeat(bytes - 2)}"`;
const decoded = (value: Uint8Array | null | undefined) => (value == null ? null : new TextDecoder().decode(value));

/** A binding that counts the messages to the object. */
function counting(): DurableObjectNamespaceLike & { messages: number } {
  const counter = {
    messages: 0,
    idFromName: (name: string) => name,
    get(id: string) {
      counter.messages += 1;
      return engine.binding.get(id);
    },
  };
  return counter;
}

describe("durable-object: conformance, the adapter inside a Worker", () => {
  const { capabilities } = durableObjectStorage({ idFromName: String, get: () => ({}) as never });
  for (const [index, { name, skip }] of storageConformance().entries()) {
    if (skip?.(capabilities)) continue;
    it(name, async () => {
      const response = await fetch(`${engine.url}/?test=${index}&namespace=${freshNamespace()}`);
      expect(await response.text()).toBe("");
    });
  }
});

describe("durable-object: the options", () => {
  it.each([
    [undefined, {}, "binding: Expected the binding of a Durable Object class, got nothing; add it to durable_objects"],
    [{ getWithMetadata() {} }, {}, "binding: Expected the binding of a Durable Object class, got a object of another"],
    [{ idFromName: String }, { namespace: "" }, 'namespace: Expected a name, got ""'],
    [{ idFromName: String }, { namespace: 1 }, "namespace: Expected a name, got 1"],
  ])("%o %o is refused", (binding, options, message) => {
    expect(() => durableObjectStorage(binding as never, options as never)).toThrow(TypeError);
    expect(() => durableObjectStorage(binding as never, options as never)).toThrow(message);
  });

  it("name the object and where it is made", async () => {
    const asked: unknown[] = [];
    const binding = {
      idFromName: (name: string) => `the id of ${name}`,
      get(...given: unknown[]) {
        asked.push(given);
        return engine.binding.get("hints");
      },
    };
    await durableObjectStorage(binding).get("k");
    await durableObjectStorage(binding, { namespace: "other", locationHint: "weur" }).get("k");
    expect(asked).toEqual([
      ["the id of default", {}],
      ["the id of other", { locationHint: "weur" }],
    ]);
  });
});

describe("durable-object: messages", () => {
  const roundTrip = async (message: unknown) =>
    decodeMessage(await new Response(encodeMessage(message) as BodyInit).arrayBuffer());

  it("carry values between the members of a text, short and long", async () => {
    for (const size of [1, MIB + 1]) {
      const value = (fill: number) => new Uint8Array(size).fill(fill);
      const message = { a: [{ key: "é", value: value(1) }, { value: null }], b: { entry: { value: value(2) } } };
      expect(await roundTrip(message)).toEqual(message);
    }
  });

  it("carry a Buffer as bytes", async () => {
    expect(await roundTrip({ value: Buffer.from("é") })).toEqual({ value: new Uint8Array([0xc3, 0xa9]) });
  });

  it("carry a part of a long buffer alone", () => {
    const view = new Uint8Array(MIB).subarray(10, 20);
    expect((encodeMessage({ value: view }) as Uint8Array).length).toBeLessThan(100);
  });

  it("one for a read or a write of any number of entries, several where the values are large", async () => {
    const binding = counting();
    const storage = durableObjectStorage(binding, { namespace: freshNamespace() });
    const messages = async (step: () => unknown) => {
      const before = binding.messages;
      await step();
      return binding.messages - before;
    };
    const keys = Array.from({ length: 1000 }, (_, index) => `k${index}`);
    const puts = keys.map((key) => put(key, "1"));
    expect(await messages(() => storage.write([put("k", "1")], now()))).toBe(1);
    expect(await messages(() => storage.write([{ ...put("k", "1"), condition: { ifMatch: "*" } }], now()))).toBe(1);
    expect(await messages(() => storage.write([{ kind: "delete", key: "k" }], now()))).toBe(1);
    expect(await messages(() => storage.get("k1"))).toBe(1);
    expect(await messages(() => storage.write(puts, now()))).toBe(1);
    expect(await messages(() => storage.write(puts, { ...now(), atomic: true }))).toBe(1);
    expect(await messages(() => storage.getMany?.(keys, 1e9))).toBe(1);
    expect(await messages(() => storage.getMany?.([], 1e9))).toBe(0);
    expect(await messages(() => storage.list({ prefix: "", cursor: null, limit: 1000, valueBytes: 1e6, now: 0 }))).toBe(
      1,
    );

    // 4 of 12 MiB: 24 and 24 to write, 12 each to read, for a read ends after the value that takes it past 10.
    const large = ["a", "b", "c", "d"];
    const text = textOf(12 * MIB);
    expect(
      await messages(() =>
        storage.write(
          large.map((key) => put(key, text)),
          now(),
        ),
      ),
    ).toBe(2);
    expect(await messages(() => storage.getMany?.(large, 1e9))).toBe(4);
    const found = await storage.getMany?.([...large, "k1"], 30 * MIB);
    expect(found?.map((entry) => entry?.value?.length ?? null)).toEqual([12 * MIB, 12 * MIB, null, null, 1]);
  });
});

describe("durable-object: at rest", () => {
  it("has the schema of its documentation", async () => {
    const namespace = freshNamespace();
    await engine.open(namespace).get("k");
    const made = await engine.sql(
      namespace,
      "SELECT type, name FROM sqlite_master WHERE name LIKE 'workertown%' ORDER BY name",
    );
    expect(made.map(({ type, name }) => `${type} ${name}`)).toEqual([
      "table workertown_kv",
      "table workertown_kv_chunk",
      "trigger workertown_kv_deleted",
      "index workertown_kv_expires",
      "trigger workertown_kv_replaced",
      "table workertown_kv_schema",
    ]);
    expect(await engine.sql(namespace, "SELECT * FROM workertown_kv_schema")).toEqual([
      { version: 1, name: "0001-create-table" },
    ]);
  });

  it("keeps a value as text, and one of over 1 MiB as texts that join to it", async () => {
    const namespace = freshNamespace();
    const storage = engine.open(namespace);
    const types = () =>
      engine.sql(namespace, "SELECT typeof(name) AS name, typeof(value) AS value, bytes FROM workertown_kv");
    const chunks = () =>
      engine.sql(
        namespace,
        "SELECT part, typeof(value) AS type, octet_length(value) AS bytes, value FROM workertown_kv_chunk ORDER BY part",
      );
    const small = `{"a": "é\\u0000"}`;
    await storage.write([put("k", small)], now());
    expect(await types()).toEqual([{ name: "blob", value: "text", bytes: 17 }]);
    expect(await engine.sql(namespace, "SELECT value FROM workertown_kv")).toEqual([{ value: small }]);

    // Of 3 and 4 bytes a character, so that a cut at a fixed place would go through one.
    for (const character of ["漢", "😀"]) {
      const text = `"x${character.repeat(700_000)}"`;
      await storage.write([put("k", text)], now());
      expect((await types())[0]?.value).toBe("null");
      const parts = await chunks();
      expect(parts.length).toBe(Math.ceil(new TextEncoder().encode(text).length / MIB));
      expect(parts.map(({ type }) => type)).toEqual(parts.map(() => "text"));
      expect(parts.every(({ bytes }) => Number(bytes) <= MIB)).toBe(true);
      expect(parts.map(({ value }) => value).join("") === text).toBe(true);
      expect(decoded((await storage.get("k"))?.value) === text).toBe(true);
    }
  });

  it.each([
    ["replaced by a small one", (storage: StorageAdapter) => storage.write([put("k", "1")], now()), 0],
    ["replaced by a shorter one", (storage: StorageAdapter) => storage.write([put("k", textOf(2 * MIB))], now()), 2],
    ["deleted", (storage: StorageAdapter) => storage.write([{ kind: "delete", key: "k" }], now()), 0],
    ["swept", (storage: StorageAdapter) => storage.sweep?.(Date.now() + 2e6, 10), 0],
  ])("a value in pieces leaves none when it is %s", async (_name, step, left) => {
    const namespace = freshNamespace();
    const storage = engine.open(namespace);
    await storage.write([put("k", textOf(5 * MIB), { expiresAt: Date.now() + 1e6 })], now());
    await step(storage);
    const [row] = await engine.sql(namespace, "SELECT count(*) AS count FROM workertown_kv_chunk");
    expect(row?.count).toBe(left);
  });

  it("a delete by hand takes the pieces along", async () => {
    const namespace = freshNamespace();
    await engine.open(namespace).write([put("k", textOf(3 * MIB))], now());
    await engine.sql(namespace, "DELETE FROM workertown_kv WHERE name = CAST('k' AS BLOB)");
    expect(await engine.sql(namespace, "SELECT part FROM workertown_kv_chunk")).toEqual([]);
  });
});

describe("durable-object: migrations", () => {
  it("by 10 at once: each step runs once", async () => {
    const namespace = freshNamespace();
    const steps = await Promise.all(Array.from({ length: 10 }, () => engine.open(namespace).migrate?.()));
    expect(steps.flat()).toEqual(["0001-create-table"]);
    expect(await engine.open(namespace).migrate?.()).toEqual([]);
  });

  it("an upgrade keeps what is there; the version before refuses the newer schema and changes nothing", async () => {
    const namespace = freshNamespace();
    const storage = engine.open(namespace);
    await storage.write([put("k", "1")], now());
    const sql = "ALTER TABLE workertown_kv ADD COLUMN more TEXT";
    expect(await engine.control(namespace, { do: "upgrade", sql })).toEqual(["0002-more"]);
    expect(await engine.control(namespace, { do: "upgrade", sql })).toEqual([]);
    expect(await engine.sql(namespace, "SELECT value, more FROM workertown_kv")).toEqual([{ value: "1", more: null }]);

    await engine.control(namespace, { do: "abort" }).catch(() => {});
    const message =
      "The database was made by a newer version (its schema is 2, this version knows 1); update @workertown/kv";
    for (const call of [
      () => storage.get("k"),
      () => storage.write([put("k", "2")], now()),
      () => storage.migrate?.(),
    ]) {
      await expect(call()).rejects.toMatchObject({ name: "KvError", code: "unavailable", message });
    }
    expect(await engine.sql(namespace, "SELECT value FROM workertown_kv")).toEqual([{ value: "1" }]);
  });

  it("a step that fails leaves nothing behind", async () => {
    const namespace = freshNamespace();
    const failing = { do: "upgrade", sql: "CREATE TABLE half (a); CREATE TABLE half (a)" } as const;
    await expect(engine.control(namespace, failing)).rejects.toThrow("already exists");
    expect(
      await engine.sql(namespace, "SELECT name FROM sqlite_master WHERE name LIKE 'workertown%' OR name = 'half'"),
    ).toEqual([]);
  });
});

describe("durable-object: atomic batches", () => {
  it("of as many operations as the capabilities say", async () => {
    const storage = engine.open(freshNamespace());
    const { atomic } = storage.capabilities as { atomic: { operations: number } };
    const puts = Array.from({ length: atomic.operations }, (_, index) => put(`k${index}`, "1"));
    const outcomes = await storage.write(puts, { ...now(), atomic: true });
    expect(outcomes.filter((outcome) => outcome === "written")).toHaveLength(atomic.operations);
    const refused = [...puts.slice(1), { ...put("k0", "2"), condition: { ifNoneMatch: "*" as const } }];
    expect(await storage.write(refused, { ...now(), atomic: true })).toContain("refused");
    expect(decoded((await storage.get("k0"))?.value)).toBe("1");
  });

  it("of as many bytes as the capabilities say, whole or not at all, read back in one", async () => {
    const storage = engine.open(freshNamespace());
    const { atomic } = storage.capabilities as { atomic: { bytes: number } };
    const text = textOf(atomic.bytes / 4);
    const puts = ["a", "b", "c", "d"].map((key) => put(key, text));
    const refused = await storage.write([...puts, { ...put("e", "1"), condition: { ifMatch: "*" } }], {
      ...now(),
      atomic: true,
    });
    expect(refused).toContain("refused");
    expect((await storage.list({ prefix: "", cursor: null, limit: 9, valueBytes: null, now: 0 })).entries).toEqual([]);
    await storage.write(puts, { ...now(), atomic: true });
    const reads = ["a", "b", "c", "d"].map((key) => ({ kind: "get", key }) as const);
    const outcomes = await storage.write(reads, { ...now(), atomic: true, valueBytes: 100 * MIB });
    expect(outcomes.map((outcome) => typeof outcome === "object" && decoded(outcome.found?.value) === text)).toEqual([
      true,
      true,
      true,
      true,
    ]);
  });

  it("a read whose key was written before it in the batch takes no room from the others", async () => {
    const storage = engine.open(freshNamespace());
    await storage.write(
      [put("a", textOf(20)), put("b", textOf(30)), put("c", textOf(30), { expiresAt: Date.now() - 10 })],
      now(),
    );
    const outcomes = await storage.write(
      [
        put("a", "1"),
        { kind: "get", key: "a" },
        { kind: "get", key: "c" },
        { kind: "get", key: "b" },
        { kind: "get", key: "b" },
      ],
      { ...now(), atomic: true, valueBytes: 61 },
    );
    const sizes = outcomes.map((outcome) =>
      typeof outcome === "object" ? (outcome.found?.value?.length ?? null) : outcome,
    );
    expect(sizes).toEqual(["written", 1, null, 30, 30]);
  });
});

/** What a read throws. */
async function failureOf(storage: StorageAdapter): Promise<Partial<KvError> & { cause?: Error }> {
  try {
    await storage.get("k");
  } catch (error) {
    return error as KvError & { cause?: Error };
  }
  return {};
}

describe("durable-object: trouble", () => {
  it("a reset during a write leaves its outcome unknown; what was done is done", async () => {
    const namespace = freshNamespace();
    const storage = engine.open(namespace);
    await storage.write([put("k", "1")], now());
    await engine.control(namespace, { do: "abort next" });
    await expect(storage.write([put("k", "2")], now())).rejects.toMatchObject({
      name: "KvError",
      code: "unavailable",
      message: "The Durable Object cannot be used at the moment; the outcome of the write is unknown",
      cause: { durableObjectReset: true },
    });
    expect(["1", "2"]).toContain(decoded((await storage.get("k"))?.value));
    expect(await storage.write([put("k", "3")], now())).toEqual(["written"]);
  });

  it("a read that a reset ended is asked once more, a write is not", async () => {
    const binding = counting();
    const namespace = freshNamespace();
    const storage = durableObjectStorage(binding, { namespace });
    await storage.write([put("k", "1")], now());
    for (const read of [() => storage.get("k"), () => storage.getMany?.(["k"], 9)]) {
      await engine.control(namespace, { do: "abort next" });
      binding.messages = 0;
      await read();
      expect(binding.messages).toBe(2);
    }
    await engine.control(namespace, { do: "abort next" });
    binding.messages = 0;
    await expect(storage.write([put("k", "1")], now())).rejects.toThrow("unknown");
    expect(binding.messages).toBe(1);
  });

  it.each([
    [{ retryable: true }, 2],
    [{ retryable: true, overloaded: true }, 1],
    [{ overloaded: true }, 1],
    [{ remote: true }, 1],
    [{ retryable: true, name: "TimeoutError" }, 1],
  ])("an error of the platform with %o is unavailable, after %i messages", async (flags, messages) => {
    let asked = 0;
    const fetch = () => {
      asked += 1;
      return Promise.reject(Object.assign(new Error("The platform says so"), flags));
    };
    const storage = durableObjectStorage({ idFromName: String, get: () => ({ fetch }) });
    const error = await failureOf(storage);
    expect(error).toMatchObject({ code: "unavailable", message: "The Durable Object cannot be used at the moment" });
    expect(error.cause?.message).toBe("The platform says so");
    expect(asked).toBe(messages);
  });

  it.each([
    ["Exceeded allowed rows written in Durable Objects free tier.", "unavailable"],
    ["disk I/O error: SQLITE_IOERR", "unavailable"],
    ["database or disk is full: SQLITE_FULL", "storage_full"],
    ["no such column: x: SQLITE_ERROR", undefined],
  ])("what the object's SQLite says, %s, is %s", async (said, code) => {
    const exec = () => {
      throw new Error(said);
    };
    const storage = {
      sql: { exec },
      transactionSync: <T>(step: () => T) => step(),
      getAlarm: async () => null,
      setAlarm: async () => {},
    };
    const object = new KvDurableObject({ storage });
    const fetch = (_url: string, { body }: { body: BodyInit }) =>
      object.fetch(new Request("http://o", { method: "POST", body }));
    const adapter = durableObjectStorage({ idFromName: String, get: () => ({ fetch }) });
    const error = await failureOf(adapter);
    expect(error.code).toBe(code);
    expect(`${error.message} ${error.cause?.message}`).toContain(said);
  });

  it("a write that fails half way changes nothing, and says what SQLite said", async () => {
    const storage = engine.open(freshNamespace());
    const write = storage.write([put("k", "1"), put("x".repeat(2_200_000), "1")], now());
    await expect(write).rejects.toThrow("The Durable Object failed: string or blob too big: SQLITE_TOOBIG");
    expect(await storage.get("k")).toBeNull();
  });

  it("a full object answers storage_full, keeps what it has and can be read", async () => {
    const namespace = "full";
    await using miniflare = await startObjects(["experimental"]);
    const call = async (init: RequestInit) => {
      const response = await miniflare.dispatchFetch(`http://o/object?namespace=${namespace}`, {
        method: "POST",
        duplex: "half",
        ...init,
      } as never);
      if (response.status !== 200) throw new Error(await response.text());
      return response;
    };
    const storage = durableObjectStorage({ idFromName: String, get: () => ({ fetch: (_url, init) => call(init) }) });
    await storage.write([put("k", "1")], now());
    await call({ headers: { "X-Control": JSON.stringify({ do: "fill" }) } });
    const batch = [put("k", "2"), put("big", textOf(5 * MIB))];
    await expect(storage.write(batch, now())).rejects.toMatchObject({
      code: "storage_full",
      message: "The Durable Object is full",
    });
    expect(decoded((await storage.get("k"))?.value)).toBe("1");
    expect(await storage.write([put("k", "3")], now())).toEqual(["written"]);
  });
});

describe("durable-object: expiry by alarm", () => {
  const count = async (namespace: string) =>
    (await engine.sql(namespace, "SELECT count(*) AS count FROM workertown_kv"))[0]?.count;
  const alarm = async (namespace: string) => (await engine.control(namespace, { do: "alarm" })) as number | null;

  it("is set for the first that expires, a minute later, and not for what stays", async () => {
    const namespace = freshNamespace();
    const storage = engine.open(namespace);
    await storage.write([put("stays", "1")], now());
    expect(await alarm(namespace)).toBeNull();
    const at = Date.now() + 600_000;
    await storage.write([put("a", "1", { expiresAt: at + 300_000 }), put("b", "1", { expiresAt: at })], now());
    const expected = (time: number) => expect(Math.abs(time - at - 60_000)).toBeLessThan(10_000);
    expected((await alarm(namespace)) as number);
    await storage.write([put("c", "1", { expiresAt: at + 90_000 })], now());
    expected((await alarm(namespace)) as number);
    await storage.write([put("d", "1", { expiresAt: at - 300_000 })], now());
    expected(((await alarm(namespace)) as number) + 300_000);
  });

  it("removes what expired a minute ago, in steps of 200, and comes again for the rest", {
    timeout: 60_000,
  }, async () => {
    const namespace = freshNamespace();
    const storage = engine.open(namespace);
    const due = Date.now() - 59_500;
    const gone = Array.from({ length: 450 }, (_, index) => put(`gone${index}`, "1", { expiresAt: due }));
    const later = Date.now() + 600_000;
    const rest = [
      put("recent", "1", { expiresAt: Date.now() - 1000 }),
      put("later", "1", { expiresAt: later }),
      put("stays", "1"),
    ];
    await storage.write([...gone, ...rest], now());
    expect(await count(namespace)).toBe(453);
    // An alarm that meets a busy machine comes again seconds later.
    await until(async () => (await count(namespace)) === 3, 40);
    const names = await engine.sql(namespace, "SELECT CAST(name AS TEXT) AS name FROM workertown_kv ORDER BY name");
    expect(names.map(({ name }) => name)).toEqual(["later", "recent", "stays"]);
    const next = (await alarm(namespace)) as number;
    expect(Math.abs(next - Date.now() - 60_000)).toBeLessThan(10_000);
  });

  it("leaves alone what lives by the clock of a service that is behind", async () => {
    const namespace = freshNamespace();
    const storage = engine.open(namespace);
    const behind = Date.now() - 3_600_000;
    await storage.write([put("k", "1", { expiresAt: behind + 1000 })], { now: behind, atomic: false });
    const at = (await alarm(namespace)) as number;
    expect(Math.abs(at - Date.now() - 61_000)).toBeLessThan(10_000);
  });

  it("comes after the process was killed too", async () => {
    const namespace = freshNamespace();
    await engine.open(namespace).write([put("k", "1", { expiresAt: Date.now() - 57_000 })], now());
    expect(await count(namespace)).toBe(1);
    await engine.kill();
    await engine.start();
    await until(async () => (await count(namespace)) === 0);
  });
});

/** A Miniflare of its own with the Worker of these tests. */
async function startObjects(compatibilityFlags: string[]) {
  const miniflare = new Miniflare({
    modules: true,
    script: await bundleWorker(TEST_WORKER),
    compatibilityDate: "2026-07-01",
    compatibilityFlags,
    durableObjects: { KV_DO: { className: "KvDurableObject", useSQLite: true } },
    cf: false,
  });
  return Object.assign(miniflare, { [Symbol.asyncDispose]: () => miniflare.dispose() });
}

describe("durable-object: the example", () => {
  const folder = "examples/durable-object";
  const config = JSON.parse(readFileSync(`${folder}/wrangler.jsonc`, "utf8").replace(/^\s*\/\/.*$/gm, ""));
  const [{ name, class_name: className }] = config.durable_objects.bindings;
  let miniflare: Miniflare;
  let url: string;

  beforeAll(async () => {
    miniflare = new Miniflare({
      modules: true,
      script: await bundleWorker(join(folder, config.main)),
      compatibilityDate: config.compatibility_date,
      durableObjects: { [name]: { className, useSQLite: config.migrations[0].new_sqlite_classes.includes(className) } },
      bindings: { KV_API_KEY: KEY },
      cf: false,
    });
    url = String(await miniflare.ready).replace(/\/$/, "");
  });
  afterAll(() => miniflare?.dispose());

  const call = (method: string, path: string, options = {}) => request(url + path, method, options);

  it("stores and reads, with every capability of the engine", async () => {
    expect((await fetch(`${url}/ready`)).status).toBe(200);
    expect((await fetch(`${url}/v1/kv/k`)).status).toBe(401);
    expect((await call("PUT", "/v1/kv/k", { body: { value: { a: 1 }, metadata: { m: 1 } } })).status).toBe(200);
    expect((await call("GET", "/v1/kv/k")).json.data).toEqual({ a: 1 });
    const { json } = await call("GET", "/admin/info");
    expect(json.data.storage ?? json.data).toMatchObject({ engine: "durable-object" });
    expect((await call("POST", "/admin/migrate")).status).toBe(200);
    expect((await call("DELETE", "/v1/kv/k")).json.data).toMatchObject({});
    expect((await call("GET", "/v1/kv/k")).status).toBe(404);
  });

  it("takes a value of 25 MiB, and answers it as it came", { timeout: 60_000 }, async () => {
    const value = `"${"漢".repeat(8_738_132)}12"`;
    expect(Buffer.byteLength(value)).toBe(25 * MIB);
    const stored = await call("PUT", "/v1/kv/large", { body: `{"value":${value}}` });
    expect(stored.status).toBe(200);
    const { status, text } = await call("GET", "/v1/kv/large");
    expect(status).toBe(200);
    expect(text.includes(value)).toBe(true);
    const more = await call("PUT", "/v1/kv/large", { body: `{"value":${value.replace("12", "123")}}` });
    expect(more.status).toBe(413);
  });

  it("keeps conditions exact under a race of 16", async () => {
    const creates = await Promise.all(
      Array.from({ length: 16 }, (_, index) =>
        call("PUT", "/v1/kv/race", { body: { value: index }, headers: { "If-None-Match": "*" } }),
      ),
    );
    expect(creates.map(({ status }) => status).sort()).toEqual([200, ...Array(15).fill(412)]);
    const { headers } = await call("GET", "/v1/kv/race");
    const etag = headers.get("ETag") as string;
    const replaces = await Promise.all(
      Array.from({ length: 16 }, (_, index) =>
        call("PUT", "/v1/kv/race", { body: { value: index }, headers: { "If-Match": etag } }),
      ),
    );
    expect(replaces.map(({ status }) => status).sort()).toEqual([200, ...Array(15).fill(412)]);
  });

  it("does an atomic batch whole or not at all, with reads in it", async () => {
    await call("PUT", "/v1/kv/from", { body: { value: 10 } });
    const batch = (condition: object) => ({
      body: {
        atomic: true,
        operations: [
          { op: "get", key: "from" },
          { op: "put", key: "from", value: 9, ...condition },
          { op: "put", key: "to", value: 1 },
          { op: "get", key: "to" },
        ],
      },
    });
    const refused = await call("POST", "/v1/kv", batch({ ifMatch: '"other"' }));
    expect(refused.status).toBe(412);
    expect((await call("GET", "/v1/kv/to")).status).toBe(404);
    const done = await call("POST", "/v1/kv", batch({ ifMatch: "*" }));
    expect(done.json.data.map(({ status }: { status: number }) => status)).toEqual([200, 200, 200, 200]);
    expect(done.json.data[0].data).toBe(10);
    expect(done.json.data[3].data).toBe(1);
  });

  it("refuses an atomic batch of over 32 MiB with 501, and does the same batch one by one", {
    timeout: 60_000,
  }, async () => {
    const operations = ["a", "b", "c"].map((key) => ({ op: "put", key: `big/${key}`, value: "x".repeat(12 * MIB) }));
    const refused = await call("POST", "/v1/kv", { body: { atomic: true, operations } });
    expect(refused.status).toBe(501);
    expect(refused.json.detail).toContain(`"bytes":33554432`);
    expect((await call("POST", "/v1/kv", { body: { operations } })).status).toBe(200);
    const { json } = await call("GET", "/v1/kv?prefix=big/");
    expect(json.data.keys).toHaveLength(3);
  });
});
