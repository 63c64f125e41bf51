/** What Node's HTTP server refuses or decides by itself, over bare sockets: every answer is the service's envelope. */
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { kv } from "../src/index.ts";
import { type KvServer, serve } from "../src/node.ts";
import { memoryStorage } from "../src/storage/memory.ts";
import { KEY, startService, type TestService } from "./support.ts";

let service: TestService;

beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

interface RawAnswer {
  /** Status lines of what came, interim answers included. */
  statuses: number[];
  head: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into answers of any shape
  json: any;
  closed: boolean;
}

/** Sends bytes and reads until the answer is complete, the connection ends, or nothing more comes. */
function raw(text: string, { url = service.url, continued = "" } = {}): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    let received = "";
    const finish = (closed: boolean) => {
      socket.destroy();
      const [head = "", body = ""] = received.split(/\r\n\r\n(?!HTTP)/, 2);
      const statuses = [...received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
      resolve({ statuses, head, json: body === "" ? undefined : JSON.parse(body), closed });
    };
    socket.on("data", (chunk) => {
      received += chunk.toString("latin1");
      if (/^HTTP\/1\.1 100/.test(received) && continued !== "") {
        socket.write(continued);
        continued = "";
      }
      const length = /content-length: (\d+)/i.exec(received)?.[1];
      const complete = length !== undefined && received.split(/\r\n\r\n(?!HTTP)/, 2)[1]?.length === Number(length);
      if (complete && !/connection: close/i.test(received)) finish(false);
    });
    socket.on("error", () => {});
    socket.on("close", () => finish(true));
    socket.write(Buffer.from(text, "latin1"));
  });
}

const host = "Host: x\r\n";
const json = `${host}Authorization: Bearer ${KEY}\r\nContent-Type: application/json\r\n`;

