import { AwsClient } from "aws4fetch";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Condition } from "../../src/core/entry.ts";
import { KvError } from "../../src/core/errors.ts";
import type { StorageAdapter, StoredEntry, WriteOperation } from "../../src/storage/adapter.ts";
import { type DynamodbStorageOptions, dynamodbOptions, dynamodbStorage } from "../../src/storage/dynamodb.ts";
import { type Migration, migrateTable } from "../../src/storage/dynamodb-migrate.ts";
import { clientsFor, sender } from "../../src/storage/dynamodb-request.ts";
import { shardOf } from "../../src/storage/sharded.ts";
import { adapterSubject, storageConformance } from "../../src/testing/conformance.ts";
import { until } from "../runtimes.ts";
import { KEY } from "../support.ts";
import { type Faults, refused, startFaults } from "./dynamodb-faults.ts";
import { CREDENTIALS, type DynamodbEngine, REGION, startDynamodb } from "./dynamodb-server.ts";
import { freshNamespace } from "./engine.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const TABLE = "workertown_kv";
const NOW = 1_800_000_000_000;
const ONE = { now: NOW, atomic: false };
const ALL = { now: NOW, atomic: true, valueBytes: 1_000_000 };

let versions = 0;
const entry = (text: string, more: Partial<StoredEntry> = {}): StoredEntry => ({
  value: encoder.encode(text),
  metadata: null,
  expiresAt: null,
  version: `v${versions++}`,
  ...more,
});
const put = (key: string, text = "1", condition?: Condition): WriteOperation => ({
  kind: "put",
  key,
  entry: entry(text),
  condition,
});
const remove = (key: string): WriteOperation => ({ kind: "delete", key });
const get = (key: string): WriteOperation => ({ kind: "get", key });
const names = (count: number, prefix = "k") =>
  Array.from({ length: count }, (_, index) => `${prefix}${String(index).padStart(4, "0")}`);
const text = async (storage: StorageAdapter, key: string) => {
  const found = await storage.get(key);
  return found && decoder.decode(found.value);
};
/** The error that a call rejects with. */
const failure = (call: unknown): Promise<Error> =>
  Promise.resolve(call).then(
    () => new Error("It did not fail"),
    (error) => error,
  );

let engine: DynamodbEngine;
beforeAll(async () => {
  engine = await startDynamodb();
});
afterAll(() => engine[Symbol.asyncDispose]());

/** A storage that notes what it asks for, in a namespace of its own. */
function recorded(options: Partial<DynamodbStorageOptions> = {}) {
  const signer = new AwsClient({ ...CREDENTIALS, region: REGION, service: "dynamodb" });
  const asked: { action: string; input: Record<string, unknown> }[] = [];
  const client: DynamodbStorageOptions["client"] = {
    sign(url, init) {
      asked.push({
        action: String(init.headers["X-Amz-Target"]).split(".")[1] as string,
        input: JSON.parse(init.body),
      });
      return signer.sign(url, init);
    },
  };
  const namespace = freshNamespace();
  const { endpoint } = engine;
  const storage = dynamodbStorage({ table: TABLE, region: REGION, endpoint, namespace, client, ...options });
  /** What one call asks for. */
  const during = async (call: () => unknown) => {
    await storage.get("first");
    asked.length = 0;
    await call();
    return asked.map(({ action }) => action);
  };
  return { storage, namespace, asked, during };
}

const send = (endpoint = engine.endpoint) => sender(endpoint, clientsFor(CREDENTIALS, REGION));
const base64 = (name: string) => Buffer.from(name).toString("base64");

