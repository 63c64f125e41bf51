/** What the server answers by itself and what the app answers must be the same, to the byte. */
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KvError } from "../src/core/errors.ts";
import type { KvOptions } from "../src/index.ts";
import { kv } from "../src/index.ts";
import type { LogEntry } from "../src/log.ts";
import { createHttpServer } from "../src/node-http.ts";
import type { StorageAdapter } from "../src/storage/adapter.ts";
import { encodeCursor } from "../src/storage/cursor.ts";
import { memoryStorage } from "../src/storage/memory.ts";
import { sqliteStorage } from "../src/storage/sqlite.ts";
import { playHistory } from "./engines/history.ts";

const KEY = "admin-key-0123456789abcdef";
const READER = "reader-key-0123456789abcdef";

interface Side {
  port: number;
  lines: LogEntry[];
  errors: string[];
  fetch(request: Request): Promise<Response>;
  close(): Promise<unknown>;
}

const step = { now: 1_800_000_000_000, version: "v" };

/** Memory that answers later, as an engine elsewhere does. */
function later(storage: StorageAdapter): StorageAdapter {
  const wait = () => new Promise((resolve) => setImmediate(resolve));
  return {
    ...storage,
    get: (key) => wait().then(() => storage.get(key)),
    list: (query) => wait().then(() => storage.list(query)),
  };
}

const EMPTY = { value: new TextEncoder().encode("null"), metadata: null, expiresAt: null };

/** Fails for the keys that say so. */
function failing(storage: StorageAdapter): StorageAdapter {
  const fail = (key: string) => {
    if (key === "fails-unavailable") throw new KvError("unavailable", "Away", { cause: new Error("refused") });
    if (key === "fails-full") throw new KvError("storage_full", "Full");
    if (key === "fails-fault") throw new Error("A fault");
  };
  return {
    ...storage,
    get(key) {
      fail(key);
      // What no header field may hold.
      if (key === "fails-tag") return { ...EMPTY, version: "a\r\nX-Own: b" };
      return storage.get(key);
    },
    write(operations, options) {
      for (const { key } of operations) fail(key);
      return storage.write(operations, options);
    },
    list(query) {
      fail(query.prefix);
      return storage.list(query);
    },
  };
}

interface SideOptions extends KvOptions {
  async?: boolean;
  file?: boolean;
}

async function startSide(fast: boolean, { async = false, file = false, ...options }: SideOptions): Promise<Side> {
  const lines: LogEntry[] = [];
  const errors: string[] = [];
  const counts = new Map<string, number>();
  const folder = mkdtempSync(join(tmpdir(), "kv-fast-"));
  const storage = failing(file ? sqliteStorage({ path: join(folder, "kv.sqlite") }) : memoryStorage());
  const app = kv({
    auth: {
      apiKey: { apiKey: [KEY, { key: READER, scope: "read" }] },
      basic: { username: "ann", password: "pass:word" },
    },
    logger: (entry) => void lines.push(entry),
    onError: (error, { requestId, request }) =>
      void errors.push(`${error} ${requestId} ${request.method} ${request.url}`),
    runtime: {
      storage: async ? later(storage) : storage,
      now: () => step.now,
      version: () => {
        const count = (counts.get(step.version) ?? 0) + 1;
        counts.set(step.version, count);
        return `${step.version}${count}`;
      },
    },
    ...options,
  });
  await app.ready();
  const server = createHttpServer(app, { fast });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    port,
    lines,
    errors,
    fetch: (request) => {
      const { pathname, search } = new URL(request.url);
      const headers = new Headers(request.headers);
      headers.set("Authorization", `Bearer ${KEY}`);
      const { method } = request;
      const init = { method, headers, ...(request.body && { body: request.body, duplex: "half" as const }) };
      return fetch(`http://127.0.0.1:${port}${pathname}${search}`, init);
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await app.close();
      rmSync(folder, { recursive: true });
    },
  };
}

