/**
 * What requests that are made to cost much do cost: the longest time between two answers to somebody else, the time of the
 * processor, and the peak of memory, each of a process of its own.
 */
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Bench } from "../harness/bench.ts";
import { residentMiB, watchPeak } from "../harness/memory.ts";
import { startPings } from "../harness/ping.ts";
import { startKv } from "../harness/service.ts";
import { MIB } from "../harness/settings.ts";
import { ATTACKS, type Attack } from "./attacks.ts";
import { cpuMs } from "./cpu.ts";

const MAX_STALL_MS = 200;
const MAX_SIZES = 3;
/** A small request costs this much memory at most, whatever its size. */
const SMALL_MIB = 16;

export async function attacks({ report, folder }: Bench): Promise<void> {
  for (const [index, attack] of ATTACKS.entries()) {
    await using service = await startKv({ folder: join(folder, `attack-${index}`) });
    await send(service.url, service.headers, {
      ...attack,
      body: () => '{"operations":[]}',
      path: "/v1/kv",
      method: "POST",
    });
    const body = attack.body();
    await delay(300);
    const idle = residentMiB(service.pid);
    const cpu = cpuMs(service.pid);
    const peakOf = watchPeak(service.pid);
    const stop = await startPings(service.port);
    const status = await send(service.url, service.headers, { ...attack, body: () => body });
    const { longest } = await stop();
    const over = peakOf() - idle;
    const size = body.length / MIB;
    report.add({
      name: attack.name,
      unit: "ms",
      goal: {
        text: `≤ ${MAX_STALL_MS}, ${MAX_SIZES} ×`,
        holds: (value) => value <= MAX_STALL_MS && over <= Math.max(size * MAX_SIZES, SMALL_MIB),
      },
      rounds: [longest],
      baseline: `${status}; ${(cpuMs(service.pid) - cpu).toFixed(0)} ms CPU; ${over.toFixed(0)} MiB over ${size.toFixed(1)} MiB`,
    });
  }
}

async function send(url: string, headers: Readonly<Record<string, string>>, attack: Attack): Promise<number> {
  const { method = "POST", path = "/v1/kv" } = attack;
  const body = attack.body();
  const answer = await fetch(url + path, {
    method,
    headers: { "Content-Type": "application/json", ...headers, ...attack.headers },
    ...(body !== "" && { body }),
  });
  await answer.arrayBuffer();
  return answer.status;
}