describe("dynamodb: schema", () => {
  it("is one table on demand, with an item an entry as documented", async () => {
    const { storage, namespace } = recorded();
    const { metadata, ...rest } = entry(`{"x":[1.0]}`, { metadata: `"m"`, expiresAt: NOW + 1500, version: "abc" });
    await storage.write([{ kind: "put", key: "é", entry: { metadata, ...rest } }], ONE);
    await storage.write([put("plain", "null")], ONE);
    const { body: table } = await send()<{ Table: Record<string, object> }>("DescribeTable", { TableName: TABLE });
    expect(table.Table).toMatchObject({
      KeySchema: [
        { AttributeName: "partition", KeyType: "HASH" },
        { AttributeName: "name", KeyType: "RANGE" },
      ],
      BillingModeSummary: { BillingMode: "PAY_PER_REQUEST" },
    });
    expect(table.Table?.AttributeDefinitions).toEqual(
      expect.arrayContaining([
        { AttributeName: "partition", AttributeType: "S" },
        { AttributeName: "name", AttributeType: "B" },
      ]),
    );
    const item = async (partition: string, name: string) => {
      const Key = { partition: { S: partition }, name: { B: base64(name) } };
      return (await send()<{ Item: object }>("GetItem", { TableName: TABLE, Key })).body.Item;
    };
    expect(await item(`${namespace}#0`, "é")).toEqual({
      partition: { S: `${namespace}#0` },
      name: { B: base64("é") },
      value: { S: `{"x":[1.0]}` },
      metadata: { S: `"m"` },
      expires_at: { N: String(NOW + 1500) },
      ttl: { N: String(NOW / 1000 + 2 + 60) },
      version: { S: "abc" },
      updated_at: { N: String(NOW) },
    });
    expect(Object.keys((await item(`${namespace}#0`, "plain")) ?? {}).sort()).toEqual(
      ["name", "partition", "updated_at", "value", "version"].sort(),
    );
    expect(await item("workertown_kv_schema", namespace)).toMatchObject({ schema: { N: "1" }, shards: { N: "1" } });
  });

  it("is made once where ten start at once on an empty engine", async () => {
    const table = `made-${freshNamespace()}`;
    const all = Array.from({ length: 10 }, () => recorded({ table, namespace: "default" }));
    const steps = await Promise.all(all.map(({ storage }) => storage.migrate?.()));
    expect(steps.flat()).toEqual(["0001-create-table"]);
    await Promise.all(all.map(({ storage }, index) => storage.write([put(`k${index}`)], ONE)));
    const query = { prefix: "", cursor: null, limit: 100, valueBytes: null, now: NOW };
    expect((await all[0]?.storage.list(query))?.entries).toHaveLength(10);
    expect(await all[3]?.during(() => all[3]?.storage.get("k1"))).toEqual(["GetItem"]);
  });

  it("upgrades step by step, goes on where a step failed, and refuses what a newer version has made", async () => {
    const target = { send: send(), table: TABLE, namespace: freshNamespace(), shards: 1 };
    await migrateTable(target);
    let runs = 0;
    let broken = true;
    const next: Migration[] = [
      { name: "0001-create-table", run: () => Promise.reject(new Error("It has run already")) },
      { name: "0002-next", run: async () => void runs++ },
      { name: "0003-last", run: () => (broken ? Promise.reject(new Error("broken")) : Promise.resolve()) },
    ];
    await expect(migrateTable(target, next)).rejects.toThrow("broken");
    broken = false;
    const steps = await Promise.all(Array.from({ length: 10 }, () => migrateTable(target, next)));
    expect(steps.flat()).toEqual(["0003-last"]);
    expect(runs).toBe(1);
    const { storage, asked } = recorded({ namespace: target.namespace });
    const error = await failure(storage.write([put("k")], ONE));
    expect(error).toMatchObject({
      code: "unavailable",
      message:
        "The database was made by a newer version (its schema is 3, this version knows 1); update @workertown/kv",
    });
    expect(asked.map(({ action }) => action)).toEqual(["GetItem"]);
  });

  it("is not served with another number of shards, nor in a table with another key", async () => {
    const { storage, namespace } = recorded({ shards: 4 });
    await storage.migrate?.();
    const error = await failure(recorded({ namespace, shards: 8 }).storage.get("k"));
    expect(error).toMatchObject({ code: "unavailable" });
    expect(error.message).toContain("was made with shards: 4, which cannot change; got shards: 8");
    await send()("CreateTable", {
      TableName: "others",
      BillingMode: "PAY_PER_REQUEST",
      AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
      KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
    });
    await until(async () => {
      const { body } = await send()<{ Table: { TableStatus: string } }>("DescribeTable", { TableName: "others" });
      return body.Table?.TableStatus === "ACTIVE";
    });
    expect((await failure(recorded({ table: "others" }).storage.get("k"))).message).toContain(
      "The table others has another key than partition (S, HASH) and name (B, RANGE)",
    );
  });
});