/** What comes back for raw bytes, until the server ends the connection: the header fields sorted, without the date. */
async function raw(port: number, text: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.setTimeout(3000, () => socket.destroy(new Error("No answer")));
  socket.write(text, "latin1");
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  // Refusals of the parser have an id of their own.
  const answer = Buffer.concat(chunks)
    .toString("latin1")
    .replaceAll(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g, "an-id");
  return answer
    .split(/(?=HTTP\/1\.1 \d{3} )/)
    .map((one) => {
      const [head = "", ...body] = one.split("\r\n\r\n");
      const [status, ...fields] = head.split("\r\n");
      const kept = fields
        .filter((field) => !/^date:/i.test(field))
        .map((field) => field.replace(/^[^:]+/, (name) => name.toLowerCase()));
      return [status, ...kept.sort(), "", body.join("\r\n\r\n")].join("\n");
    })
    .join("\n");
}

/** The same on a connection that stays for one request more. */
function keptAlive(text: string): string {
  const last = "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: same\r\nConnection: close\r\n\r\n";
  return text.replace("Connection: close\r\n", "") + last;
}

const AUTH = `Authorization: Bearer ${KEY}`;
const JSON_FIELD = "Content-Type: application/json";

function request(line: string, fields: readonly string[] = [], body = ""): string {
  const own = ["Host: localhost", "X-Request-Id: same", "Connection: close", ...fields];
  if (body !== "" && !fields.some((field) => /^(content-length|transfer-encoding)/i.test(field))) {
    own.push(`Content-Length: ${Buffer.byteLength(body, "latin1")}`);
  }
  const named = own.filter((_, index) => index > 0 || !fields.some((other) => /^host:/i.test(other)));
  return `${line} HTTP/1.1\r\n${named.join("\r\n")}\r\n\r\n${body}`;
}

const get = (target: string, ...fields: string[]) => request(`GET ${target}`, [AUTH, ...fields]);
const put = (target: string, body: string, ...fields: string[]) =>
  request(`PUT ${target}`, [AUTH, JSON_FIELD, ...fields], body);
const utf8 = (text: string) => Buffer.from(text).toString("latin1");

const post = (body: string, ...fields: string[]) => request("POST /v1/kv", [AUTH, JSON_FIELD, ...fields], body);
const batch = (operations: readonly object[], rest: object = {}) => post(utf8(JSON.stringify({ operations, ...rest })));
const list = (query: string, ...fields: string[]) => get(`/v1/kv${query}`, ...fields);

/** A cursor as the store gives it, for the engine of this test. */
const cursorAfter = (key: string, prefix: string) => encodeCursor(key, `memory ${prefix}`);

