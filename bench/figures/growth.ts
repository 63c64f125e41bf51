/** What a read, a write and a page of a list cost as the file grows: three files, in turns. */
import { join } from "node:path";
import type { Bench } from "../harness/bench.ts";
import { DIGITS, type Fill, ITEM } from "../harness/data.ts";
import { type Loader, spread, writes } from "../harness/loads.ts";
import { atMost } from "../harness/report.ts";
import { interleaved, median } from "../harness/rounds.ts";
import { importInto, type Service, startKv } from "../harness/service.ts";
import { wrk } from "../harness/wrk.ts";

const COUNTS = [100_000, 1_000_000, 10_000_000];
const BYTES = 100;
const PAGE_DIGITS = 3;
const PAGE = 10 ** PAGE_DIGITS;
const CONNECTIONS = 16;

export async function growth({ settings, report, folder }: Bench): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const services = new Map<number, Service>();
  for (const count of COUNTS) {
    const fill: Fill = { prefix: ITEM, count, bytes: BYTES };
    const begun = performance.now();
    const service = stack.use(await startKv({ folder: join(folder, `growth-${count}`) }));
    await importInto(service, fill);
    report.remark(`${count} keys of 100 B imported in ${((performance.now() - begun) / 1000).toFixed(0)} s`);
    services.set(count, service);
  }

  const figures: [name: string, load: (count: number) => Loader][] = [
    ["random GET", (count) => spread(count)],
    ["random page of 1,000 keys", randomPages],
    ["random PUT (100 B, 64 connections)", (count) => writes({ count, folder, prefix: ITEM, bytes: BYTES })],
  ];
  for (const [name, load] of figures) {
    const turns = [...services].map(([count, service]) => {
      const take = (round: number) => load(count)(service, { seconds: settings.seconds, round });
      return [String(count), take] as const;
    });
    const samples = await interleaved(settings.rounds, Object.fromEntries(turns));
    const rates = COUNTS.map((count) => samples[count]?.map(({ rate }) => rate) ?? []);
    const [first = [], last = []] = [rates[0], rates.at(-1)];
    const slower = first.map((rate, round) => (rate / (last[round] ?? Number.NaN) - 1) * 100);
    const baseline = COUNTS.map((count, at) => `${count}: ${median(rates[at] ?? []).toFixed(0)}/s`).join(", ");
    report.add({ name: `${name}, time added 100k → 10M`, unit: "%", goal: atMost(15), rounds: slower, baseline });
  }
}

/** All keys that begin with the same digits but the last three. */
function randomPages(count: number): Loader {
  return ({ url, headers, list }, { seconds, round }) => {
    const [before = "", after = ""] = list ?? [];
    const args = [round, before + ITEM, DIGITS - PAGE_DIGITS, count / PAGE, after];
    return wrk(url, { connections: CONNECTIONS, seconds, headers, script: "random.lua", args });
  };
}