describe("dynamodb: requests", () => {
  it("are one for what is single, with a condition or without", async () => {
    const { storage, during } = recorded();
    expect(await during(() => storage.write([put("k")], ONE))).toEqual(["PutItem"]);
    expect(await during(() => storage.write([put("k", "2", { ifNoneMatch: "*" })], ONE))).toEqual(["PutItem"]);
    expect(await during(() => storage.get("k"))).toEqual(["GetItem"]);
    expect(await during(() => storage.getMany?.(["k", "k", "none"], 100))).toEqual(["BatchGetItem"]);
    expect(await during(() => storage.write([remove("k")], ONE))).toEqual(["DeleteItem"]);
    expect(await during(() => storage.write([], ONE))).toEqual([]);
    expect(await during(() => storage.getMany?.([], 100))).toEqual([]);
  });

  it("are 40 for 1,000 puts, 10 for 1,000 reads, whatever is said twice", async () => {
    const { storage, during, asked } = recorded();
    const keys = names(1000);
    const puts = [...keys.map((key) => put(key, "0")), ...keys.slice(0, 500).map((key) => put(key, `"${key}"`))];
    expect(await during(() => storage.write(puts, ONE))).toEqual(Array(40).fill("BatchWriteItem"));
    const many = () => storage.getMany?.([...keys, "k0000"], 1_000_000);
    expect(await during(many)).toEqual(Array(11).fill("BatchGetItem"));
    const found = (await many()) ?? [];
    expect(found.map((each) => each?.value && decoder.decode(each.value))).toEqual([
      ...keys.map((key, index) => (index < 500 ? `"${key}"` : "0")),
      `"k0000"`,
    ]);
    asked.length = 0;
    await storage.getMany?.(keys, 0);
    expect(JSON.stringify(asked)).not.toContain("#value");
    const list = { prefix: "k", cursor: null, limit: 999, now: NOW };
    expect(await during(() => storage.list({ ...list, valueBytes: null }))).toEqual(["Query"]);
    expect(JSON.stringify(asked)).not.toContain("#value");
    expect(await during(() => storage.list({ ...list, valueBytes: 1_000_000 }))).toEqual(["Query"]);
  });

  it("of a mixed batch are single where a condition or a delete asks what is there", async () => {
    const { storage, during } = recorded();
    await storage.write([put("there")], ONE);
    const operations = [
      put("a"),
      remove("a"),
      put("b"),
      remove("there"),
      put("there", "2", { ifNoneMatch: "*" }),
      put("there", "3", { ifNoneMatch: "*" }),
      remove("none"),
    ];
    let outcomes: unknown;
    const asked = await during(async () => {
      outcomes = await storage.write(operations, ONE);
    });
    expect(outcomes).toEqual(["written", "deleted", "written", "deleted", "written", "refused", "absent"]);
    expect(asked.sort()).toEqual(["BatchWriteItem", "DeleteItem", "DeleteItem", "PutItem", "PutItem"]);
    expect(await text(storage, "there")).toBe("2");
    expect(await storage.get("a")).toBeNull();
  });

  it("of an atomic batch are one where nothing must be known, and two at most where nobody else writes", async () => {
    const { storage, during } = recorded();
    const write = (...operations: WriteOperation[]) => during(() => storage.write(operations, ALL));
    expect(await write(put("a"), put("b"), put("a", "2"))).toEqual(["TransactWriteItems"]);
    expect(await write(get("a"), get("b"))).toEqual(["TransactGetItems"]);
    expect(await write(get("a"))).toEqual(["BatchGetItem"]);
    expect(await write(put("a", "3", { ifMatch: "*" }), remove("none"), get("b"))).toEqual([
      "BatchGetItem",
      "TransactWriteItems",
    ]);
    expect(await write(put("c"), put("a", "4", { ifNoneMatch: "*" }))).toEqual(["BatchGetItem"]);
    expect(await storage.get("c")).toBeNull();
  });

  it("carry bytes for keys, and bounds within the prefix", async () => {
    const { storage, asked } = recorded();
    await storage.write([put("a\0\u{10000}")], ONE);
    await storage.list({ prefix: "a", cursor: "a\0", limit: 1, valueBytes: null, now: NOW });
    const values = asked.at(-1)?.input.ExpressionAttributeValues as Record<string, { B: string }>;
    expect(values[":lower"]?.B).toBe(Buffer.from("a\0\0").toString("base64"));
    expect(values[":upper"]?.B).toBe(Buffer.from([0x61, 0xff]).toString("base64"));
    expect(asked.at(-1)?.input.ConsistentRead).toBe(true);
  });
});