/** Lists and batches, beside the keys that other requests here have left. */
const COLLECTION: readonly string[] = [
  batch([
    { op: "put", key: "p:1", value: 1 },
    { op: "put", key: "p:2", value: "é😀", metadata: { by: "né", quote: '"' } },
    { op: "put", key: "p:é/😀", value: [{}], ttl: 60.5 },
    { op: "put", key: 'p:"\\\n', value: null },
    { op: "put", key: "p:soon", value: "gone in 3 ms", ttl: 0.003 },
    { op: "put", key: "p:later", value: 7, expiration: 4_000_000_000.25, metadata: "m" },
    { op: "get", key: "p:1" },
    { op: "get", key: "p:none" },
    { op: "delete", key: "p:none" },
  ]),
  ...[
    "",
    "?",
    "?limit=3",
    "?limit=1&prefix=p:",
    "?prefix=p%3A",
    "?prefix=p:&include=values",
    "?prefix=p:&limit=1000",
  ].map((query) => list(query)),
  ...[
    "?prefix=none",
    "?prefix=",
    "?limit=",
    "?limit=0",
    "?limit=1001",
    "?limit=01",
    "?limit=1.5",
    "?limit=x",
    "?limit",
  ].map((query) => list(query)),
  ...[
    "?include=keys",
    "?include=",
    "?other=1",
    "?prefix=a&prefix=b",
    "?prefix=%zz",
    "?prefix=%ED%A0%80",
    "?&&limit=2&",
  ].map((query) => list(query)),
  ...[
    "?prefix=p:+",
    "?prefix=%C3%A9",
    "?prefix=p:%C3%A9",
    "?prefix=%00",
    "?pre%66ix=p:",
    "?__proto__=1",
    "?prefix='",
  ].map((query) => list(query)),
  ...[
    "?prefix=a#b",
    "?prefix=a=b=c",
    "?prefix=a?b",
    "?prefix=a b",
    '?prefix="',
    "?prefix=\xe9",
    "?prefix=[",
    "?prefix=../.",
  ].map((query) => list(query)),
  list(`?prefix=${"k".repeat(600)}`),
  ...["no", cursorAfter("p:1", ""), cursorAfter("p:1", "p:"), `${cursorAfter("p:1", "p:")}x`, ""].map((cursor) =>
    list(`?prefix=p:&limit=2&cursor=${cursor}`),
  ),
  list("?prefix=p:&include=values&limit=2"),
  list("?prefix=large&include=values"),
  ...["unavailable", "fault"].map((what) => list(`?prefix=fails-${what}`)),
  list("?limit=2", "If-None-Match: *"),
  list("?limit=2", "Content-Length: 0"),
  list("/"),
  list("x"),
  list("//?limit=2"),
  ...["HEAD", "DELETE", "PUT", "OPTIONS"].map((method) => request(`${method} /v1/kv?limit=2`, [AUTH])),
  request("GET /v1/kv?limit=2"),
  request("GET /v1/kv?limit=2", [`Authorization: Bearer ${READER}`]),
  request("GET http://localhost/v1/kv?limit=2", [AUTH]),
  // Batches.
  ...[
    "",
    "null",
    "[]",
    "{}",
    '{"operations":{}}',
    '{"operations":[]}',
    '{"operations":[1]}',
    '{"operations":[{}]}',
  ].map((body) => post(body)),
  ...[
    '{"operations":[{"op":"get","key":"a","key":"b"}]}',
    '{"operations":[{"op":"get"}]}',
    '{"operations":[{"op":"get","key":1}]}',
    '{"operations":[{"op":"get","key":"a","value":1}]}',
    '{"operations":[{"op":"get","key":"a"}],"operations":[]}',
    '{"operations":[{"op":"put","key":"a"}]}',
    '{"operations":[{"op":"patch","key":"a"}]}',
    '{"operations":[{"op":"get","key":"a"},]}',
    '{"operations":[{"op":"get","key":"\xff"}]}',
    '{"operations":[{"\\u006fp":"get","k\\u0065y":"p:1"}]}',
    '{"operations":[{"op":"get","key":"\\ud800"},{"op":"get","key":""}]}',
    '{"operations":[{"op":"get","key":"p:1"}],"other":1}',
    '{"operations":[{"op":"get","key":"p:1"}],"atomic":1}',
    '\xef\xbb\xbf{"operations":[{"op":"get","key":"p:1"}]}',
    '{"operations":[{"op":"get","key":"p:1"}]}x',
    '{"operations":[{"op":"get","key":"p:1"}]',
    `{"operations":[{"op":"put","key":"deep","value":${"[".repeat(600)}${"]".repeat(600)}}]}`,
  ].map((body) => post(body)),
  batch([
    { op: "get", key: "k".repeat(600) },
    { op: "put", key: "", value: 1, ttl: 0 },
  ]),
  batch(Array.from({ length: 1001 }, () => ({ op: "get", key: "p:1" }))),
  batch(Array.from({ length: 300 }, (_, at) => ({ op: "get", key: `p:${at % 4}` }))),
  batch([{ op: "put", key: "p:big", value: "x".repeat(400_000) }]),
  batch(Array.from({ length: 8 }, () => ({ op: "get", key: "p:big" }))),
  list("?include=values&prefix=p:"),
  post(`{"operations":[{"op":"put","key":"p:big","value":"${"x".repeat(1_100_000)}"}]}`),
  list("?include=values&prefix=p:"),
  batch([{ op: "delete", key: "p:big" }]),
  ...[false, true].flatMap((atomic) => [
    batch(
      [
        { op: "put", key: "p:1", value: 2, ifMatch: '"no"' },
        { op: "put", key: "p:3", value: 3 },
      ],
      { atomic },
    ),
    batch(
      [
        { op: "put", key: "p:3", value: 3, ifNoneMatch: "*" },
        { op: "get", key: "p:3" },
      ],
      { atomic },
    ),
    batch(
      [
        { op: "get", key: "p:3", ifNoneMatch: "*" },
        { op: "get", key: "p:3", ifMatch: '"no"' },
      ],
      { atomic },
    ),
    batch(
      [
        { op: "get", key: "p:3", ifMatch: "no" },
        { op: "delete", key: "p:3", ifMatch: "*" },
      ],
      { atomic },
    ),
    batch(
      [
        { op: "delete", key: "p:3" },
        { op: "get", key: "p:3" },
      ],
      { atomic },
    ),
    batch(
      [
        { op: "get", key: "fails-fault" },
        { op: "get", key: "p:1" },
      ],
      { atomic },
    ),
    batch(
      [
        { op: "put", key: "fails-full", value: 1 },
        { op: "get", key: "p:1" },
      ],
      { atomic },
    ),
  ]),
  ...[[{ op: "get", key: "p:1" }], [{ op: "put", key: "mine", value: 1 }], []].map((operations) =>
    request("POST /v1/kv", [`Authorization: Bearer ${READER}`, JSON_FIELD], JSON.stringify({ operations })),
  ),
  request("POST /v1/kv", ["Authorization: Bearer wrong", JSON_FIELD], '{"operations":[]}'),
  request("POST /v1/kv", [AUTH], '{"operations":[]}'),
  request("POST /v1/kv", [AUTH, JSON_FIELD]),
  request("POST /v1/kv?x=1", [AUTH, JSON_FIELD], '{"operations":[]}'),
  request("POST /v1/kv/", [AUTH, JSON_FIELD], '{"operations":[]}'),
  request("POST /v1/kv", [AUTH, JSON_FIELD, "Transfer-Encoding: chunked"], '11\r\n{"operations":[]}\r\n0\r\n\r\n'),
  request("POST /v1/kv", [AUTH, JSON_FIELD, "Content-Length: 999999999"], ""),
  ...["Expect: 100-continue", "Prefer: return=minimal", "Content-Encoding: gzip", "If-Match: no"].map((field) =>
    post('{"operations":[{"op":"get","key":"p:1"}]}', field),
  ),
  post(`{"operations":[}${"x".repeat(300_000)}`),
  post(`{"operations":[${" ".repeat(900_000)}]}`),
];

