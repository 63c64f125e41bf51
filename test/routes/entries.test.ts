import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { memoryStorage } from "../../src/storage/memory.ts";
import { request, startService, type TestService } from "../support.ts";

const clock = { now: 1_700_000_000_000 };
let service: TestService;

beforeAll(async () => {
  service = await startService({ runtime: { storage: memoryStorage(), now: () => clock.now } });
});
afterAll(() => service[Symbol.asyncDispose]());

const put = (key: string, body: unknown, headers?: Record<string, string>) =>
  service.call("PUT", `/v1/kv/${encodeURIComponent(key)}`, { body, ...(headers && { headers }) });
const get = (key: string, headers?: Record<string, string>) =>
  service.call("GET", `/v1/kv/${encodeURIComponent(key)}`, headers && { headers });

describe("values", () => {
  it.each([
    "9007199254740993",
    "1.0",
    "1E400",
    "-0",
    '{"__proto__":1}',
    '{"a":1,"a":2}',
    "null",
    '""',
    "[ 1 ,\n 2 ]",
    '"\\ud800"',
    `${"[".repeat(512)}${"]".repeat(512)}`,
  ])("%.40s comes back as the text that it was", async (text) => {
    const stored = await put("text", `{ "value" : ${text} }`);
    expect(stored.status).toBe(200);
    expect(stored.text).toBe(`{"status":200,"success":true,"data":${text}}`);
    const read = await get("text");
    expect(read.text).toBe(stored.text);
    expect(read.headers.get("Content-Type")).toBe("application/json");
  });

  it("a stored null is a value, a missing key is not_found", async () => {
    await put("null", { value: null });
    expect(await get("null")).toMatchObject({ status: 200, json: { success: true, data: null } });
    expect(await get("absent")).toMatchObject({
      status: 404,
      json: { status: 404, success: false, data: null, error: "not_found", detail: 'No value under key "absent"' },
    });
  });

  it("of 25 MiB go in and out unchanged, one byte more is too_large", async () => {
    const text = `"${"x".repeat(26_214_400 - 2)}"`;
    expect((await put("large", `{"value":${text}}`, { Prefer: "return=minimal" })).json.data).toBeNull();
    expect((await get("large")).text === `{"status":200,"success":true,"data":${text}}`).toBe(true);
    expect(await put("large", `{"value":"x${text.slice(1)}}`)).toMatchObject({
      status: 413,
      json: { error: "too_large" },
    });
    expect((await get("large")).text).toHaveLength(26_214_400 + '{"status":200,"success":true,"data":}'.length);
  });

  it("nested 513 deep are invalid_value", async () => {
    const text = `${"[".repeat(513)}${"]".repeat(513)}`;
    expect(await put("deep", `{"value":${text}}`)).toMatchObject({ status: 400, json: { error: "invalid_value" } });
  });
});

describe("keys", () => {
  it.each([
    "a/b",
    "a_b",
    "A/b",
    "a/b/",
    "a%2Fb",
    "/",
    "//",
    " ",
    "😀",
    "\u0000",
    "a\nb",
    "\u2028",
    "+",
    "?",
    "#",
    "é",
    "e\u0301",
    "x".repeat(512),
    "__proto__",
    "a/../b",
  ])("%j is a key of its own", async (key) => {
    await put(key, { value: `value of ${key}` });
    expect((await get(key)).json.data).toBe(`value of ${key}`);
    const { json } = await service.call("GET", `/v1/kv?prefix=${encodeURIComponent(key)}&limit=1`);
    expect(json.data.keys[0].name).toBe(key);
  });

  it("a slash may stand as it is or encoded: a/b and a%2Fb in a path are one key", async () => {
    await service.call("PUT", "/v1/kv/one/two", { body: { value: 1 } });
    expect((await service.call("GET", "/v1/kv/one%2Ftwo")).json.data).toBe(1);
  });

  it.each([
    ["/v1/kv/", "invalid_key", 400],
    ["/v1/kv/%ff", "invalid_key", 400],
    ["/v1/kv/%", "invalid_key", 400],
    ["/v1/kv/%ed%a0%80", "invalid_key", 400],
    [`/v1/kv/${"x".repeat(513)}`, "too_large", 413],
  ])("%.30s is refused as %s", async (path, error, status) => {
    for (const method of ["GET", "PUT", "DELETE"]) {
      const answer = await service.call(method, path, method === "PUT" ? { body: { value: 1 } } : {});
      expect(answer).toMatchObject({ status, json: { error } });
    }
  });
});