describe("dynamodb: limits", () => {
  it("of key, value, metadata and namespace together stay within an item's 409,600 bytes", async () => {
    const { asked, ...rest } = recorded({ namespace: "n".repeat(512), shards: 64 });
    const { capabilities } = rest.storage;
    const letters = (bytes: number) => `"${"é".repeat((bytes - 2) / 2)}"`;
    const key = "k".repeat(capabilities.maxKey);
    const longest = entry(letters(capabilities.maxValue), {
      metadata: letters(capabilities.maxMetadata),
      expiresAt: 8_640_000_000_000_000,
      version: "v".repeat(1024),
    });
    await rest.storage.write([{ kind: "put", key, entry: longest }], ONE);
    const item = asked.at(-1)?.input.Item as Record<string, { S?: string; B?: string; N?: string }>;
    const sizes = Object.entries(item).map(([name, { S, B, N }]) => {
      const value = B === undefined ? encoder.encode(S ?? N).length : Buffer.from(B, "base64").length;
      return name.length + value;
    });
    expect(sizes.reduce((sum, size) => sum + size, 100)).toBeLessThanOrEqual(409_600);
    expect((await rest.storage.get(key))?.value.length).toBe(capabilities.maxValue);
    const page = { prefix: key, cursor: null, limit: 1, valueBytes: null, now: NOW };
    expect((await rest.storage.list(page)).entries.map((found) => found.key)).toEqual([key]);
    expect((await rest.storage.list({ ...page, cursor: key })).entries).toEqual([]);
    const bounds = asked.at(-1)?.input.ExpressionAttributeValues as Record<string, { B: string }>;
    // A bound is held to the size of a key, which dynalite does not check.
    for (const bound of [":lower", ":upper"]) {
      expect(Buffer.from(bounds[bound]?.B ?? "", "base64").length).toBe(1024);
    }
  });

  it("of a page, 1 MB, do not show: lists and many reads go on after it", async () => {
    const { storage, during } = recorded();
    const keys = names(9);
    const long = `"${"x".repeat(300_000)}"`;
    expect(
      await during(() =>
        storage.write(
          keys.map((key) => put(key, long)),
          ONE,
        ),
      ),
    ).toEqual(["BatchWriteItem"]);
    const list = { prefix: "k", cursor: null, limit: 100, now: NOW };
    const bare = await storage.list({ ...list, valueBytes: null });
    expect([bare.entries.map(({ key }) => key), bare.cursor]).toEqual([keys, null]);
    const full = await storage.list({ ...list, valueBytes: 10_000_000 });
    expect(full.entries.map(({ value }) => value?.length)).toEqual(keys.map(() => long.length));
    const some = await storage.list({ ...list, valueBytes: 700_000 });
    expect([some.entries.length, some.cursor]).toEqual([3, "k0002"]);
    const many = await storage.getMany?.(keys, 1_000_000);
    expect(many?.map((found) => found?.value?.length ?? null)).toEqual(
      keys.map((_, index) => (index < 3 ? long.length : null)),
    );
  });

  it("of a batch request are kept: large values go in several", async () => {
    const { storage, during } = recorded();
    const long = `"${'\\"'.repeat(190_000)}"`;
    const asked = await during(() =>
      storage.write(
        names(20).map((key) => put(key, long)),
        ONE,
      ),
    );
    expect(asked).toEqual(["BatchWriteItem", "BatchWriteItem"]);
    expect(await text(storage, "k0019")).toBe(long);
  });

  it("of a transaction are told: what it reads or replaces counts too", async () => {
    const { storage } = recorded();
    const long = `"${"x".repeat(390_000)}"`;
    const keys = names(12);
    await storage.write(
      keys.map((key) => put(key, long)),
      ONE,
    );
    expect(await failure(storage.write(keys.map(get), ALL))).toMatchObject({ code: "too_large" });
    expect(await failure(storage.write([...keys.map(remove), put("new")], ALL))).toMatchObject({ code: "too_large" });
    expect(await storage.get("new")).toBeNull();
    const { operations, bytes } = storage.capabilities.atomic as { operations: number; bytes: number };
    const most = names(operations, "m").map((key) => put(key, `"${"x".repeat(bytes / operations - 2)}"`));
    expect(await storage.write(most, ALL)).toEqual(Array(operations).fill("written"));
  });

  it("of an expression are kept: a condition with many versions, odd ones too", async () => {
    const { storage, during } = recorded();
    const there = entry("1", { version: "right" });
    await storage.write([{ kind: "put", key: "k", entry: there }], ONE);
    const others = names(300);
    const odd = ["", "\ud800", "é", "a b", "x".repeat(100_000)];
    const write = (condition: Condition) => storage.write([put("k", "2", condition)], ONE);
    expect(await write({ ifMatch: others })).toEqual(["refused"]);
    expect(await write({ ifMatch: odd })).toEqual(["refused"]);
    expect(await write({ ifNoneMatch: [...others, "right"] })).toEqual(["refused"]);
    expect(await during(() => write({ ifMatch: [...odd, ...names(98), "right"] }))).toEqual(["PutItem"]);
    const again = { ...there, value: encoder.encode("3") };
    await storage.write([{ kind: "put", key: "k", entry: again }], ONE);
    expect(await during(() => write({ ifMatch: [...others, "right"] }))).toEqual([
      "BatchGetItem",
      "TransactWriteItems",
    ]);
    expect(await write({ ifNoneMatch: odd })).toEqual(["written"]);
  });

  it("of what has expired: a list passes thousands in a few requests and ends all the same", async () => {
    const { storage, during } = recorded();
    const keys = names(2500);
    const gone = { expiresAt: NOW - 1 };
    await storage.write(
      keys.map((key) => ({ kind: "put", key, entry: entry("1", gone) })),
      ONE,
    );
    await storage.write([put("k9")], ONE);
    const query = { prefix: "", limit: 2, valueBytes: null, now: NOW };
    let cursor: string | null = null;
    const seen: string[] = [];
    let pages = 0;
    const asked = await during(async () => {
      do {
        const page = await storage.list({ ...query, cursor });
        seen.push(...page.entries.map(({ key }) => key));
        cursor = page.cursor;
        pages++;
      } while (cursor !== null);
    });
    expect([seen, pages]).toEqual([["k9"], 1]);
    expect(asked.length).toBeLessThan(14);
  });
});

describe("dynamodb: shards", () => {
  const suite = storageConformance({ large: false }).filter(({ name }) =>
    /^(keys|list|budgets|expiry|batches)/.test(name),
  );
  it.each(suite.map((test) => [test.name, test] as const))("%s", async (_, { run, skip }) => {
    const { storage } = recorded({ shards: 3 });
    if (skip?.(storage.capabilities)) return;
    await run(adapterSubject(storage, { now: Date.now() }));
  });

  it("share the keys, and a page reads little more of them than it shows", async () => {
    const { storage, namespace, asked } = recorded({ shards: 8 });
    const keys = names(800);
    await storage.write(
      keys.map((key) => put(key)),
      ONE,
    );
    const counts = await Promise.all(
      Array.from({ length: 8 }, async (_, shard) => {
        const { body } = await send()<{ Count: number }>("Query", {
          TableName: TABLE,
          Select: "COUNT",
          KeyConditionExpression: "#p = :p",
          ExpressionAttributeNames: { "#p": "partition" },
          ExpressionAttributeValues: { ":p": { S: `${namespace}#${shard}` } },
        });
        return body.Count as number;
      }),
    );
    expect(counts.reduce((sum, count) => sum + count)).toBe(800);
    expect(Math.min(...counts)).toBeGreaterThan(60);
    asked.length = 0;
    const page = await storage.list({ prefix: "", cursor: "k0099", limit: 100, valueBytes: null, now: NOW });
    expect(page).toMatchObject({ cursor: "k0199" });
    expect(page.entries.map(({ key }) => key)).toEqual(keys.slice(100, 200));
    const looked = asked.reduce((sum, { input }) => sum + (input.Limit as number), 0);
    expect(looked).toBeLessThan(300);
  });

  it("that hold many keys in a row are asked again before the next shard's keys are shown", async () => {
    const { storage } = recorded({ shards: 8 });
    const row = names(2000)
      .filter((key) => shardOf(key, 8) === 0)
      .slice(0, 100);
    const last = names(50, "z").find((key) => shardOf(key, 8) === 1) as string;
    await storage.write(
      [...row, last].map((key) => put(key)),
      ONE,
    );
    const query = { prefix: "", limit: 60, valueBytes: null, now: NOW };
    const first = await storage.list({ ...query, cursor: null });
    expect([first.entries.map(({ key }) => key), first.cursor]).toEqual([row.slice(0, 60), row[59]]);
    const rest = await storage.list({ ...query, cursor: first.cursor });
    expect([rest.entries.map(({ key }) => key), rest.cursor]).toEqual([[...row.slice(60), last], null]);
  });
});