/** In their order: what one stores another reads. */
const REQUESTS: readonly string[] = [
  put("/v1/kv/a", '{"value":{"n":9007199254740993,"x":[1.0]}}'),
  put("/v1/kv/meta", utf8('{"value":"é😀","metadata":{"by":"né"},"ttl":60.5}')),
  put("/v1/kv/latin", utf8('{"value":"é😀\u0000"}')),
  put("/v1/kv/ascii", '{ "value" : "plain" }'),
  put("/v1/kv/null", '{"value":null,"metadata":null,"expiration":4000000000.25}'),
  put("/v1/kv/large", `{"value":"${"x".repeat(40_000)}"}`),
  put("/v1/kv/larger", `{"value":"${"y".repeat(100_000)}"}`),
  ...[
    "a",
    "meta",
    "latin",
    "ascii",
    "null",
    "large",
    "larger",
    "none",
    "a%2Fb",
    "a/b",
    "%C3%A9",
    "%",
    "%zz",
    "%00",
  ].flatMap((key) => [
    get(`/v1/kv/${key}`),
    request(`HEAD /v1/kv/${key}`, [AUTH]),
    get(`/v1/kv/${key}`, "If-None-Match: *"),
    get(`/v1/kv/${key}`, 'If-Match: "v2", "other"'),
    get(`/v1/kv/${key}`, "If-None-Match: nonsense"),
    request(`DELETE /v1/kv/${key}x`, [AUTH]),
  ]),
  // Targets that a URL parser changes, or not.
  ...[
    "",
    "?",
    "?x=1",
    "a?x",
    "a#b",
    ".",
    "..",
    "a/.",
    "a/../b",
    "%2e",
    "%2E%2E",
    ".a",
    "a.",
    "a..b",
    "a//b",
    "//",
    "a b",
  ].map((key) => get(`/v1/kv/${key}`)),
  ...[
    'a"b',
    "a<b>",
    "a|b",
    "a\\b",
    "a^b",
    "a`b",
    "{a}",
    "[a]",
    "a\xe9",
    "a\x7f",
    "+",
    "a+b",
    "~!$&'()*,;=:@-_",
    "k".repeat(600),
  ].map((key) => get(`/v1/kv/${key}`)),
  ...["/v1/kv", "/v1//kv/a", "//v1/kv/a", "http://localhost/v1/kv/a", "http://other/v1/kv/a", "/V1/kv/a", "*", "/"].map(
    (target) => get(target),
  ),
  // Credentials.
  ...[
    "Bearer wrong",
    `bearer ${KEY}`,
    `BEARER   ${KEY}`,
    `Bearer ${KEY} `,
    `Bearer ${KEY}, Bearer x`,
    `Basic ${btoa("ann:pass:word")}`,
    `Basic ${btoa("ann:no")}`,
    "Basic",
    "",
    "Digest x",
    `Bearer ${READER}`,
  ].flatMap((credential) => {
    const fields = [`Authorization: ${credential}`];
    return [request("GET /v1/kv/a", fields), request("PUT /v1/kv/mine", [...fields, JSON_FIELD], '{"value":1}')];
  }),
  request("GET /v1/kv/a"),
  request("GET /v1/kv/a", [`X-API-Key: ${KEY}`]),
  request("GET /v1/kv/a", [AUTH, AUTH]),
  request("GET /v1/kv/a", [AUTH, "X-API-Key: wrong"]),
  request("GET /v1/kv/a", ["Authorization: Bearer wrong", `X-API-Key: ${KEY}`]),
  // Fields.
  get("/v1/kv/a", "X-Request-Id: second"),
  request("GET /v1/kv/a", [AUTH, "Host: localhost:99999"]),
  ...["a b", "1.2.3.999", "x:y", "[::1]", "[::1]:80", "user@host", "", "EXAMPLE.com:80", "é"].map((host) =>
    request("GET /v1/kv/a", [AUTH, `Host: ${host}`]),
  ),
  get("/v1/kv/a", "Content-Length: 0"),
  request("GET /v1/kv/a", [AUTH, JSON_FIELD], '{"value":1}'),
  get("/v1/kv/a", "Origin: https://elsewhere.example"),
  get("/v1/kv/a", "Expect: 100-continue"),
  get("/v1/kv/a", "Range: bytes=0-3"),
  get("/v1/kv/a", 'If-Match: "x"', 'If-Match: "v1"'),
  get("/v1/kv/a", 'If-None-Match: W/"v1"'),
  get("/v1/kv/a", 'If-Match: "v1"', 'If-None-Match: "v1"'),
  // Bodies.
  ...[
    "",
    "{}",
    "[]",
    "null",
    '{"value":1',
    '{"value":1}x',
    '{"value":1,"value":2}',
    '{"value":1,"other":2}',
    '{"value":}',
    '{"value":"\xff"}',
    '{"valu\\u0065":7}',
    '\xef\xbb\xbf{"value":1}',
    ' \n{"value":1}\n',
    '{"value":1,"ttl":0}',
    '{"value":1,"ttl":1,"expiration":9999999999}',
    '{"value":1,"ttl":"1"}',
    `{"value":${"[".repeat(600)}${"]".repeat(600)}}`,
    `{"value":1,"metadata":"${"m".repeat(2000)}"}`,
    `{"value":1,${" ".repeat(65_000)}"ttl":1}`,
  ].map((body) => put("/v1/kv/body", body)),
  put("/v1/kv/broken", `{"value":}${"x".repeat(300_000)}`),
  put("/v1/kv/broken", `{"value":"${"x".repeat(300_000)}`),
  put("/v1/kv/%zz", `{"value":"${"x".repeat(300_000)}"}`),
  ...[
    "If-None-Match: *",
    "If-Match: *",
    'If-Match: "no"',
    "If-Match: no",
    "Prefer: return=minimal",
    "Content-Encoding: gzip",
    "Content-Encoding: identity",
    "Expect: 100-continue",
    "Expect: other",
  ].map((field) => put("/v1/kv/a", '{"value":2}', field)),
  ...[
    "application/json; charset=utf-8",
    "application/json;charset=latin1",
    "text/plain",
    "Application/JSON",
    "application/merge+json",
    "",
  ].map((type) => request("PUT /v1/kv/a", [AUTH, `Content-Type: ${type}`], '{"value":3}')),
  request("PUT /v1/kv/a", [AUTH], '{"value":3}'),
  request("PUT /v1/kv/a", [AUTH, JSON_FIELD, "Transfer-Encoding: chunked"], 'b\r\n{"value":4}\r\n0\r\n\r\n'),
  request("PUT /v1/kv/a", [AUTH, JSON_FIELD, "Content-Length: 0"]),
  request("PUT /v1/kv/a", [AUTH, JSON_FIELD, "Content-Length: abc"], '{"value":4}'),
  request("PUT /v1/kv/a", [AUTH, JSON_FIELD, "Content-Length: 999999999"], ""),
  put("/v1/kv/", '{"value":1}'),
  put(`/v1/kv/${"k".repeat(600)}`, '{"value":1}'),
  ...["unavailable", "full", "fault"].flatMap((what) => [
    get(`/v1/kv/fails-${what}`),
    put(`/v1/kv/fails-${what}`, '{"value":1}'),
  ]),
  ...["POST", "PATCH", "OPTIONS", "TRACE", "get"].map((method) => request(`${method} /v1/kv/a`, [AUTH])),
  // Several on one connection.
  get("/v1/kv/a").replace("Connection: close\r\n", "") +
    put("/v1/kv/a", '{"value":5}').replace("Connection: close\r\n", "") +
    get("/v1/kv/a"),
  "GET /v1/kv/a HTTP/1.0\r\nX-Request-Id: same\r\n\r\n",
  `GET /v1/kv/a HTTP/1.0\r\n${AUTH}\r\nX-Request-Id: same\r\n\r\n`,
  `GET /v1/kv/a HTTP/1.1\r\n${AUTH}\r\nX-Request-Id: same\r\nConnection: close\r\n\r\n`,
  ...COLLECTION,
  list("?limit=2").replace("Connection: close\r\n", "") +
    batch([{ op: "get", key: "p:1" }]).replace("Connection: close\r\n", "") +
    list("?limit=1"),
];