describe("expiry", () => {
  it("is exact to the millisecond, and what is gone can be created again", async () => {
    await put("ttl", { value: 1, ttl: 1.5 });
    expect((await get("ttl")).json).toMatchObject({ data: 1, expiration: 1_700_000_001.5 });
    clock.now += 1499;
    expect((await get("ttl")).status).toBe(200);
    clock.now += 1;
    expect((await get("ttl")).status).toBe(404);
    expect((await service.call("GET", "/v1/kv?prefix=ttl")).json.data.keys).toEqual([]);
    expect((await service.call("DELETE", "/v1/kv/ttl")).json.data).toBe(false);
    expect((await put("ttl", { value: 2 }, { "If-None-Match": "*" })).status).toBe(200);
    expect((await get("ttl")).json).toEqual({ status: 200, success: true, data: 2 });
  });

  it("a write without ttl clears an earlier expiry and metadata", async () => {
    await put("cleared", { value: 1, ttl: 60, metadata: { a: 1 } });
    await put("cleared", { value: 2, ttl: null, metadata: null });
    expect((await get("cleared")).json).toEqual({ status: 200, success: true, data: 2 });
  });

  it.each([{ ttl: 0 }, { ttl: -1 }, { ttl: "60" }, { expiration: 1 }, { ttl: 60, expiration: 2e9 }, { ttl: 1e15 }])(
    "%j is refused with an issue that names the member",
    async (expiry) => {
      const answer = await put("refused", { value: 1, ...expiry });
      expect(answer).toMatchObject({ status: 400, json: { error: "invalid_request" } });
      expect(Object.keys(expiry)).toContain(answer.json.issues[0].path);
      expect((await get("refused")).status).toBe(404);
    },
  );
});

describe("metadata", () => {
  it("comes back as its text with reads and lists", async () => {
    await put("meta", '{"value":1,"metadata":{"n": 1.0}}');
    expect((await get("meta")).text).toContain(',"metadata":{"n": 1.0}}');
    expect((await service.call("GET", "/v1/kv?prefix=meta")).text).toContain('"metadata":{"n": 1.0}');
  });

  it("over 1,024 bytes is too_large and names the limit", async () => {
    expect((await put("meta", { value: 1, metadata: "x".repeat(1022) })).status).toBe(200);
    const refused = await put("meta", { value: 2, metadata: "x".repeat(1023) });
    expect(refused).toMatchObject({ status: 413, json: { error: "too_large" } });
    expect(refused.json.detail).toContain("1024");
    expect((await get("meta")).json.data).toBe(1);
  });
});