describe("dynamodb: transactions, as the tests' own fake has them", () => {
  it("a plain read of many and a list may see a part of an atomic batch, the reads of an atomic one do not", async () => {
    await using slow = await startDynamodb({ applyMs: 400 });
    const storage = slow.open("slow");
    await storage.write([put("a", "0"), put("b", "0")], ONE);
    const written = storage.write([put("a", "1"), put("b", "1")], ALL);
    await until(async () => (await text(storage, "a")) === "1");
    const [many, page, outcomes] = await Promise.all([
      storage.getMany?.(["a", "b"], 100),
      storage.list({ prefix: "", cursor: null, limit: 10, valueBytes: 100, now: NOW }),
      storage.write([get("a"), get("b")], ALL),
      written,
    ]);
    const texts = (found: readonly ({ value: Uint8Array | null } | null)[] = []) =>
      found.map((each) => each?.value && decoder.decode(each.value));
    expect(texts(many)).toEqual(["1", "0"]);
    expect(texts(page.entries)).toEqual(["1", "0"]);
    expect(texts(outcomes.map((outcome) => (typeof outcome === "object" ? outcome.found : null)))).toEqual(["1", "1"]);
  });

  it("a single write that meets a transaction waits for it, and so does another transaction", async () => {
    await using slow = await startDynamodb({ applyMs: 100 });
    const storage = slow.open("slow");
    await storage.migrate?.();
    const first = storage.write([put("a", "1"), put("b", "1")], ALL);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await Promise.all([
      storage.write([put("a", "2")], ONE),
      storage.write([put("b", "2"), put("c", "2")], ONE),
      storage.write([put("b", "3", { ifMatch: "*" }), put("d", "3")], ALL),
      first,
    ]);
    expect(await text(storage, "a")).toBe("2");
    expect(await text(storage, "c")).toBe("2");
    expect(["2", "3"]).toContain(await text(storage, "b"));
  });

  it("a batch whose keys change between its read and its write decides anew", async () => {
    await using faults = await startFaults(engine.endpoint);
    const { storage, namespace } = recorded({ endpoint: faults.endpoint });
    const other = engine.open(namespace);
    await storage.write([put("n", "1")], ONE);
    const { version } = (await storage.get("n")) as StoredEntry;
    faults.script = async (action, turn) => {
      if (action === "TransactWriteItems" && turn === 0) await other.write([put("n", "2")], ONE);
      return undefined;
    };
    const operations = [put("n", "3", { ifMatch: [version] }), put("m", "3")];
    expect(await storage.write(operations, ALL)).toContain("refused");
    expect([await text(storage, "n"), await text(storage, "m")]).toEqual(["2", null]);
  });
});

const UNKNOWN = "The database cannot be used at the moment; the outcome of the write is unknown";
const UNAVAILABLE = "The database cannot be used at the moment";

/** A storage behind a proxy that can be told to fail, and what a call does under that. */
async function faulty() {
  const faults = await startFaults(engine.endpoint);
  const { storage } = recorded({ endpoint: faults.endpoint, client: undefined, credentials: CREDENTIALS });
  await storage.write([put("k", "1")], ONE);

  /** What a call does while the requests for an action fail in these ways. */
  async function under(action: string, ways: Faults["script"], call: () => unknown) {
    let turn = 0;
    faults.script = (asked, _, input) => (asked === action ? ways(asked, turn++, input) : undefined);
    faults.actions.length = 0;
    const began = performance.now();
    const error = await failure(call());
    faults.script = () => undefined;
    const outcome = error.message === "It did not fail" ? null : error;
    if (outcome !== null) expect(`${outcome.message} ${outcome.cause}`).not.toContain("secret-key");
    return { error: outcome, asked: faults.actions.length, took: performance.now() - began };
  }
  return { storage, under, [Symbol.asyncDispose]: () => faults[Symbol.asyncDispose]() };
}

