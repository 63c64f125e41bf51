import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { memoryStorage } from "../../src/storage/memory.ts";
import { KEY, startService, type TestService } from "../support.ts";

const clock = { now: 1_700_000_000_000 };
const READER = "reader-0123456789abcdef";
let service: TestService;

beforeAll(async () => {
  service = await startService({
    runtime: { storage: memoryStorage(), now: () => clock.now },
    auth: {
      apiKey: {
        apiKey: [
          { key: KEY, scope: "admin" },
          { key: READER, scope: "read" },
        ],
      },
    },
  });
});
afterAll(() => service[Symbol.asyncDispose]());
beforeEach(async () => {
  await batch(["a", "b", "c", ".", ".."].map((key) => ({ op: "delete", key })));
});

const send = (body: unknown, headers?: Record<string, string>) =>
  service.call("POST", "/v1/kv", { body, ...(headers && { headers }) });
const batch = (operations: unknown[], atomic?: boolean) => send({ operations, ...(atomic && { atomic }) });
const get = (key: string) => service.call("GET", `/v1/kv/${key}`);

describe("a batch", () => {
  it("answers each operation in its order as the single route would, and a put without its value", async () => {
    const { status, text, json } = await batch([
      { op: "get", key: "a" },
      { op: "put", key: "a", value: 1, metadata: { m: 1 }, ttl: 60 },
      { op: "get", key: "a" },
      { op: "delete", key: "a" },
      { op: "delete", key: "a" },
      { op: "get", key: "a" },
    ]);
    expect(status).toBe(200);
    const missing = {
      status: 404,
      success: false,
      data: null,
      error: "not_found",
      detail: 'No value under key "a"',
    };
    const etag = json.data[1].etag;
    expect(etag).toMatch(/^"[\w-]+"$/);
    const attributes = { metadata: { m: 1 }, expiration: 1_700_000_060, etag };
    expect(json.data).toEqual([
      missing,
      { status: 200, success: true, data: null, ...attributes },
      { status: 200, success: true, data: 1, ...attributes },
      { status: 200, success: true, data: true },
      { status: 200, success: true, data: false },
      missing,
    ]);
    expect(text.startsWith('{"status":200,"success":true,"data":[{"status":404')).toBe(true);
  });

  it("keeps the text of values, and holds the keys that no path can carry", async () => {
    const body = '{"operations":[{"op":"put","key":".","value":[ 1.0 ]},{"op":"put","key":"..","value":1E400}]}';
    expect((await send(body)).status).toBe(200);
    const { text } = await batch([
      { op: "get", key: "." },
      { op: "get", key: ".." },
    ]);
    expect(text).toContain('"data":[ 1.0 ],');
    expect(text).toContain('"data":1E400,');
  });

  it("of none is an empty answer, of 1,000 one answer, of 1,001 too_large", async () => {
    expect((await batch([])).json.data).toEqual([]);
    expect((await batch([], true)).json.data).toEqual([]);
    const gets = Array.from({ length: 1000 }, (_, index) => ({ op: "get", key: `k${index}` }));
    expect((await batch(gets)).json.data).toHaveLength(1000);
    const refused = await batch([...gets, { op: "get", key: "x" }]);
    expect(refused).toMatchObject({ status: 413, json: { error: "too_large" } });
    expect(refused.json.detail).toContain("1000");
  });

  it("of gets needs the scope read, with any write the scope write", async () => {
    const headers = { Authorization: `Bearer ${READER}` };
    expect((await send({ operations: [{ op: "get", key: "a" }] }, headers)).status).toBe(200);
    for (const write of [
      { op: "put", key: "a", value: 1 },
      { op: "delete", key: "a" },
    ]) {
      const refused = await send({ operations: [{ op: "get", key: "a" }, write] }, headers);
      expect(refused).toMatchObject({ status: 403, json: { error: "forbidden" } });
    }
    expect((await get("a")).status).toBe(404);
  });

  it("judges expiry by the service's clock", async () => {
    await batch([{ op: "put", key: "a", value: 1, ttl: 1 }]);
    clock.now += 999;
    expect((await batch([{ op: "get", key: "a" }])).json.data[0].status).toBe(200);
    clock.now += 1;
    const operations = [
      { op: "get", key: "a" },
      { op: "put", key: "a", value: 2, ifNoneMatch: "*" },
    ];
    expect((await batch(operations)).json.data).toMatchObject([{ status: 404 }, { status: 200 }]);
  });
});