describe("conditions", () => {
  it("If-None-Match: * creates only, If-Match replaces only that version", async () => {
    const created = await put("cas", { value: 1 }, { "If-None-Match": "*" });
    const etag = created.headers.get("ETag") as string;
    expect(etag).toMatch(/^"[\w-]+"$/);
    expect(await put("cas", { value: 2 }, { "If-None-Match": "*" })).toMatchObject({
      status: 412,
      json: { error: "precondition_failed" },
    });
    const replaced = await put("cas", { value: 3 }, { "If-Match": `"other", ${etag}` });
    expect(replaced.status).toBe(200);
    expect(replaced.headers.get("ETag")).not.toBe(etag);
    expect((await put("cas", { value: 4 }, { "If-Match": etag })).status).toBe(412);
    expect((await service.call("DELETE", "/v1/kv/cas", { headers: { "If-Match": etag } })).status).toBe(412);
    expect((await get("cas")).json.data).toBe(3);
    expect((await put("none", { value: 1 }, { "If-Match": "*" })).status).toBe(412);
    expect((await get("none")).status).toBe(404);
  });

  it("the same value written again has another ETag", async () => {
    const first = await put("again", { value: 1 });
    const second = await put("again", { value: 1 });
    expect(first.headers.get("ETag")).not.toBe(second.headers.get("ETag"));
  });

  it("a matching If-None-Match on a read answers 304 without a body, weak tags included", async () => {
    const etag = (await put("read", { value: 1 })).headers.get("ETag") as string;
    for (const tag of [etag, `W/${etag}`, `"x", ${etag}`, "*"]) {
      const answer = await get("read", { "If-None-Match": tag });
      expect([answer.status, answer.text, answer.headers.get("ETag")]).toEqual([304, "", etag]);
    }
    expect((await get("read", { "If-None-Match": '"x"' })).status).toBe(200);
  });

  it("weak tags never match strongly, and If-Match holds on a read", async () => {
    const etag = (await put("strong", { value: 1 })).headers.get("ETag") as string;
    expect((await get("strong", { "If-Match": etag })).status).toBe(200);
    expect((await get("strong", { "If-Match": `W/${etag}` })).status).toBe(412);
    expect((await put("strong", { value: 2 }, { "If-Match": `W/${etag}` })).status).toBe(412);
  });

  it("a malformed condition is refused, not ignored", async () => {
    for (const headers of [{ "If-Match": "abc" }, { "If-None-Match": '"a' }, { "If-Match": '"a" "b"' }]) {
      expect(await put("bad", { value: 1 }, headers)).toMatchObject({
        status: 400,
        json: { error: "invalid_request" },
      });
    }
    expect((await get("bad")).status).toBe(404);
  });

  it("of 100 concurrent creates exactly one wins", async () => {
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, value) => put("race", { value }, { "If-None-Match": "*" })),
    );
    const winners = answers.filter(({ status }) => status === 200);
    expect(winners).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 412)).toHaveLength(99);
    expect((await get("race")).json.data).toBe(winners[0]?.json.data);
  });
});