describe("dynamodb: faults", () => {
  let storage: StorageAdapter;
  let under: Awaited<ReturnType<typeof faulty>>["under"];
  let end: () => PromiseLike<void>;
  beforeAll(async () => {
    const { [Symbol.asyncDispose]: dispose, ...made } = await faulty();
    ({ storage, under } = made);
    end = dispose;
  });
  afterAll(() => end());

  it.each([
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "TransactionConflictException",
  ])("%s: asked again", async (type) => {
    const twice = await under(
      "PutItem",
      (_, turn) => (turn < 2 ? refused(type) : undefined),
      () => storage.write([put("k", `"${type}"`)], ONE),
    );
    expect([twice.error, twice.asked]).toEqual([null, 3]);
    expect(await text(storage, "k")).toBe(`"${type}"`);
  });

  it("a server error: a read is asked again, a write is not and says that its outcome is unknown", async () => {
    const wrong = { status: 500, body: { __type: "com.amazonaws.dynamodb.v20120810#InternalServerError" } };
    const read = await under(
      "GetItem",
      (_, turn) => (turn < 2 ? wrong : undefined),
      () => storage.get("k"),
    );
    expect([read.error, read.asked]).toEqual([null, 3]);
    for (const [action, call] of [
      ["PutItem", () => storage.write([put("k")], ONE)],
      ["DeleteItem", () => storage.write([remove("k")], ONE)],
      ["BatchWriteItem", () => storage.write([put("x"), put("y")], ONE)],
      ["TransactWriteItems", () => storage.write([put("x"), put("y")], ALL)],
    ] as const) {
      const write = await under(action, () => wrong, call);
      expect(write.error, action).toMatchObject({ code: "unavailable", message: UNKNOWN });
      expect(write.asked, action).toBe(1);
    }
  });

  it.each([
    "AccessDeniedException",
    "UnrecognizedClientException",
    "ExpiredTokenException",
    "InvalidSignatureException",
    "ResourceNotFoundException",
  ])("%s: unavailable at once, with the cause for the log alone", async (type) => {
    const message = "Not you.\n\nThe Canonical String should have been\nx-amz-security-token:session-secret-key";
    const read = await under(
      "GetItem",
      () => refused(type, message),
      () => storage.get("k"),
    );
    expect(read.error).toMatchObject({ code: "unavailable", message: UNAVAILABLE });
    expect(String(read.error?.cause)).toBe(`Error: DynamoDB refused GetItem: ${type}: Not you.`);
    expect(read.asked).toBe(1);
    const write = await under(
      "PutItem",
      () => refused(type, message),
      () => storage.write([put("k")], ONE),
    );
    expect(write.error).toMatchObject({ code: "unavailable", message: UNAVAILABLE });
  });

  it("what only a wrong request is answered with stays an error of ours", async () => {
    const { error } = await under(
      "GetItem",
      () => refused("ValidationException", "bad"),
      () => storage.get("k"),
    );
    expect(error).not.toBeInstanceOf(KvError);
    expect(error?.message).toBe("DynamoDB refused GetItem: ValidationException: bad");
  });

  it("a connection that is lost: the outcome of a write is unknown, before its answer or after it was done", async () => {
    for (const way of ["cut", "cut after"] as const) {
      const write = await under(
        "PutItem",
        () => way,
        () => storage.write([put(way, "1")], ONE),
      );
      expect(write.error).toMatchObject({ code: "unavailable", message: UNKNOWN });
      expect(await text(storage, way)).toBe(way === "cut" ? null : "1");
    }
    const read = await under(
      "GetItem",
      () => "cut",
      () => storage.get("k"),
    );
    expect(read.error).toMatchObject({ code: "unavailable", message: UNAVAILABLE });
  });

  it("a connection that is refused: nothing was sent, and nothing is unknown", async () => {
    const gone = await faulty();
    await gone[Symbol.asyncDispose]();
    const error = await failure(gone.storage.write([put("k")], ONE));
    expect(error).toMatchObject({ code: "unavailable", message: UNAVAILABLE });
  });

  it("what a batch left undone is asked for again, and only that", async () => {
    let left: unknown;
    const undone = (name: "Unprocessed", input: Record<string, unknown>) => {
      const requests = (input.RequestItems as Record<string, unknown[]>)[TABLE] as unknown[];
      left = requests.slice(1);
      return { status: 200, body: { [`${name}Items`]: { [TABLE]: left } } };
    };
    const keys = names(3, "undone");
    const write = await under(
      "BatchWriteItem",
      (_, turn, input) => {
        if (turn === 0) return undone("Unprocessed", input);
        expect((input.RequestItems as Record<string, unknown>)[TABLE]).toEqual(left);
        return undefined;
      },
      () =>
        storage.write(
          keys.map((key) => put(key)),
          ONE,
        ),
    );
    expect([write.error, write.asked]).toEqual([null, 2]);
    expect((await storage.getMany?.(keys, 100))?.map((found) => found === null)).toEqual([true, false, false]);

    let found: unknown;
    const read = await under(
      "BatchGetItem",
      (_, turn, input) => {
        const { [TABLE]: given } = input.RequestItems as Record<string, { Keys: object[] }>;
        if (turn < 2) return { status: 200, body: { Responses: {}, UnprocessedKeys: { [TABLE]: given } } };
        return undefined;
      },
      async () => {
        found = await storage.getMany?.(keys, 100);
      },
    );
    expect([read.error, read.asked]).toEqual([null, 3]);
    expect(found).toHaveLength(3);
  });

  it("where one of several requests is refused, the outcome is unknown", async () => {
    const operations = [put("x"), put("y"), put("z", "1", { ifNoneMatch: "*" })];
    const { error } = await under(
      "PutItem",
      () => refused("AccessDeniedException"),
      () => storage.write(operations, ONE),
    );
    expect(error).toMatchObject({ code: "unavailable", message: UNKNOWN });
    // Its own request may still be on its way.
    await expect.poll(() => storage.get("x")).not.toBeNull();
  });

  it("pages in which nothing lives: a list stops after 16, and the next goes on from there", async () => {
    let page: unknown;
    const { error, asked } = await under(
      "Query",
      (_, turn) => {
        const name = { B: base64(`k${String(turn).padStart(2, "0")}`) };
        return { status: 200, body: { Items: [], LastEvaluatedKey: { partition: { S: "any" }, name } } };
      },
      async () => {
        page = await storage.list({ prefix: "", cursor: null, limit: 10, valueBytes: null, now: NOW });
      },
    );
    expect([error, asked, page]).toEqual([null, 16, { entries: [], cursor: "k15" }]);
  });
});