describe("conditions", () => {
  it("count for their own operation, and see what earlier ones left", async () => {
    const { json } = await batch([
      { op: "put", key: "a", value: 1, ifNoneMatch: "*" },
      { op: "put", key: "a", value: 2, ifNoneMatch: "*" },
      { op: "put", key: "b", value: 3 },
      { op: "delete", key: "c", ifMatch: "*" },
    ]);
    expect(json.data).toMatchObject([
      { status: 200 },
      { status: 412, success: false, error: "precondition_failed" },
      { status: 200 },
      { status: 412 },
    ]);
    expect((await get("a")).json.data).toBe(1);
    const etag = json.data[0].etag;
    const reads = await batch([
      { op: "get", key: "a", ifNoneMatch: `W/${etag}` },
      { op: "get", key: "a", ifMatch: `"other", ${etag}` },
      { op: "get", key: "a", ifMatch: '"other"' },
    ]);
    expect(reads.json.data).toEqual([
      { status: 304, success: true, data: null, etag },
      { status: 200, success: true, data: 1, etag },
      expect.objectContaining({ status: 412, error: "precondition_failed" }),
    ]);
  });
});

describe("an atomic batch", () => {
  it("happens whole", async () => {
    const { json } = await batch(
      [
        { op: "put", key: "a", value: 1, ifNoneMatch: "*" },
        { op: "get", key: "a" },
        { op: "put", key: "b", value: 2 },
      ],
      true,
    );
    expect(json.data).toMatchObject([{ status: 200 }, { status: 200, data: 1 }, { status: 200 }]);
  });

  it("or not at all: 412 with the indexes of those that failed", async () => {
    await batch([{ op: "put", key: "b", value: 0 }]);
    const refused = await batch(
      [
        { op: "put", key: "a", value: 1 },
        { op: "put", key: "b", value: 1, ifNoneMatch: "*" },
        { op: "get", key: "c", ifMatch: "*" },
      ],
      true,
    );
    expect(refused).toMatchObject({ status: 412, json: { error: "precondition_failed", failed: [1, 2] } });
    expect((await get("a")).status).toBe(404);
    expect((await get("b")).json.data).toBe(0);
  });
});

describe("a batch that can be seen to be wrong is refused whole", () => {
  const sound = { op: "put", key: "a", value: 1 };

  it.each([
    [{ op: "move", key: "b" }, "invalid_request", 'operations.1.op: Expected one of "get", "put", "delete"'],
    [{ key: "b" }, "invalid_request", "operations.1.op"],
    [{ op: "put", key: "b" }, "invalid_request", "operations.1.value: Missing"],
    [{ op: "get", key: "b", value: 1 }, "invalid_request", "operations.1.value: Unknown member"],
    [{ op: "get" }, "invalid_request", "operations.1.key: Missing"],
    [{ op: "get", key: 1 }, "invalid_request", "operations.1.key: Expected a key"],
    [{ op: "get", key: "" }, "invalid_key", "operations.1.key"],
    [{ op: "get", key: "\ud800" }, "invalid_key", "operations.1.key"],
    [{ op: "get", key: "x".repeat(513) }, "too_large", "operations.1.key"],
    [{ op: "put", key: "b", value: 1, ttl: -1 }, "invalid_request", "operations.1.ttl"],
    [{ op: "put", key: "b", value: 1, expiration: 1 }, "invalid_request", "operations.1.expiration"],
    [{ op: "put", key: "b", value: 1, metadata: "x".repeat(1023) }, "too_large", "operations.1.metadata"],
    [{ op: "get", key: "b", ifMatch: "abc" }, "invalid_request", "operations.1.ifMatch"],
    ["get", "invalid_request", "operations.1: Expected an operation"],
  ])("%j: %s", async (operation, error, issue) => {
    const refused = await batch([sound, operation, sound]);
    expect(refused.json).toMatchObject({ success: false, error });
    const [{ path, message }] = refused.json.issues;
    expect(`${path}: ${message}`).toContain(issue);
    expect((await get("a")).status).toBe(404);
  });

  it("with an issue for each, and the code of the first", async () => {
    const refused = await batch([sound, { op: "get", key: "x".repeat(513) }, { op: "get", key: "" }]);
    expect(refused).toMatchObject({ status: 413, json: { error: "too_large" } });
    expect(refused.json.issues.map(({ path }: { path: string }) => path)).toEqual([
      "operations.1.key",
      "operations.2.key",
    ]);
  });

  it.each(['{"operations":{}}', "{}", "[]", '{"operations":[],"atomic":1}', '{"operations":[],"more":1}'])(
    "%s",
    async (body) => {
      expect(await send(body)).toMatchObject({ status: 400, json: { error: "invalid_request" } });
    },
  );
});