describe("bodies", () => {
  it.each([
    ["", /empty|Empty/],
    ["{", /JSON/],
    ['{"value":1,}', /JSON/],
    ['{"value":1,"value":2}', /twice|uplicate/],
    ['{"value":1,"extra":2}', /extra: Unknown member/],
    ['{"value":1,"__proto__":2}', /__proto__/],
    ["{}", /value: Missing/],
    ["[]", /object/],
    ["1", /object/],
  ])("%s is invalid_request", async (body, detail) => {
    const answer = await put("body", body);
    expect(answer).toMatchObject({ status: 400, json: { error: "invalid_request" } });
    expect(answer.json.detail).toMatch(detail);
    expect(answer.json.issues.length).toBeGreaterThan(0);
  });

  it.each(["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "application/json; charset=latin1"])(
    "of %s are unsupported_media_type",
    async (type) => {
      const answer = await put("type", '{"value":1}', { "Content-Type": type });
      expect(answer).toMatchObject({ status: 415, json: { error: "unsupported_media_type" } });
    },
  );

  it.each([
    "application/json",
    "text/json",
    "application/problem+json",
    "application/vnd.a+b+json",
    "Application/JSON; charset=UTF-8",
  ])("of %s are taken", async (type) => {
    expect((await put("type", '{"value":1}', { "Content-Type": type })).status).toBe(200);
  });

  it("with a byte order mark are taken, with Content-Encoding refused", async () => {
    expect((await put("bom", '\ufeff{"value":1}')).status).toBe(200);
    expect((await put("bom", '{"value":1}', { "Content-Encoding": "gzip" })).status).toBe(415);
  });
});

describe("where several refusals apply", () => {
  it("credential, then route and method, media type, key, body", async () => {
    const wrong = { Authorization: "Bearer wrong", "Content-Type": "text/plain" };
    const error = async (method: string, path: string, headers: Record<string, string>, body?: string) =>
      (await service.call(method, path, { headers, ...(body !== undefined && { body }) })).json.error;
    expect(await error("PATCH", "/v1/kv/%ff", wrong, "{")).toBe("unauthorized");
    expect(await error("PATCH", "/v1/kv/%ff", { "Content-Type": "text/plain" }, "{")).toBe("method_not_allowed");
    expect(await error("PUT", "/v1/kv/%ff", { "Content-Type": "text/plain" }, "{")).toBe("unsupported_media_type");
    expect(await error("PUT", "/v1/kv/%ff", {}, "{")).toBe("invalid_key");
    expect(await error("GET", "/v1/kv/", { "If-Match": "zz" })).toBe("invalid_key");
    expect(await error("DELETE", "/v1/kv/", { "If-Match": "zz" })).toBe("invalid_key");
    expect(await error("PUT", "/v1/kv/a", { "If-None-Match": "*" }, "{")).toBe("invalid_request");
  });
});

describe("delete", () => {
  it("says whether there was a value, and leaves the neighbours", async () => {
    await put("gone", { value: 1 });
    await put("gone/too", { value: 2 });
    expect((await service.call("DELETE", "/v1/kv/gone")).json).toEqual({ status: 200, success: true, data: true });
    expect((await service.call("DELETE", "/v1/kv/gone")).json.data).toBe(false);
    expect((await get("gone/too")).json.data).toBe(2);
  });
});

describe("list", () => {
  it("walks in the byte order of UTF-8 with cursors that are only good for their prefix", async () => {
    const names = ["l/a", "l/b", "l/é", "l/\uffff", "l/\u{10000}"];
    for (const name of [...names].reverse()) await put(name, { value: name });
    const seen: string[] = [];
    let cursor = "";
    do {
      const path = `/v1/kv?prefix=l/&limit=2&include=values${cursor && `&cursor=${cursor}`}`;
      const { json } = await service.call("GET", path);
      for (const entry of json.data.keys) {
        expect(entry.value).toBe(entry.name);
        expect(entry.etag).toMatch(/^"[\w-]+"$/);
        seen.push(entry.name);
      }
      expect(json.data.list_complete).toBe(json.data.cursor === undefined);
      cursor = json.data.cursor ?? "";
      if (cursor) expect((await service.call("GET", `/v1/kv?prefix=m/&cursor=${cursor}`)).status).toBe(400);
    } while (cursor !== "");
    expect(seen).toEqual(names);
  });

  it.each([
    "limit=0",
    "limit=1001",
    "limit=1.5",
    "limit=",
    "limit=1e2",
    "limit=1&limit=1",
    "unknown=1",
    "__proto__=1",
    "include=all",
    "cursor=abc",
    "cursor=",
    "prefix=%ff",
    "prefix=%",
    "%ff=1",
    `prefix=${"x".repeat(513)}`,
  ])("?%.20s is refused", async (query) => {
    expect(await service.call("GET", `/v1/kv?${query}`)).toMatchObject({
      status: 400,
      json: { error: "invalid_request" },
    });
  });
});

it("a cursor of another storage engine is refused", async () => {
  await using other = await startService({ runtime: { storage: { ...memoryStorage(), engine: "another" } } });
  for (const key of ["a", "b"]) await other.call("PUT", `/v1/kv/${key}`, { body: { value: 1 } });
  const { cursor } = (await other.call("GET", "/v1/kv?limit=1")).json.data;
  expect((await other.call("GET", `/v1/kv?cursor=${cursor}`)).status).toBe(200);
  expect(await service.call("GET", `/v1/kv?cursor=${cursor}`)).toMatchObject({
    status: 400,
    json: { error: "invalid_request" },
  });
});

describe("methods", () => {
  it("HEAD answers as GET does, without the body", async () => {
    const etag = (await put("head", { value: 1 })).headers.get("ETag");
    const answer = await service.call("HEAD", "/v1/kv/head");
    expect([answer.status, answer.text, answer.headers.get("ETag")]).toEqual([200, "", etag]);
    expect((await service.call("HEAD", "/v1/kv/absent")).status).toBe(404);
  });

  it.each([
    ["POST", "/v1/kv/a", "GET, HEAD, PUT, DELETE, OPTIONS"],
    ["PATCH", "/v1/kv/a", "GET, HEAD, PUT, DELETE, OPTIONS"],
    ["PUT", "/v1/kv", "GET, HEAD, POST, OPTIONS"],
    ["DELETE", "/admin/info", "GET, HEAD, OPTIONS"],
    ["POST", "/health", "GET, HEAD, OPTIONS"],
  ])("%s %s is 405 with Allow", async (method, path, allow) => {
    const answer = await request(service.url + path, method);
    expect(answer).toMatchObject({ status: 405, json: { error: "method_not_allowed" } });
    expect(answer.headers.get("Allow")).toBe(allow);
  });

  it("OPTIONS answers 204 with Allow", async () => {
    const answer = await service.call("OPTIONS", "/v1/kv/a");
    expect([answer.status, answer.headers.get("Allow")]).toEqual([204, "GET, HEAD, PUT, DELETE, OPTIONS"]);
  });
});
