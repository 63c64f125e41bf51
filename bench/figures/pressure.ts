/** What one value of 25 MiB, put and then got, does to the memory and to the event loop of the service. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Bench } from "../harness/bench.ts";
import { exchange, idleMiB } from "../harness/exchange.ts";
import { watchPeak } from "../harness/memory.ts";
import { startPings } from "../harness/ping.ts";
import { atMost, type Report, shown } from "../harness/report.ts";
import { interleaved, median } from "../harness/rounds.ts";
import { OURS, type Service, startForty, startKv } from "../harness/service.ts";
import { MIB } from "../harness/settings.ts";
import { LARGE_BYTES, largeBody } from "./large.ts";

const CALM_MS = 500;

/** Each start is of a process of its own, on a file of its own. */
function starters({ folder, settings }: Bench, purpose: string): Record<string, () => Promise<Service>> {
  let made = 0;
  const next = () => join(folder, `${purpose}-${made++}`);
  const ours = { [OURS]: () => startKv({ folder: next() }) };
  return settings.allPeers ? { ...ours, "40 lines of Hono": () => startForty(next()) } : ours;
}

interface Taken {
  /** In MiB. */
  idle: number;
  /** The peaks over it, in values. */
  put: number;
  get: number;
  /** The longest times between two answers, in milliseconds. */
  calm: number;
  stall: number;
}

export async function pressure(bench: Bench): Promise<void> {
  const { settings, report, folder } = bench;
  const body = readFileSync(largeBody(folder));
  const turns = Object.entries(starters(bench, "pressure")).map(([label, begin]) => {
    return [label, () => single(begin, body)] as const;
  });
  for (const [label, taken] of Object.entries(await interleaved(settings.rounds, Object.fromEntries(turns)))) {
    tell(report, label, taken);
  }
}

async function single(begin: () => Promise<Service>, body: Buffer): Promise<Taken> {
  await using service = await begin();
  const idle = await idleMiB(service);
  const stopCalm = await startPings(service.port);
  await delay(CALM_MS);
  const calm = await stopCalm();
  const stop = await startPings(service.port);
  const put = await peakOver(idle, service, "PUT", body);
  const get = await peakOver(idle, service, "GET");
  return { idle, put, get, calm: calm.longest, stall: (await stop()).longest };
}

async function peakOver(idle: number, service: Service, method: string, body?: Buffer): Promise<number> {
  const peakOf = watchPeak(service.pid);
  const status = await exchange(service, method, "large", body);
  const peak = peakOf();
  if (status !== 200) throw new Error(`${service.label} answered ${status} to a ${method} of 25 MiB`);
  return ((peak - idle) * MIB) / LARGE_BYTES;
}

function tell(report: Report, label: string, taken: readonly Taken[]): void {
  const middle = (member: keyof Taken) => median(taken.map((one) => one[member]));
  const ours = label === OURS;
  const parts = `put ${shown(middle("put"), "×")}, get ${shown(middle("get"), "×")}`;
  report.add({
    name: ours ? "25 MiB value, peak RSS over idle" : `  25 MiB value, peak RSS over idle: ${label}`,
    ...(ours && { goal: atMost(4) }),
    unit: "×",
    rounds: taken.map(({ put, get }) => Math.max(put, get)),
    baseline: `idle ${shown(middle("idle"), "MiB")}; ${parts}`,
  });
  report.add({
    name: ours ? "25 MiB value, longest stall" : `  25 MiB value, longest stall: ${label}`,
    ...(ours && { goal: atMost(30) }),
    unit: "ms",
    rounds: taken.map(({ stall }) => stall),
    baseline: `without load ${shown(middle("calm"), "ms")}`,
  });
}