describe.concurrent("dynamodb: faults that stay end", () => {
  it("throttling, after two seconds", async () => {
    await using given = await faulty();
    const { storage, under } = given;
    const always = await under(
      "GetItem",
      () => refused("ThrottlingException"),
      () => storage.get("k"),
    );
    expect(always.error).toMatchObject({ code: "unavailable", message: UNAVAILABLE });
    expect(String(always.error?.cause)).toContain("ThrottlingException");
    expect(always.took).toBeLessThan(2500);
  });

  it("no answer, after four seconds", async () => {
    await using given = await faulty();
    const { storage, under } = given;
    const { error, took } = await under(
      "PutItem",
      () => "hang",
      () => storage.write([put("k")], ONE),
    );
    expect(error).toMatchObject({ code: "unavailable", message: UNKNOWN });
    expect(took).toBeGreaterThan(3900);
    expect(took).toBeLessThan(5500);
  });

  it("items that are never processed", async () => {
    await using given = await faulty();
    const { storage, under } = given;
    const keys = names(3);
    const never = (_: string, __: number, input: Record<string, unknown>) => {
      const { RequestItems } = input;
      return { status: 200, body: { UnprocessedItems: RequestItems, UnprocessedKeys: RequestItems } };
    };
    const endless = await under("BatchWriteItem", never, () =>
      storage.write(
        keys.map((key) => put(key)),
        ONE,
      ),
    );
    expect(endless.error).toMatchObject({ code: "unavailable", message: UNKNOWN });
    const blind = await under("BatchGetItem", never, () => storage.getMany?.(keys, 100));
    expect(blind.error).toMatchObject({ code: "unavailable", message: UNAVAILABLE });
  });

  it("transactions that are always cancelled, and those that are wrong at once", async () => {
    await using given = await faulty();
    const { storage, under } = given;
    const write = () => storage.write([put("a"), put("b")], ALL);
    const cancelled = (Code: string, Message?: string) =>
      refused("TransactionCanceledException", "cancelled", {
        CancellationReasons: [{ Code, Message }, { Code: "None" }],
      });
    const conflict = await under("TransactWriteItems", () => cancelled("TransactionConflict"), write);
    expect(conflict.error).toMatchObject({ code: "unavailable", message: UNAVAILABLE });
    expect(conflict.took).toBeLessThan(7000);
    const wrong = await under("TransactWriteItems", () => cancelled("ValidationError", "odd"), write);
    expect(wrong.error?.message).toBe("DynamoDB refused TransactWriteItems: cancelled odd");
    expect(wrong.error).not.toBeInstanceOf(KvError);
    const large = await under("TransactWriteItems", () => cancelled("ValidationError", "Item size exceeded"), write);
    expect(large.error).toMatchObject({ code: "too_large" });
  });
});