describe("what HTTP refuses is the envelope", () => {
  it.each([
    ["a line that is no request", "GARBAGE\r\n\r\n", 400, "invalid_request"],
    ["a method that is none", `FOO /health HTTP/1.1\r\n${host}\r\n`, 400, "invalid_request"],
    ["another version", `GET /health HTTP/3.0\r\n${host}\r\n`, 400, "invalid_request"],
    ["the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "invalid_request"],
    ["no Host", "GET /health HTTP/1.1\r\n\r\n", 400, "invalid_request"],
    ["two Hosts", `GET /health HTTP/1.1\r\n${host}${host}\r\n`, 400, "invalid_request"],
    ["a Host that is none", "GET /health HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "invalid_request"],
    ["a target that is none", `GET health HTTP/1.1\r\n${host}\r\n`, 400, "invalid_request"],
    ["the target *", `OPTIONS * HTTP/1.1\r\n${host}\r\n`, 404, "no_such_route"],
    ["CONNECT", `CONNECT x:80 HTTP/1.1\r\n${host}\r\n`, 405, "method_not_allowed"],
    ["TRACE", `TRACE /health HTTP/1.1\r\n${host}\r\n`, 405, "method_not_allowed"],
    [
      "a header over 16 KB",
      `GET /health HTTP/1.1\r\n${host}X: ${"a".repeat(20_000)}\r\n\r\n`,
      431,
      "headers_too_large",
    ],
    ["a target over 16 KB", `GET /v1/kv/${"a".repeat(20_000)} HTTP/1.1\r\n${host}\r\n`, 431, "headers_too_large"],
    ["a NUL in a header", `GET /health HTTP/1.1\r\n${host}X: a\0b\r\n\r\n`, 400, "invalid_request"],
    [
      "both lengths",
      `PUT /v1/kv/a HTTP/1.1\r\n${json}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n`,
      400,
      "invalid_request",
    ],
    ["a length that is none", `PUT /v1/kv/a HTTP/1.1\r\n${json}Content-Length: abc\r\n\r\n`, 400, "invalid_request"],
    [
      "two lengths",
      `PUT /v1/kv/a HTTP/1.1\r\n${json}Content-Length: 1\r\nContent-Length: 2\r\n\r\n12`,
      400,
      "invalid_request",
    ],
    [
      "an unknown transfer coding",
      `PUT /v1/kv/a HTTP/1.1\r\n${json}Transfer-Encoding: gzip\r\n\r\n`,
      400,
      "invalid_request",
    ],
    [
      "two transfer codings",
      `PUT /v1/kv/a HTTP/1.1\r\n${json}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
      400,
      "invalid_request",
    ],
    [
      "a chunk that is none",
      `PUT /v1/kv/a HTTP/1.1\r\n${json}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
      400,
      "invalid_request",
    ],
  ])("%s", async (_what, text, status, error) => {
    const answer = await raw(text);
    expect(answer.statuses).toEqual([status]);
    expect(answer.json).toMatchObject({ status, success: false, data: null, error, instance: expect.any(String) });
    expect(answer.head).toMatch(/content-type: application\/problem\+json/i);
    expect(/x-request-id: (.*)/i.exec(answer.head)?.[1]).toBe(answer.json.instance);
  });

  it("a CONNECT that is reset ends nobody else's service, and one that stays open is ended", async () => {
    const { hostname, port } = new URL(service.url);
    for (let count = 0; count < 5; count++) {
      const socket = connect(Number(port), hostname);
      await new Promise((resolve) => socket.once("connect", resolve));
      socket.write(`CONNECT x:80 HTTP/1.1\r\n${host}\r\n`, () => socket.resetAndDestroy());
      await new Promise((resolve) => socket.once("close", resolve));
    }
    const open = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
    open.on("error", () => {}).resume();
    open.write(`CONNECT x:80 HTTP/1.1\r\n${host}\r\n`);
    await new Promise((resolve) => open.once("end", resolve));
    await expect.poll(() => new Promise((done) => open.write("x", (error) => done(error != null)))).toBe(true);
    open.destroy();
    expect((await service.call("GET", "/health")).status).toBe(200);
  });

  it("names methods in Allow where CONNECT is refused", async () => {
    expect((await raw(`CONNECT x:80 HTTP/1.1\r\n${host}\r\n`)).head).toMatch(/allow: GET, HEAD, PUT/i);
  });
});

describe("what HTTP allows is served", () => {
  it.each([
    ["HTTP/1.0 without a Host", "GET /health HTTP/1.0\r\n\r\n"],
    ["an absolute target", `GET http://other/health HTTP/1.1\r\n${host}\r\n`],
    [
      "an upgrade that is not wanted",
      `GET /health HTTP/1.1\r\n${host}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
    ],
    ["an unknown expectation", `GET /health HTTP/1.1\r\n${host}Expect: tea\r\n\r\n`],
    ["a body on a GET", `GET /health HTTP/1.1\r\n${host}Content-Length: 3\r\n\r\nabc`],
  ])("%s", async (_what, text) => {
    expect(await raw(text)).toMatchObject({ statuses: [200], json: { data: "OK" } });
  });
});

describe("Expect: 100-continue", () => {
  const put = (length: number, fields = json) =>
    `PUT /v1/kv/expected HTTP/1.1\r\n${fields}Expect: 100-continue\r\nContent-Length: ${length}\r\n\r\n`;

  it("is answered when the body is wanted", async () => {
    const answer = await raw(put(11), { continued: '{"value":1}' });
    expect([answer.statuses, answer.json.data]).toEqual([[100, 200], 1]);
  });

  it.each([
    ["too_large", 413, put(99_999_999)],
    ["unauthorized", 401, put(11, `${host}Content-Type: application/json\r\n`)],
    ["unsupported_media_type", 415, put(11, json.replace("application/json", "text/plain"))],
  ])("is not answered before %s", async (error, status, text) => {
    const answer = await raw(text);
    expect(answer).toMatchObject({ statuses: [status], json: { error }, closed: true });
  });
});

describe("slow clients", () => {
  let slow: KvServer;

  beforeAll(async () => {
    const app = kv({
      auth: { apiKey: { apiKey: KEY } },
      runtime: { storage: memoryStorage() },
      limits: { headersTimeout: 0.3, bodyTimeout: 0.5 },
      logger: false,
    });
    slow = await serve(app, { port: 0 });
  });
  afterAll(() => slow.close());

  it("get 408 where the header or the body does not come, and nothing is stored", async () => {
    const header = raw(`GET /health HTTP/1.1\r\nHost:`, { url: slow.url });
    const body = raw(`PUT /v1/kv/a HTTP/1.1\r\n${json}Content-Length: 11\r\n\r\n{"val`, { url: slow.url });
    for (const answer of await Promise.all([header, body])) {
      expect(answer).toMatchObject({ statuses: [408], json: { error: "request_timeout" }, closed: true });
    }
    const read = await fetch(`${slow.url}/v1/kv/a`, { headers: { Authorization: `Bearer ${KEY}` } });
    expect(read.status).toBe(404);
  });
});

describe("a refusal before the body is read", () => {
  it("reaches a client that is still sending", async () => {
    const body = `{"value":"${"x".repeat(8_000_000)}"}`;
    for (const [headers, status] of [
      [{ Authorization: "" }, 401],
      [{ "Content-Type": "text/plain" }, 415],
    ] as const) {
      expect((await service.call("PUT", "/v1/kv/a", { body, headers })).status).toBe(status);
    }
  });
});

it("an export that the storage fails breaks off: it does not end as if it were whole, and says nothing of the cause", async () => {
  const memory = memoryStorage();
  const log: string[] = [];
  let pages = 0;
  const list: typeof memory.list = (query) => {
    if (pages++ > 0) throw new Error("canary");
    return memory.list({ ...query, limit: 1 });
  };
  const storage = { ...memory, list };
  await using failing = await startService({ runtime: { storage }, logger: ({ cause }) => log.push(cause ?? "") });
  for (const key of ["a", "b"]) await failing.call("PUT", `/v1/kv/${key}`, { body: { value: key } });
  const answer = await fetch(`${failing.url}/admin/export`, { headers: { Authorization: `Bearer ${KEY}` } });
  expect(answer.status).toBe(200);
  await expect(answer.text()).rejects.toThrow("terminated");
  expect(log.join()).toContain("canary");
});