describe.each([
  ["an engine in the process", {}],
  ["an engine elsewhere", { async: true }],
  ["an engine that keeps what it has read", { file: true }],
  ["other paths", { basePath: "/base", endpoints: { v1: { kv: "/keys" } } }],
  ["rates in reach", { access: { ip: ["127.0.0.0/8"], rateLimit: { limit: 1_000_000, window: 3600 } } }],
  ["rates that are over", { access: { rateLimit: { limit: 40, window: 3600 } } }],
  ["a proxy that names others", { access: { ip: ["192.0.2.0/24"], trustProxy: 1 } }],
  ["CORS", { cors: { origin: "https://elsewhere.example" } }],
  [
    "a callback",
    { auth: { apiKey: { apiKey: KEY }, authenticateRequest: (_: Request, principal: unknown) => principal as never } },
  ],
] as const)("with %s", (_name, options) => {
  let fast: Side;
  let slow: Side;
  beforeAll(async () => {
    fast = await startSide(true, options as KvOptions);
    slow = await startSide(false, options as KvOptions);
  });
  afterAll(() => Promise.all([fast.close(), slow.close()]));

  it("every request of the corpus is answered the same, twice over, and logged the same", {
    timeout: 60_000,
  }, async () => {
    for (const round of [1, 2]) {
      for (const [index, text] of REQUESTS.entries()) {
        const path = "basePath" in options ? text.replace("/v1/kv", "/base/keys") : text;
        const given = round === 1 ? path : keptAlive(path);
        step.version = `r${round}-${index}-`;
        const [byServer, byApp] = await Promise.all([raw(fast.port, given), raw(slow.port, given)]);
        expect(byServer, given.slice(0, 200)).toBe(byApp);
        step.now += 1;
      }
    }
    const shown = (side: Side) =>
      side.lines.map(({ time: _, duration: __, cause, requestId, ...line }) => ({
        ...line,
        requestId: requestId === "same" || requestId === "second" ? requestId : "an id",
        cause: cause?.split("\n")[0],
      }));
    expect(shown(fast)).toEqual(shown(slow));
    const urls = (side: Side) => side.errors.map((error) => error.replace(`:${side.port}`, ""));
    expect(urls(fast)).toEqual(urls(slow));
  });

  if ("basePath" in options) return;
  it("a random history is answered the same", { timeout: 60_000 }, async () => {
    const tick = (next: typeof step) => void Object.assign(step, next);
    await playHistory(fast, slow, { seed: 7, operations: 1500, atomic: true, tick });
  });
});

