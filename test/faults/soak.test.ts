/** A service under a steady load for a long time: what it holds must not grow. `SOAK_MINUTES=20` is the long form. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { type Command, startCommand } from "../command.ts";
import { random } from "../engines/history.ts";
import { KEY } from "../support.ts";
import { type Connection, openConnection } from "./connection.ts";
import { descriptorsOf, memoryOf, seedOf, sizeOf, slopeOf } from "./measures.ts";

const MINUTES = Number(process.env.SOAK_MINUTES ?? 0);
const SECONDS = MINUTES > 0 ? MINUTES * 60 : 5;
/** Requests a second: about half of what a slow machine does. */
const RATE = Number(process.env.SOAK_RATE ?? 400);
const CONNECTIONS = 16;
const SAMPLE_MS = MINUTES > 0 ? 5000 : 250;
/** What expires lives for up to so many seconds: the sweeper comes each 30 seconds. */
const TTL_SECONDS = MINUTES > 0 ? 60 : 1;

const folder = mkdtempSync(join(tmpdir(), "kv-soak-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Sample {
  minute: number;
  memory: number;
  descriptors: number;
  file: number;
  log: number;
}

/** One of the requests that a client makes: half of them read, and every key that is new expires. */
async function step(connection: Connection, next: () => number): Promise<void> {
  const roll = next();
  const stays = `stays/${Math.floor(next() * 1000)}`;
  const passes = `passes/${Math.floor(next() * 1e9)}`;
  const value = JSON.stringify("x".repeat(Math.floor(next() * 2000)));
  const ttl = 0.1 + next() * TTL_SECONDS;
  const put = (key: string) => `{"op":"put","key":"${key}","value":${value},"ttl":${ttl}}`;
  const ask = (method: string, path: string, body?: string) =>
    connection.ask(method, `/v1/kv${path}`, body === undefined ? {} : { body });
  const answer = await (() => {
    if (roll < 0.4) return ask("GET", `/${stays}`);
    if (roll < 0.55) return ask("PUT", `/${stays}`, `{"value":${value}}`);
    if (roll < 0.75) return ask("PUT", `/${passes}`, `{"value":${value},"ttl":${ttl}}`);
    if (roll < 0.8) return ask("DELETE", `/${stays}`);
    if (roll < 0.9) return ask("GET", `?prefix=${roll < 0.85 ? "passes/" : "stays/"}&limit=50&include=values`);
    const operations = [put(passes), put(`${passes}-2`), `{"op":"get","key":"${stays}"}`];
    return ask("POST", "", `{"operations":[${operations}],"atomic":${roll < 0.95}}`);
  })();
  expect(typeof answer === "string" ? answer : answer.status).toBeOneOf([200, 404]);
}

function sampleOf(service: Command, began: number): Sample {
  const file = join(folder, "kv.sqlite");
  return {
    minute: (performance.now() - began) / 60_000,
    memory: memoryOf(service.pid),
    descriptors: descriptorsOf(service.pid),
    file: sizeOf(file),
    log: sizeOf(`${file}-wal`),
  };
}

it(
  `${SECONDS} seconds of ${RATE} requests a second leave memory, descriptors and the file bounded`,
  async () => {
    const next = random(seedOf("soak"));
    await using service = await startCommand(folder, { env: { KV_API_KEY: KEY } });
    const began = performance.now();
    const until = began + SECONDS * 1000;
    const samples: Sample[] = [];
    const timer = setInterval(() => samples.push(sampleOf(service, began)), SAMPLE_MS);
    let requests = 0;
    const clients = Array.from({ length: CONNECTIONS }, async () => {
      const connection = openConnection(service.url);
      for (let due = began; performance.now() < until; due += (CONNECTIONS / RATE) * 1000) {
        await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now())));
        await step(connection, next);
        requests += 1;
      }
      connection.leave();
    });
    await Promise.all(clients);
    clearInterval(timer);
    const lasting = samples.slice(Math.floor(samples.length / 4));
    const [first, last] = [lasting[0] as Sample, lasting.at(-1) as Sample];
    const slope = slopeOf(lasting.map(({ minute, memory }) => [minute, memory]));
    const highest = (of: (sample: Sample) => number) => Math.max(...lasting.map(of));
    const files = slopeOf(lasting.map(({ minute, file }) => [minute, file]));
    console.info(
      [
        `soak: ${requests} requests, ${(requests / SECONDS).toFixed()} a second; memory ${first.memory.toFixed(1)} to ${last.memory.toFixed(1)} MiB`,
        `slope ${slope.toFixed(3)} MiB a minute; descriptors ${first.descriptors} to ${last.descriptors}`,
        `file ${first.file.toFixed(1)} to ${last.file.toFixed(1)} MiB, slope ${files.toFixed(3)}`,
        `log at most ${highest(({ log }) => log).toFixed(1)} MiB`,
      ].join("; "),
    );
    expect(Math.max(...samples.map(({ descriptors }) => descriptors))).toBeLessThan(CONNECTIONS + 40);
    expect(highest(({ log }) => log)).toBeLessThan(16);
    if (MINUTES > 0) {
      expect(slope).toBeLessThan(1);
      expect(files).toBeLessThan(0.1);
    }
    await expect.poll(() => descriptorsOf(service.pid), { timeout: 5000 }).toBeLessThan(40);
    expect(await service.kill("SIGTERM")).toBe(0);
    expect(sizeOf(join(folder, "kv.sqlite-wal"))).toBe(0);
  },
  SECONDS * 1000 + 60_000,
);
