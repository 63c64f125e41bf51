/** A value of 25 MiB, there and back, next to the same bytes from memory. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { captureAll, checkSame, startMemory } from "../harness/baselines.ts";
import type { Bench } from "../harness/bench.ts";
import { HOT, jsonOf } from "../harness/data.ts";
import { atLeast } from "../harness/report.ts";
import { interleaved, median, ratios } from "../harness/rounds.ts";
import { OUR_DIALECT, OURS, put, type Service, startForty, startKv } from "../harness/service.ts";
import { KIB, MIB } from "../harness/settings.ts";
import { type Load, wrk } from "../harness/wrk.ts";
import { capture } from "../servers/captured.ts";

export const LARGE_BYTES = 25 * MIB;
const LARGE = "large";

/** The body of such a write, in a file. */
export function largeBody(folder: string): string {
  const file = join(folder, "large.json");
  writeFileSync(file, OUR_DIALECT.body.join(jsonOf(0, LARGE_BYTES)));
  return file;
}

export async function largeValues({
  settings: { rounds, seconds, short, allPeers },
  report,
  folder,
}: Bench): Promise<void> {
  const body = largeBody(folder);
  await using kv = await startKv({ folder: join(folder, "large") });
  await using forty = await startForty(join(folder, "large-forty"));
  for (const service of [kv, forty]) await put(service, LARGE, jsonOf(0, LARGE_BYTES));
  await put(kv, HOT, jsonOf(0, KIB));
  const answers = await captureAll(kv);
  const asked = `GET ${kv.get.join(LARGE)}`;
  answers.set(asked, await capture(kv.url + kv.get.join(LARGE), { headers: kv.headers }));
  await using memory = await startMemory(folder, answers, []);
  await checkSame(memory, asked, answers.get(asked));

  const loads = loadsOf(body, seconds, short);
  const services = allPeers ? [memory, kv, forty] : [memory, kv];
  for (const [verb, goal] of [
    ["put", atLeast(0.7)],
    ["get", atLeast(0.9)],
  ] as const) {
    const turns = services.map((service) => [service.label, () => loads[verb](service)] as const);
    const samples = await interleaved(rounds, Object.fromEntries(turns));
    // How long one takes is told more exactly than how many fit into two seconds.
    const took = (label: string) => samples[label]?.map(({ p50 }) => p50) ?? [];
    const base = took(memory.label);
    const baseline = `B ${median(base).toFixed(0)} ms`;
    report.add({ name: `25 MiB value, ${verb}, of B`, unit: "", goal, rounds: ratios(base, took(OURS)), baseline });
    if (!allPeers) continue;
    const peer = { unit: "", rounds: ratios(base, took(forty.label)), baseline } as const;
    report.add({ name: `  25 MiB value, ${verb}: ${forty.label}`, ...peer });
  }
}

function loadsOf(file: string, ofPut: number, ofGet: number): Record<"put" | "get", (to: Service) => Promise<Load>> {
  return {
    put({ url, headers, put: [before, after] }) {
      const typed = { ...headers, "Content-Type": "application/json" };
      const options = { connections: 1, seconds: ofPut, script: "fixed.lua", args: ["PUT", file] };
      return wrk(url + before + LARGE + after, { ...options, headers: typed });
    },
    get: ({ url, headers, get }) => wrk(url + get.join(LARGE), { connections: 1, seconds: ofGet, headers }),
  };
}
