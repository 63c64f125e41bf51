/**
 * SIGTERM under load: a request gets a whole answer, or its connection ends before anything of it was done.
 * `SHUTDOWN_ROUNDS=100` is the long form.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { memoryStorage } from "../../src/storage/memory.ts";
import { type Command, startCommand } from "../command.ts";
import { random } from "../engines/history.ts";
import { KEY, request, startService } from "../support.ts";
import { type Answered, openConnection } from "./connection.ts";
import { percentile, seedOf } from "./measures.ts";

const ROUNDS = Number(process.env.SHUTDOWN_ROUNDS ?? 5);
const CONNECTIONS = 64;
/** How long the process may take to end: 10 s for what is in flight, and what a busy machine adds. */
const BOUND_MS = 15_000;

const folder = mkdtempSync(join(tmpdir(), "kv-shutdown-"));
const env = { KV_API_KEY: KEY };
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Sums {
  answered: number;
  /** The clients that have had an answer in this round. */
  served: Set<number>;
  /** Connections that ended before an answer had begun: those that had carried a request before, and the others. */
  keptAlive: number;
  fresh: number;
  cut: number;
}

/** Reads and writes keys of its own until the service has gone, and puts down what was acknowledged. */
async function client(url: string, id: number, next: () => number, known: Map<string, number>, sums: Sums) {
  const connection = openConnection(url);
  const path = `/v1/kv/${id}`;
  for (let value = (known.get(`${id}`) ?? 0) + 1; ; value++) {
    const roll = next();
    const writes = roll < 0.6;
    const puts = ["", "/2"].map((suffix) => `{"op":"put","key":"${id}${suffix}","value":${value}}`);
    const answer = await (() => {
      if (roll < 0.4) return connection.ask("PUT", path, { body: `{"value":${value}}` });
      if (writes) return connection.ask("POST", "/v1/kv", { body: `{"operations":[${puts}],"atomic":true}` });
      return connection.ask("GET", roll < 0.9 ? path : `/v1/kv?prefix=${id}&include=values`);
    })();
    if (typeof answer === "string") {
      if (answer === "cut") sums.cut += 1;
      if (answer === "untouched" && connection.carried > 1) sums.keptAlive += 1;
      if (answer === "untouched" && connection.carried === 1) sums.fresh += 1;
      return;
    }
    expect(answer.status, answer.text).toBeOneOf(writes ? [200] : [200, 404]);
    sums.answered += 1;
    sums.served.add(id);
    if (writes) known.set(`${id}`, value);
    if (writes && roll >= 0.4) known.set(`${id}/2`, value);
  }
}

it(
  `${ROUNDS} times, ${CONNECTIONS} connections lose no acknowledged write and get no half answer`,
  async () => {
    const next = random(seedOf("shutdown"));
    const known = new Map<string, number>();
    const sums: Sums = { answered: 0, served: new Set(), keptAlive: 0, fresh: 0, cut: 0 };
    const times: number[] = [];

    /** What was answered is there, and what was not has not happened. */
    async function checkAll({ url }: Command): Promise<void> {
      for (const [key, value] of known) {
        expect((await request(`${url}/v1/kv/${key}`, "GET")).json.data, key).toBe(value);
      }
    }

    for (let round = 0; round < ROUNDS; round++) {
      await using service = await startCommand(folder, { env });
      await checkAll(service);
      sums.served.clear();
      const clients = Array.from({ length: CONNECTIONS }, (_, id) => client(service.url, id, next, known, sums));
      await expect.poll(() => sums.served.size, { interval: 1, timeout: 10_000 }).toBe(CONNECTIONS);
      await sleep(next() * 100);
      const began = performance.now();
      expect(await service.kill("SIGTERM")).toBe(0);
      times.push(performance.now() - began);
      await Promise.all(clients);
    }
    await using last = await startCommand(folder, { env });
    await checkAll(last);
    expect(await last.kill("SIGTERM")).toBe(0);
    console.info(
      `shutdown: ${JSON.stringify({ ...sums, served: undefined })}; ended in ${percentile(times, 0.5).toFixed()} ms (median), at most ${Math.max(...times).toFixed()}`,
    );
    expect(sums.cut).toBe(0);
    // A client may be so slow that its next request comes after the silence.
    expect(sums.keptAlive).toBeLessThan((CONNECTIONS * ROUNDS) / 20);
    expect(Math.max(...times)).toBeLessThan(BOUND_MS);
  },
  ROUNDS * 10_000 + 30_000,
);