describe("an engine that lacks something", () => {
  it("and has no room for one operation, refuses a batch whole, and of an import that line only", async () => {
    const { KvError } = await import("../../src/index.ts");
    const check = ({ key }: { key: string }) => {
      if (key !== "bad") return;
      throw new KvError("too_large", "No room", { issues: [{ path: "key", message: "No room" }] });
    };
    await using small = await startService({ runtime: { storage: { ...memoryStorage(), check } } });
    const operations = ["a", "bad", "c"].map((key) => ({ op: "put", key, value: 1 }));
    const refused = await small.call("POST", "/v1/kv", { body: { operations } });
    expect(refused).toMatchObject({ status: 413, json: { issues: [{ path: "operations.1.key" }] } });
    expect((await small.call("GET", "/v1/kv")).json.data.keys).toEqual([]);
    const { json } = await small.call("POST", "/admin/import", {
      body: operations.map(({ key, value }) => JSON.stringify({ key, value })).join("\n"),
      headers: { "Content-Type": "application/x-ndjson" },
    });
    expect(json.data).toMatchObject({ imported: 2, failed: [{ line: 2, error: "too_large" }] });
  });

  it("refuses with 501 before anything is done", async () => {
    const memory = memoryStorage();
    const capabilities = { ...memory.capabilities, conditional: false, atomic: { operations: 2, bytes: 4 } };
    await using limited = await startService({ runtime: { storage: { ...memory, capabilities } } });
    const post = (body: unknown) => limited.call("POST", "/v1/kv", { body });
    const put = { op: "put", key: "a", value: 1 };
    for (const body of [
      { operations: [put, { ...put, ifNoneMatch: "*" }] },
      { operations: [put, put, put], atomic: true },
      { operations: [put, { ...put, value: 1234 }], atomic: true },
    ]) {
      expect(await post(body)).toMatchObject({ status: 501, json: { error: "unsupported" } });
      expect((await limited.call("GET", "/v1/kv/a")).status).toBe(404);
    }
    expect((await post({ operations: [put, put], atomic: true })).status).toBe(200);
  });

  it("that fails in the middle says so of each operation that it concerns", async () => {
    const memory = memoryStorage();
    const { KvError } = await import("../../src/index.ts");
    const storage = {
      ...memory,
      write: (...given: Parameters<typeof memory.write>) => {
        if (given[0].some(({ key }) => key === "bad")) throw new KvError("storage_full", "The disk is full");
        return memory.write(...given);
      },
    };
    await using failing = await startService({ runtime: { storage } });
    const operations = [
      { op: "put", key: "a", value: 1 },
      { op: "get", key: "a" },
      { op: "put", key: "bad", value: 1 },
      { op: "get", key: "a" },
    ];
    const { json } = await failing.call("POST", "/v1/kv", { body: { operations } });
    expect(json.data.map(({ status }: { status: number }) => status)).toEqual([200, 200, 507, 200]);
  });
});

it("an answer holds 100 MiB of values, and a get that would go over is too_large in its place", async () => {
  const value = `"${"x".repeat(20 * 1024 * 1024)}"`;
  for (const key of ["a", "b", "c"]) {
    await service.call("PUT", `/v1/kv/${key}`, { body: `{"value":${value}}`, headers: { Prefer: "return=minimal" } });
  }
  await service.call("PUT", "/v1/kv/small", { body: { value: 1 } });
  const keys = ["a", "b", "c", "a", "b", "small", "c"];
  const { json } = await batch(keys.map((key) => ({ op: "get", key })));
  expect(json.data.map(({ status }: { status: number }) => status)).toEqual([200, 200, 200, 200, 413, 200, 413]);
  expect(json.data[5].data).toBe(1);
  expect(json.data[2].data).toHaveLength(20 * 1024 * 1024);
});
