/**
 * More load than can be served: answers stay right, nobody waits for long, memory stays flat, and afterwards all is as
 * before. `OVERLOAD_SECONDS=60` is the long form.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, expect, it } from "vitest";
import { type Command, startCommand } from "../command.ts";
import { KEY } from "../support.ts";
import { type Answered, type Connection, openConnection, type Unanswered } from "./connection.ts";
import { memoryOf, percentile, slopeOf } from "./measures.ts";

const SECONDS = Number(process.env.OVERLOAD_SECONDS ?? 5);
const LONG = SECONDS >= 30;
/** The store lets 1,000 calls wait, each for 5 s at most (`limits.storageTimeout`); the rest is what a busy machine adds. */
const BOUND_MS = 8000;
const CONNECTIONS = 512;
/** How many writes a second the slow engine takes, and what is asked of it: the short form comes to the bound sooner. */
const CAPACITY = 300;
const TIMES_CAPACITY = LONG ? 2 : 3;
const RECOVERY_SECONDS = 5;

const folder = mkdtempSync(join(tmpdir(), "kv-overload-"));
const env = { KV_API_KEY: KEY };
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Load {
  times: number[];
  acknowledged: Map<string, number>;
  /** Of these the answer said that nothing had been done. */
  refused: string[];
  statuses: Record<string, number>;
}

const newLoad = (): Load => ({ times: [], acknowledged: new Map(), refused: [], statuses: {} });

let values = 0;

/** Writes a key that nobody else writes and holds the answer to it. */
async function write(connection: Connection, load: Load): Promise<void> {
  const value = ++values;
  const key = `key-${value}`;
  const began = performance.now();
  const answer = await connection.ask("PUT", `/v1/kv/${key}`, { body: `{"value":${value}}` });
  load.times.push(performance.now() - began);
  const { status, headers, text } = whole(answer, connection);
  load.statuses[status] = (load.statuses[status] ?? 0) + 1;
  if (status === 200) {
    expect(JSON.parse(text).data).toBe(value);
    load.acknowledged.set(key, value);
    return;
  }
  expect([status, JSON.parse(text).error, headers["retry-after"]]).toEqual([503, "unavailable", "1"]);
  if (!text.includes("unknown")) load.refused.push(key);
}

function whole(answer: Answered | Unanswered, { reason, carried }: Connection): Answered {
  if (typeof answer === "string") throw new Error(`Expected an answer ${carried}, got ${answer}: ${reason}`);
  return answer;
}

/** As fast as so many connections get their answers. */
async function closedLoop(url: string, connections: number, seconds: number, load = newLoad()): Promise<Load> {
  const until = performance.now() + seconds * 1000;
  const clients = Array.from({ length: connections }, async () => {
    const connection = openConnection(url);
    while (performance.now() < until) await write(connection, load);
    connection.leave();
  });
  await Promise.all(clients);
  return load;
}

/** So many a second, whether the ones before are answered or not. */
async function openLoop(url: string, rate: number, seconds: number, load: Load): Promise<void> {
  const idle: Connection[] = [];
  const sent: Promise<void>[] = [];
  const began = performance.now();
  for (let elapsed = 0; elapsed < seconds; elapsed = (performance.now() - began) / 1000) {
    while (sent.length < rate * elapsed) {
      const connection = idle.pop() ?? openConnection(url);
      sent.push(write(connection, load).then(() => void idle.push(connection)));
    }
    await sleep(2);
  }
  await Promise.all(sent);
  for (const connection of idle) connection.leave();
}

/** Puts a service under a load and holds it to what is promised. */
async function overload(service: Command, run: (load: Load) => Promise<void>): Promise<Load> {
  const speed = async () => (await closedLoop(service.url, 16, 1)).acknowledged.size;
  await speed();
  const capacity = await speed();
  const memory: [minute: number, memory: number][] = [];
  const began = performance.now();
  const sample = () => memory.push([(performance.now() - began) / 60_000, memoryOf(service.pid)]);
  const timer = setInterval(sample, 100);
  const load = newLoad();
  await run(load);
  clearInterval(timer);
  let [after, second] = [newLoad(), 0];
  while (second < RECOVERY_SECONDS && after.acknowledged.size < capacity / 2) {
    after = await closedLoop(service.url, 16, 1);
    second += 1;
  }
  // The heap grows in steps until the collector has found its size.
  const last = memory.slice(memory.length * 0.75);
  console.info(
    [
      `capacity ${capacity}/s; ${JSON.stringify(load.statuses)} in ${((performance.now() - began) / 1000).toFixed()} s`,
      `p50 ${percentile(load.times, 0.5).toFixed()} ms, p99 ${percentile(load.times, 0.99).toFixed()} ms`,
      `at most ${percentile(load.times, 1).toFixed()} ms`,
      `memory ${[0, 0.25, 0.5, 0.75, 0.99].map((part) => memory[Math.floor(memory.length * part)]?.[1].toFixed()).join(", ")} MiB`,
      `slope ${slopeOf(last).toFixed(1)} MiB a minute; ${after.acknowledged.size}/s in second ${second} after`,
    ].join("; "),
  );
  expect(after.statuses).toEqual({ 200: after.acknowledged.size });
  expect((last.at(-1)?.[1] ?? 0) - (last[0]?.[1] ?? 0)).toBeLessThan(LONG ? 32 : 128);
  if (LONG) {
    expect(percentile(load.times, 0.99)).toBeLessThan(BOUND_MS);
    expect(after.acknowledged.size).toBeGreaterThanOrEqual(capacity / 2);
  }
  await checkKeys(service, load);
  return load;
}

/** What was acknowledged is there, what was refused is not. */
async function checkKeys({ url }: Command, { acknowledged, refused }: Load): Promise<void> {
  const connection = openConnection(url);
  const keys = [...acknowledged.keys(), ...refused];
  for (let at = 0; at < keys.length; at += 1000) {
    const page = keys.slice(at, at + 1000);
    const operations = page.map((key) => ({ op: "get", key }));
    const { text } = whole(
      await connection.ask("POST", "/v1/kv", { body: JSON.stringify({ operations }) }),
      connection,
    );
    const found = JSON.parse(text).data.map(({ data }: { data: number | null }) => data);
    expect(found).toEqual(page.map((key) => acknowledged.get(key) ?? null));
  }
  connection.leave();
}

const TIMEOUT_MS = SECONDS * 1000 + 90_000;

it(`${CONNECTIONS} connections that write without a pause`, { timeout: TIMEOUT_MS }, async () => {
  await using service = await startCommand(folder, { env });
  const load = await overload(
    service,
    async (load) => void (await closedLoop(service.url, CONNECTIONS, SECONDS, load)),
  );
  expect(load.statuses).toEqual({ 200: load.acknowledged.size });
  expect(await service.kill("SIGTERM")).toBe(0);
});

it(`${TIMES_CAPACITY} times what a slow engine takes`, { timeout: TIMEOUT_MS }, async () => {
  const program = [resolve("test/faults/served.ts"), "slow", join(folder, "slow.sqlite"), `${CAPACITY}`];
  await using service = await startCommand(folder, { env, program });
  const load = await overload(service, (load) => openLoop(service.url, CAPACITY * TIMES_CAPACITY, SECONDS, load));
  expect(load.statuses[503]).toBeGreaterThan(0);
  expect(await service.kill("SIGTERM")).toBe(0);
});