it("a version that no header field can hold is a fault, and nothing of it is sent", async () => {
  const [fast, slow] = [await startSide(true, {}), await startSide(false, {})];
  for (const method of ["GET", "HEAD"]) {
    for (const text of [request(`${method} /v1/kv/fails-tag`, [AUTH])].flatMap((one) => [one, keptAlive(one)])) {
      const [byServer, byApp] = await Promise.all([raw(fast.port, text), raw(slow.port, text)]);
      expect(byServer).toMatch(/^HTTP\/1\.1 500 /);
      expect(byServer).toBe(byApp);
    }
  }
  await Promise.all([fast.close(), slow.close()]);
});

describe("a credential that was accepted", () => {
  const secret = "s".repeat(40);
  const token = (exp: number) => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const signed = `${part({ alg: "HS256" })}.${part({ sub: "ann", exp })}`;
    return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
  };

  it("is not accepted for longer than it lives, however often it came", async () => {
    const side = await startSide(true, { auth: { jwt: { secret } } });
    const statusOf = async (credential: string) =>
      (await raw(side.port, request("GET /v1/kv/none", [`Authorization: Bearer ${credential}`]))).slice(9, 12);
    const exp = Math.floor(step.now / 1000) + 30;
    for (let turn = 0; turn < 3; turn++) expect(await statusOf(token(exp))).toBe("404");
    step.now = exp * 1000 + 4000;
    // Five seconds of skew are given.
    expect(await statusOf(token(exp))).toBe("404");
    step.now = exp * 1000 + 5000;
    expect(await statusOf(token(exp))).toBe("401");
    expect(await statusOf(`${token(exp + 100)}x`)).toBe("401");
    await side.close();
  });

  it("is told from every other, in each of its fields", async () => {
    const side = await startSide(true, {});
    const statusOf = async (...fields: string[]) =>
      (await raw(side.port, request("GET /v1/kv/none", fields))).slice(9, 12);
    for (let turn = 0; turn < 2; turn++) {
      expect(await statusOf(AUTH)).toBe("404");
      expect(await statusOf(`X-API-Key: ${KEY}`)).toBe("404");
      expect(await statusOf(`Authorization: Bearer ${KEY.slice(1)}`)).toBe("401");
      expect(await statusOf("Authorization: Bearer undefined")).toBe("401");
      expect(await statusOf()).toBe("401");
    }
    await side.close();
  });
});
