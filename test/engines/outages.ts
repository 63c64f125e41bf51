/** What a service says and keeps while its engine is away. */
import { expect, it } from "vitest";
import type { StorageAdapter } from "../../src/storage/adapter.ts";
import { until } from "../runtimes.ts";
import { KEY, startService } from "../support.ts";
import type { Engine } from "./engine.ts";

const TIMEOUT_S = 1.5;
/** How long a request may take: the deadline, and what a busy machine adds. */
const ANSWERED_MS = TIMEOUT_S * 1000 + 1000;
const WRITERS = 8;

interface Writer {
  key: string;
  /** The last number that was answered 200, and the last that was sent. */
  acknowledged: number;
  sent: number;
  /** Those whose outcome is unknown: they may still come, even after a later one. */
  unknown: Set<number>;
}

interface Seen {
  statuses: Set<number>;
  slowest: number;
  /** Answers of 503 without a Retry-After, and of anything else that is unexpected. */
  wrong: string[];
}

/** Whether the engine can be treated so; `hurt` does it, `mend` ends it. */
interface Outage {
  name: string;
  hurt(): Promise<unknown> | unknown;
  mend(): Promise<unknown> | unknown;
  /** Milliseconds in between. */
  lasts: number;
  /** Whether requests must fail meanwhile. */
  down: boolean;
}

function outagesOf({ kill, start, pause, resume, cut, refuse }: Engine): Outage[] {
  const outages: Outage[] = [];
  if (kill && start)
    outages.push({ name: "killed under load and started again", hurt: kill, mend: start, lasts: 1000, down: true });
  if (pause && resume) {
    outages.push({
      name: "stopped (SIGSTOP) for longer than the deadline",
      hurt: pause,
      mend: resume,
      lasts: 4000,
      down: true,
    });
  }
  if (cut) outages.push({ name: "its connections cut", hurt: cut, mend: () => {}, lasts: 500, down: false });
  if (refuse) {
    const hurt = async () => {
      await refuse(true);
      await cut?.();
    };
    outages.push({
      name: "its credentials refused",
      hurt,
      mend: () => refuse(false),
      lasts: 1000,
      down: cut !== undefined,
    });
  }
  return outages;
}

/** The names must be known before the engine runs. */
const NAMES = [
  "killed under load and started again",
  "stopped (SIGSTOP) for longer than the deadline",
  "its connections cut",
  "its credentials refused",
];

export function outageTests(engineOf: () => Engine, open: () => StorageAdapter): void {
  it.each(NAMES)(
    "%s: 503 in time, nothing acknowledged is lost, and it recovers by itself",
    { timeout: 60_000 },
    async (name) => {
      const engine = engineOf();
      const outage = outagesOf(engine).find((known) => known.name === name);
      if (outage === undefined) return;
      const lines: string[] = [];
      await using service = await startService({
        runtime: { storage: open() },
        limits: { storageTimeout: TIMEOUT_S },
        logger: (entry) => void lines.push(JSON.stringify(entry)),
      });
      const writers = Array.from(
        { length: WRITERS },
        (_, index): Writer => ({ key: `writer-${index}`, acknowledged: 0, sent: 0, unknown: new Set() }),
      );
      const seen: Seen = { statuses: new Set(), slowest: 0, wrong: [] };
      let running = true;

      async function ask(method: string, path: string, body?: unknown): Promise<number> {
        const began = performance.now();
        const response = await fetch(service.url + path, {
          method,
          headers: { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" },
          ...(body !== undefined && { body: JSON.stringify(body) }),
        });
        const text = await response.text();
        const took = performance.now() - began;
        seen.statuses.add(response.status);
        seen.slowest = Math.max(seen.slowest, took);
        const expected =
          [200, 404].includes(response.status) || (response.status === 503 && response.headers.has("Retry-After"));
        if (!expected) seen.wrong.push(`${method} ${path}: ${response.status} ${text}`);
        if (engine.secret !== undefined && text.includes(engine.secret)) seen.wrong.push(`A secret in ${text}`);
        return response.status;
      }
      async function write(writer: Writer): Promise<void> {
        while (running) {
          writer.sent += 1;
          const { sent } = writer;
          if ((await ask("PUT", `/v1/kv/${writer.key}`, { value: sent })) === 200) writer.acknowledged = sent;
          else {
            writer.unknown.add(sent);
            await new Promise((resolve) => setTimeout(resolve, 20));
          }
        }
      }
      async function read(): Promise<void> {
        for (let turn = 0; running; turn++) {
          const status = await ask("GET", turn % 10 === 0 ? "/v1/kv?limit=10" : `/v1/kv/writer-${turn % WRITERS}`);
          if (status !== 200) await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }

      const load = [...writers.map(write), read(), read()];
      await until(async () => writers.every(({ acknowledged }) => acknowledged > 3));
      await outage.hurt();
      if (outage.down) {
        const began = performance.now();
        await new Promise((resolve) => setTimeout(resolve, 20));
        expect((await fetch(`${service.url}/ready`)).status).toBe(503);
        expect(performance.now() - began, "/ready").toBeLessThan(1500);
      }
      await new Promise((resolve) => setTimeout(resolve, outage.lasts));
      await outage.mend();
      const mended = performance.now();
      const before = writers.map(({ acknowledged }) => acknowledged);
      await until(async () => writers.every(({ acknowledged }, index) => acknowledged > (before[index] ?? 0)));
      const recovered = performance.now() - mended;
      running = false;
      await Promise.all(load);

      expect(seen.wrong.slice(0, 5)).toEqual([]);
      expect(seen.statuses.has(503)).toBe(outage.down || seen.statuses.has(503));
      expect(seen.slowest, "the slowest answer").toBeLessThan(ANSWERED_MS);
      expect(recovered, "milliseconds until every writer went on").toBeLessThan(ANSWERED_MS + 1000);
      expect((await fetch(`${service.url}/ready`)).status).toBe(200);
      if (engine.durable !== false) {
        for (const { key, acknowledged, sent, unknown } of writers) {
          const { json } = await service.call("GET", `/v1/kv/${key}`);
          if (!unknown.has(json.data)) expect(json.data, key).toBeGreaterThanOrEqual(acknowledged);
          expect(json.data, key).toBeLessThanOrEqual(sent);
        }
      }
      if (engine.secret !== undefined)
        expect(lines.filter((line) => line.includes(engine.secret as string))).toEqual([]);
    },
  );
}