it("an answer on its way to a slow reader is finished", async () => {
  await using service = await startCommand(folder, { env });
  const value = "x".repeat(20_000_000);
  expect((await request(`${service.url}/v1/kv/large`, "PUT", { body: { value } })).status).toBe(200);
  const { hostname, port } = new URL(service.url);
  const socket = connect(Number(port), hostname);
  socket.write(`GET /v1/kv/large HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${KEY}\r\n\r\n`);
  let received = 0;
  const first = Promise.withResolvers<void>();
  socket.on("data", (chunk) => {
    received += chunk.length;
    if (received === chunk.length) socket.pause();
    first.resolve();
  });
  const ended = new Promise((resolve) => socket.once("close", resolve));
  await first.promise;
  const exit = service.kill("SIGTERM");
  await sleep(500);
  socket.resume();
  await ended;
  expect(received).toBeGreaterThan(value.length);
  expect(await exit).toBe(0);
}, 30_000);

describe("a service that is closing", () => {
  /** Memory whose reads wait until they are let go. */
  function held() {
    const memory = memoryStorage();
    const gate = Promise.withResolvers<void>();
    const get = (key: string) => gate.promise.then(() => memory.get(key));
    return { memory, storage: { ...memory, get, ping: () => {} }, gate };
  }

  it("says Connection: close in answers that it owed and in those to requests that were on their way", async () => {
    const { storage, gate } = held();
    const service = await startService({ runtime: { storage } });
    const [owed, kept] = [openConnection(service.url), openConnection(service.url)];
    expect(await kept.ask("GET", "/health")).toMatchObject({ status: 200, headers: { connection: "keep-alive" } });
    const answer = owed.ask("GET", "/v1/kv/a");
    await kept.ask("GET", "/health");
    const closed = service[Symbol.asyncDispose]();
    await sleep(0);
    const ready = (await kept.ask("GET", "/ready")) as Answered;
    expect([ready.status, ready.headers.connection, kept.carried]).toEqual([503, "close", 3]);
    gate.resolve();
    expect(await answer).toMatchObject({ status: 404, headers: { connection: "close" } });
    await closed;
    expect(await kept.ask("GET", "/health")).toBe("refused");
  });

  it("serves a request that comes on a connection that was kept alive", async () => {
    const service = await startService();
    const kept = openConnection(service.url);
    await kept.ask("GET", "/health");
    const closed = service[Symbol.asyncDispose]();
    await sleep(0);
    const written = await kept.ask("PUT", "/v1/kv/a", { body: '{"value":1}' });
    expect(written).toMatchObject({ status: 200, headers: { connection: "close" } });
    await closed;
  });

  it("serves a request that came while the process was busy with something else", async () => {
    const service = await startService();
    const kept = openConnection(service.url);
    await kept.ask("GET", "/health");
    const closed = service[Symbol.asyncDispose]();
    const answer = kept.ask("GET", "/v1/kv/a");
    for (const until = performance.now() + 300; performance.now() < until; );
    expect(await answer).toMatchObject({ status: 404, headers: { connection: "close" } });
    await closed;
  });

  it("does not do what was sent after the request that it answers last", async () => {
    const { memory, storage, gate } = held();
    const service = await startService({ runtime: { storage } });
    const { hostname, port } = new URL(service.url);
    const socket = connect(Number(port), hostname);
    const head = `Host: x\r\nAuthorization: Bearer ${KEY}\r\n`;
    const put = `PUT /v1/kv/b HTTP/1.1\r\n${head}Content-Type: application/json\r\nContent-Length: 11\r\n\r\n{"value":1}`;
    socket.write(`GET /v1/kv/a HTTP/1.1\r\n${head}\r\n${put}`);
    let received = "";
    socket.on("data", (chunk) => (received += chunk)).on("error", () => {});
    const ended = new Promise((resolve) => socket.once("close", resolve));
    await sleep(100);
    const closed = service[Symbol.asyncDispose]();
    gate.resolve();
    await Promise.all([ended, closed]);
    expect(received.match(/HTTP\/1.1 \d+/g)).toEqual(["HTTP/1.1 404"]);
    expect(memory.get("b")).toBeNull();
  });
});