describe("dynamodb: options", () => {
  const good = { table: "kv_table", region: REGION, credentials: CREDENTIALS };
  const client = { sign: () => Promise.reject(new Error("never")) };
  it.each([
    ["table", { table: "k" }],
    ["table", { table: "a/b" }],
    ["table", { table: undefined }],
    ["region", { region: "" }],
    ["region", { region: undefined }],
    ["region", { region: "evil.example/" }],
    ["endpoint", { endpoint: "ftp://host" }],
    ["endpoint", { endpoint: "nonsense" }],
    ["endpoint", { endpoint: "http://user:dynamodb-password@host" }],
    ["credentials", { credentials: undefined }],
    ["credentials", { credentials: { accessKeyId: "a", secretAccessKey: "" } }],
    ["credentials", { credentials: "dynamodb-password" }],
    ["credentials", { client }],
    ["client", { credentials: undefined, client: {} }],
    ["namespace", { namespace: "" }],
    ["namespace", { namespace: "\ud800" }],
    ["namespace", { namespace: "n".repeat(513) }],
    ["shards", { shards: 0 }],
    ["shards", { shards: 65 }],
    ["shards", { shards: 1.5 }],
  ])("%s: %j is refused at once", (path, wrong) => {
    const make = () => dynamodbStorage({ ...good, ...wrong } as DynamodbStorageOptions);
    expect(make).toThrow(TypeError);
    expect(make).toThrow(new RegExp(`^${path}: Expected (?!.*password)`));
  });

  it("come from a URL and the variables of AWS", () => {
    const env = {
      AWS_ACCESS_KEY_ID: "id",
      AWS_SECRET_ACCESS_KEY: "secret",
      AWS_SESSION_TOKEN: "",
      AWS_REGION: "eu-west-1",
    };
    const credentials = { accessKeyId: "id", secretAccessKey: "secret", sessionToken: undefined };
    expect(dynamodbOptions("dynamodb://My_Table.kv-1", env)).toEqual({
      table: "My_Table.kv-1",
      region: "eu-west-1",
      endpoint: undefined,
      credentials,
      namespace: undefined,
      shards: undefined,
    });
    const url = "dynamodb://kv_table?region=eu-central-1&endpoint=http://127.0.0.1:8000&shards=8&namespace=a%2Fb";
    expect(dynamodbOptions(url, { ...env, AWS_SESSION_TOKEN: "token" })).toEqual({
      table: "kv_table",
      region: "eu-central-1",
      endpoint: "http://127.0.0.1:8000",
      credentials: { ...credentials, sessionToken: "token" },
      namespace: "a/b",
      shards: 8,
    });
    const { AWS_REGION: _, ...regionless } = env;
    expect(dynamodbOptions("dynamodb://kv_table", { ...regionless, AWS_DEFAULT_REGION: "x-1" }).region).toBe("x-1");
    for (const [wrong, variables, message] of [
      ["dynamodb://kv_table", regionless, /^AWS_REGION: Expected/],
      ["dynamodb://kv_table", { AWS_REGION: "x-1" }, /^AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY: Expected/],
      ["dynamodb://id:password@kv_table", env, /^url: Expected no credentials/],
      ["dynamodb://kv_table?shard=8", env, /^url: Expected no parameters but .*, got shard$/],
      ["dynamodb://", env, /^url: Expected dynamodb/],
      ["dynamodb://a b", env, /^url: Expected dynamodb/],
    ] as const) {
      expect(() => dynamodbOptions(wrong, variables), wrong).toThrow(message);
    }
    expect(() => dynamodbStorage(dynamodbOptions("dynamodb://kv_table?shards=many", env))).toThrow(/^shards: Expected/);
  });

  it("the client may be one of aws4fetch's own", async () => {
    const client = new AwsClient({ ...CREDENTIALS, region: REGION, service: "dynamodb" });
    expect(await recorded({ client }).storage.get("k")).toBeNull();
  });

  it("credentials may be a function, asked before each request; what it cannot tell is unavailable", async () => {
    await using faults = await startFaults(engine.endpoint);
    const seen: (string | null)[] = [];
    let turn = 0;
    let broken = false;
    const credentials = async () => {
      if (broken) throw new TypeError("fetch failed");
      return { ...CREDENTIALS, accessKeyId: `ID${turn++}`, sessionToken: `token-${turn}` };
    };
    const { storage } = recorded({ endpoint: faults.endpoint, client: undefined, credentials });
    const { fetch: original } = globalThis;
    globalThis.fetch = (input, init) => {
      const headers = new Headers(init?.headers);
      seen.push(headers.get("Authorization"), headers.get("X-Amz-Security-Token"));
      return original(input, init);
    };
    try {
      await storage.get("k");
      await storage.get("k");
    } finally {
      globalThis.fetch = original;
    }
    const authorizations = seen.filter((header) => header?.startsWith("AWS4-HMAC-SHA256 "));
    expect(new Set(authorizations).size).toBe(turn);
    expect(authorizations.at(-1)).toMatch(
      /^AWS4-HMAC-SHA256 Credential=ID\d+\/\d{8}\/eu-central-1\/dynamodb\/aws4_request, SignedHeaders=host;x-amz-date;x-amz-security-token;x-amz-target, Signature=[0-9a-f]{64}$/,
    );
    expect(seen.at(-1)).toBe(`token-${turn}`);
    broken = true;
    expect(await failure(storage.get("k"))).toMatchObject({ code: "unavailable" });
    broken = false;
    expect(await storage.get("k")).toBeNull();
  });
});

describe("dynamodb: Workers", () => {
  it("the example runs on workerd", async () => {
    const bundle = await build({
      entryPoints: ["examples/dynamodb/worker.ts"],
      bundle: true,
      minify: true,
      format: "esm",
      conditions: ["workertown-source", "workerd", "worker", "browser"],
      alias: { "@workertown/kv/storage/dynamodb": "./src/storage/dynamodb.ts", "@workertown/kv": "./src/index.ts" },
      write: false,
    });
    const script = bundle.outputFiles[0]?.text ?? "";
    expect(script).not.toMatch(/["']node:/);
    const miniflare = new Miniflare({
      modules: true,
      script,
      compatibilityDate: "2026-07-01",
      bindings: {
        KV_API_KEY: KEY,
        KV_DB: `dynamodb://${TABLE}?region=${REGION}&endpoint=${engine.endpoint}&namespace=${freshNamespace()}`,
        AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
        AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
      },
      cf: false,
    });
    try {
      const call = async (method: string, path: string, body?: object) => {
        const response = await miniflare.dispatchFetch(`http://kv/v1/kv${path}`, {
          method,
          headers: { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" },
          ...(body && { body: JSON.stringify(body) }),
        });
        // biome-ignore lint/suspicious/noExplicitAny: a test looks into answers of any shape
        return { status: response.status, json: (await response.json()) as any };
      };
      expect((await call("PUT", "/k", { value: { x: [1.5, "é"] } })).status).toBe(200);
      expect((await call("GET", "/k")).json.data).toEqual({ x: [1.5, "é"] });
      const operations = [
        { op: "put", key: "a", value: 1, ifNoneMatch: "*" },
        { op: "delete", key: "k" },
        { op: "get", key: "a" },
      ];
      expect((await call("POST", "", { operations, atomic: true })).status).toBe(200);
      expect((await call("POST", "", { operations, atomic: true })).status).toBe(412);
      expect((await call("GET", "?prefix=")).json.data.keys.map(({ name }: { name: string }) => name)).toEqual(["a"]);
    } finally {
      await miniflare.dispose();
    }
  });
});
