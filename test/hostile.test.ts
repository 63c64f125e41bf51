/** Clients that send or read slowly, too much, or not to the end, over bare sockets. */
import { type AddressInfo, connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { kv } from "../src/index.ts";
import { createHttpServer } from "../src/node-http.ts";
import { memoryStorage } from "../src/storage/memory.ts";
import { KEY, startService } from "./support.ts";

const FIELDS = `Host: x\r\nAuthorization: Bearer ${KEY}\r\nContent-Type: application/json\r\n`;
const LARGE = `{"value":"${"x".repeat(20_000_000)}"}`;

function open(url: string): { socket: Socket; received: () => string; ended: Promise<void> } {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let received = "";
  socket.on("data", (chunk) => {
    received += chunk.toString("latin1");
  });
  socket.on("error", () => {});
  const ended = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  return { socket, received: () => received, ended };
}

const put = (key: string, length: number | "chunked", fields = "") => {
  const framing = length === "chunked" ? "Transfer-Encoding: chunked" : `Content-Length: ${length}`;
  return `PUT /v1/kv/${key} HTTP/1.1\r\n${FIELDS}${fields}${framing}\r\n\r\n`;
};

describe("limits.inFlight", () => {
  const limits = { value: 100_000, inFlight: 200_000 };

  it("is at least what one value takes", () => {
    const make = (given: object) => () => kv({ limits: given, logger: false, runtime: { storage: memoryStorage() } });
    expect(make({ value: 100, inFlight: 66_659 })).toThrow(
      "limits.inFlight: expected at least 66660, so that a value of limits.value (100) fits, got 66659",
    );
    expect(make({ value: 100, inFlight: 66_660 })).not.toThrow();
    expect(make({ value: 200_000_000 })).toThrow("limits.inFlight: expected at least 200066560");
    expect(make({ inFlight: 0 })).toThrow("limits.inFlight: expected a whole number, at least 1, got 0");
  });

  it.each([
    ["the server", ""],
    ["the app", "Prefer: return=minimal\r\n"],
  ])("is what bodies hold together: over it 503 before the body is read, by %s", async (_by, fields) => {
    await using service = await startService({ limits });
    const [first, second] = [open(service.url), open(service.url)];
    first.socket.write(put("first", 120_000, fields));
    await delay(100);
    second.socket.write(put("second", 120_000, fields));
    await second.ended;
    expect(second.received()).toMatch(/^HTTP\/1\.1 503 /);
    expect(second.received()).toMatch(/retry-after: 1\r\n/i);
    expect(second.received()).toContain('"error":"unavailable"');
    // What fits is served meanwhile.
    expect((await service.call("PUT", "/v1/kv/small", { body: { value: 1 } })).status).toBe(200);
    // A client that goes away gives back what it held.
    first.socket.destroy();
    const body = `{"value":"${"y".repeat(99_000)}"}`;
    const again = async () => (await service.call("PUT", "/v1/kv/after", { body })).status;
    await expect.poll(again, { timeout: 5000 }).toBe(200);
    for (let turn = 0; turn < 5; turn++) expect(await again()).toBe(200);
    for (const key of ["first", "second"]) expect((await service.call("GET", `/v1/kv/${key}`)).status).toBe(404);
  });

  it("of it large bodies take half, one by itself whatever it takes", async () => {
    await using service = await startService({ limits: { value: 2_900_000, inFlight: 3_000_000 } });
    const [first, second] = [open(service.url), open(service.url)];
    // More than half, and nobody else is there.
    first.socket.write(put("first", 2_500_000));
    await delay(100);
    second.socket.write(put("second", 1_200_000));
    await second.ended;
    expect(second.received()).toMatch(/^HTTP\/1\.1 503 /);
    expect((await service.call("PUT", "/v1/kv/small", { body: { value: "x".repeat(400_000) } })).status).toBe(200);
    first.socket.destroy();
    second.socket.destroy();
  });

  it("counts a body of unknown length as it comes", async () => {
    await using service = await startService({ limits });
    const [first, second] = [open(service.url), open(service.url)];
    const chunk = `1d4c0\r\n${`{"value":"${"x".repeat(119_990)}`}\r\n`;
    first.socket.write(put("first", "chunked") + chunk);
    await delay(100);
    second.socket.write(put("second", "chunked") + chunk);
    await expect.poll(second.received).toMatch(/^HTTP\/1\.1 503 /);
    first.socket.destroy();
    second.socket.destroy();
  });

  it("counts large answers until they are read: reads over it are refused, and none is for ever", async () => {
    await using service = await startService({ limits: { inFlight: 45_000_000, idleTimeout: 1 } });
    expect((await service.call("PUT", "/v1/kv/large", { body: LARGE })).status).toBe(200);
    const readers = [0, 1].map(() => open(service.url));
    for (const { socket } of readers) {
      socket.pause();
      socket.write(`GET /v1/kv/large HTTP/1.1\r\n${FIELDS}\r\n`);
    }
    await delay(200);
    for (const headers of [{}, { Prefer: "x" }, { "Content-Length": "0" }]) {
      expect((await service.call("GET", "/v1/kv/large", { headers })).status).toBe(503);
    }
    expect((await service.call("GET", "/v1/kv?include=values")).status).toBe(503);
    await expect.poll(async () => (await service.call("GET", "/v1/kv/large")).status, { timeout: 10_000 }).toBe(200);
    for (const { socket } of readers) socket.destroy();
  });
});

describe("a client that does not read its answer", () => {
  it.each([
    ["at all", 0, { idleTimeout: 1 }],
    ["but in a trickle", 65_536, { idleTimeout: 60, headersTimeout: 1, bodyTimeout: 2 }],
  ])("%s is let go", { timeout: 20_000 }, async (_how, trickle, limits) => {
    await using service = await startService({ limits });
    await service.call("PUT", "/v1/kv/large", { body: LARGE });
    const { socket, ended } = open(service.url);
    socket.pause();
    socket.write(`GET /v1/kv/large HTTP/1.1\r\n${FIELDS}\r\n`);
    const trickling = setInterval(() => trickle > 0 && socket.read(trickle), 100);
    socket.on("readable", () => {});
    const done = Promise.race([ended, delay(10_000, "still there")]);
    // What it has in its buffers it may still read; then it learns.
    setTimeout(() => {
      clearInterval(trickling);
      socket.removeAllListeners("readable");
      socket.resume();
    }, 4500);
    expect(await done).toBeUndefined();
    expect(socket.bytesRead).toBeLessThan(20_000_000);
  });

  it("in one go takes all the time that it needs as long as it reads", async () => {
    await using service = await startService({ limits: { idleTimeout: 1 } });
    await service.call("PUT", "/v1/kv/large", { body: LARGE });
    const { socket } = open(service.url);
    socket.write(`GET /v1/kv/large HTTP/1.1\r\n${FIELDS}Connection: close\r\n\r\n`);
    const pausing = setInterval(() => {
      socket.pause();
      setTimeout(() => socket.resume(), 150);
    }, 200);
    await new Promise((resolve) => socket.once("close", resolve));
    clearInterval(pausing);
    expect(socket.bytesRead).toBeGreaterThan(20_000_000);
  });
});

describe("requests on one connection", () => {
  it("are not read on while one is served: they do not pile up", async () => {
    const memory = memoryStorage();
    const { promise, resolve } = Promise.withResolvers<void>();
    const storage = { ...memory, get: (key: string) => (key === "ready" ? null : promise.then(() => memory.get(key))) };
    const app = kv({ auth: { apiKey: { apiKey: KEY } }, runtime: { storage }, logger: false });
    await app.ready();
    const server = createHttpServer(app);
    let taken = 0;
    server.on("request", () => {
      taken += 1;
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const { socket, received } = open(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    socket.write(`GET /v1/kv/a HTTP/1.1\r\n${FIELDS}\r\n`.repeat(200_000));
    await delay(1000);
    // What came in one piece of 64 KiB.
    expect(taken).toBeLessThan(1000);
    resolve();
    await expect.poll(() => received().match(/HTTP\/1\.1 404/g)?.length, { timeout: 5000 }).toBeGreaterThan(2000);
    socket.destroy();
    server.close();
    await app.close();
  });

  it("whose short answers are not read for a while are answered all, each whole, and no more are read meanwhile", async () => {
    const memory = memoryStorage();
    let reads = 0;
    const get: typeof memory.get = (key) => {
      reads += 1;
      return memory.get(key);
    };
    await using service = await startService({ runtime: { storage: { ...memory, get } } });
    const value = "x".repeat(15_000);
    await service.call("PUT", "/v1/kv/a", { body: { value } });
    const { socket, received, ended } = open(service.url);
    socket.pause();
    const count = 2000;
    socket.write(`GET /v1/kv/a HTTP/1.1\r\n${FIELDS}\r\n`.repeat(count - 1));
    socket.write(`GET /v1/kv/a HTTP/1.1\r\n${FIELDS}Connection: close\r\n\r\n`);
    await delay(1000);
    // 30 MB are more than the system keeps.
    expect(reads).toBeLessThan(count);
    socket.resume();
    await ended;
    const bodies = received().split(/HTTP\/1\.1 200 OK\r\n.*?\r\n\r\n/s);
    expect(bodies.length).toBe(count + 1);
    expect(new Set(bodies.slice(1))).toEqual(new Set([`{"status":200,"success":true,"data":"${value}"}`]));
  });

  it.each([
    ["a read that is answered at once", `GET /v1/kv/a HTTP/1.1\r\n${FIELDS}\r\n`, 404],
    ["a request to the app", `GET /health HTTP/1.1\r\n${FIELDS}\r\n`, 200],
    ["a write that takes its time", `${put("a", 11)}{"value":1}`, 200],
  ])("are answered in their order where what follows %s is none", async (_what, first, status) => {
    const memory = memoryStorage();
    const storage: typeof memory = { ...memory, write: (...given) => delay(100).then(() => memory.write(...given)) };
    await using service = await startService({ runtime: { storage } });
    const { socket, received, ended } = open(service.url);
    socket.write(`${first}GARBAGE\r\n\r\n`);
    await ended;
    expect(received().match(/(?<=HTTP\/1\.1 )\d{3}/g)).toEqual([`${status}`, "400"]);
  });
});

it("a condition behind more header fields than Node keeps by default still holds", async () => {
  await using service = await startService();
  await service.call("PUT", "/v1/kv/a", { body: { value: 1 } });
  const { socket, received } = open(service.url);
  socket.write(`${put("a", 11, `${"a:\r\n".repeat(3000)}If-None-Match: *\r\n`)}{"value":2}`);
  await expect.poll(received).toMatch(/^HTTP\/1\.1 412 /);
  expect((await service.call("GET", "/v1/kv/a")).json.data).toBe(1);
  socket.destroy();
});

it.each([
  ["its length", put("half", 1000)],
  ["chunks", `${put("half", "chunked")}3e8\r\n`],
])("of a body by %s whose client vanishes nothing is written", async (_framing, head) => {
  await using service = await startService();
  for (const end of ["destroy", "resetAndDestroy", "end"] as const) {
    const { socket } = open(service.url);
    socket.write(`${head}{"value":1}`, () => socket[end]());
    await new Promise((resolve) => socket.once("close", resolve));
    socket.destroy();
  }
  await delay(50);
  expect((await service.call("GET", "/v1/kv/half")).status).toBe(404);
  expect((await service.call("GET", "/v1/kv")).json.data.keys).toEqual([]);
});
