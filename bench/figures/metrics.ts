/**
 * What counting costs: the processor time that it takes by itself, beside that of a whole hot read; and two servers, one
 * that counts and one that does not, in turns, which on a busy machine tells less.
 */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Bench } from "../harness/bench.ts";
import { HOT, jsonOf, KEY } from "../harness/data.ts";
import { start } from "../harness/process.ts";
import { atMost } from "../harness/report.ts";
import { differences, interleaved, median, ratios } from "../harness/rounds.ts";
import { OUR_DIALECT, put, type Service } from "../harness/service.ts";
import { KIB, READERS, ROOT } from "../harness/settings.ts";
import { wrk } from "../harness/wrk.ts";

/** proc(5) counts in hundredths of a second. */
const TICK_US = 10_000;
const TIMES = 1_000_000;
const LINE = { level: "info", method: "GET", route: "/v1/kv/:key", status: 200 };

export async function metrics({ settings, report, folder }: Bench): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const services: Service[] = [];
  // The two that are alike show what the machine adds of itself.
  for (const label of ["off", "on", "again"]) {
    const own = join(folder, `metrics-${label}`);
    mkdirSync(own);
    const server = join(ROOT, "bench/servers/counted.ts");
    const running = await start({
      log: join(own, "kv.log"),
      file: process.execPath,
      args: (port) => [server, String(port), join(own, "kv.sqlite"), label === "on" ? "on" : "off"],
      env: { KV_API_KEY: KEY },
    });
    const service = { ...OUR_DIALECT, ...stack.use(running), label, onDisk: true };
    await put(service, HOT, jsonOf(0, KIB));
    services.push(service);
  }
  const turns = services.map((service) => [service.label, () => readCost(service, settings.seconds)] as const);
  for (const [, take] of turns) await take();
  const { off = [], on, again } = await interleaved(settings.rounds, Object.fromEntries(turns));
  const reading = median(off);
  const counting = await countingCosts(settings.rounds);
  report.add({
    name: "counting one hot GET, of its processor time",
    unit: "%",
    goal: atMost(2),
    rounds: counting.map((cost) => (cost / reading) * 100),
    baseline: `${reading.toFixed(1)} µs a GET, ${(median(counting) * 1000).toFixed(0)} ns to count it`,
  });
  const percent = (over: readonly number[] = []) => ratios(over, off).map((ratio) => (ratio - 1) * 100);
  report.add({
    name: "  two servers, that with metrics over that without",
    unit: "%",
    rounds: percent(on),
    baseline: `the same without, once more: ${median(percent(again)).toFixed(1)} %`,
  });
}

/** Microseconds that it takes to count a read and its line in the log. */
async function countingCosts(rounds: number): Promise<number[]> {
  const built = new URL("../../dist/", import.meta.url);
  const { metricsOf } = await import(new URL("metrics/measure.js", built).href);
  const { memoryStorage } = await import(new URL("storage/memory.js", built).href);
  const plain = { storage: memoryStorage(), logger: seen };
  const counted = { ...plain, runtime: async () => ({ storage: plain.storage }) };
  metricsOf(counted, counted.runtime);
  const { storage } = await counted.runtime();
  const samples = await interleaved(rounds, {
    plain: async () => timesOf(plain.storage, plain.logger),
    counted: async () => timesOf(storage, counted.logger),
  });
  return differences(samples.counted, samples.plain);
}

let lines = 0;

function seen({ status }: { status: number }): void {
  lines += status;
}

function timesOf(storage: { get(key: string): unknown }, logger: typeof seen): number {
  const before = process.cpuUsage();
  const lineOf = (at: number) => ({ ...LINE, duration: at / TIMES });
  for (let at = 0; at < TIMES; at++) {
    if (storage.get("absent") === null) logger(lineOf(at));
  }
  const { user, system } = process.cpuUsage(before);
  if (lines === 0) throw new Error("Nothing was logged");
  return (user + system) / TIMES;
}

/** Microseconds of all processors that a read takes. */
async function readCost({ pid, url, headers, get }: Service, seconds: number): Promise<number> {
  const before = ticksOf(pid);
  const { rate } = await wrk(url + get.join(HOT), { connections: READERS, seconds, headers });
  return ((ticksOf(pid) - before) * TICK_US) / (rate * seconds);
}

function ticksOf(pid: number): number {
  const [, fields = ""] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ");
  const [user, system] = fields.split(" ").slice(11, 13);
  return Number(user) + Number(system);
}
