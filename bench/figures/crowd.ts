/** Eight writes of 25 MiB at once. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Bench } from "../harness/bench.ts";
import { exchange, idleMiB } from "../harness/exchange.ts";
import { watchPeak } from "../harness/memory.ts";
import { interleaved } from "../harness/rounds.ts";
import { startKv } from "../harness/service.ts";
import { largeBody } from "./large.ts";

const AT_ONCE = 8;
const MAX_MIB = 200;

export async function crowd({ settings, report, folder }: Bench): Promise<void> {
  const body = readFileSync(largeBody(folder));
  let made = 0;
  const samples = await interleaved(settings.rounds, {
    async kv() {
      await using service = await startKv({ folder: join(folder, `crowd-${made++}`) });
      const idle = await idleMiB(service);
      const peakOf = watchPeak(service.pid);
      const puts = Array.from({ length: AT_ONCE }, (_, at) => exchange(service, "PUT", `large-${at}`, body));
      const statuses = await Promise.all(puts);
      return { over: peakOf() - idle, statuses };
    },
  });
  const taken = samples.kv ?? [];
  const statuses = taken.flatMap((one) => one.statuses);
  const count = (wanted: number) => statuses.filter((status) => status === wanted).length;
  const others = statuses.length - count(200) - count(503);
  report.add({
    name: `${AT_ONCE} such puts at once, RSS over idle`,
    unit: "MiB",
    goal: { text: `≤ ${MAX_MIB}`, holds: (value) => value <= MAX_MIB && others === 0 },
    rounds: taken.map(({ over }) => over),
    baseline: `${count(200)} × 200, ${count(503)} × 503, ${others} others`,
  });
}
