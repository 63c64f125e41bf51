/** What every figure is given, and the comparison that most of them are. */
import type { Cast } from "./cast.ts";
import type { Loader } from "./loads.ts";
import type { Report } from "./report.ts";
import { interleaved, median, ratios } from "./rounds.ts";
import type { Service } from "./service.ts";
import type { Settings } from "./settings.ts";
import type { Load } from "./wrk.ts";

/** A load before the first turn, which does not count. */
const WARM_SECONDS = 0.5;

export interface Bench {
  settings: Settings;
  report: Report;
  /** For whatever a figure stores; it is removed at the end. */
  folder: string;
}

export type CastBench = Bench & { cast: Cast };

export interface Compared {
  /** By label. */
  loads: Record<string, Load[]>;
  ratios: Record<string, number[]>;
  /** The baseline as a text. */
  baseline: string;
}

/** The same load on the baseline and on each other, in turns; what comes out is kept as a series under this name. */
export async function compare(
  { settings: { rounds, seconds, short, warm }, report }: Bench,
  name: string,
  load: Loader,
  [base, ...others]: readonly [base: Service, ...others: Service[]],
  options: { series?: boolean; short?: boolean } = {},
): Promise<Compared> {
  const all = [base, ...others];
  if (warm) for (const service of all) await load(service, { seconds: WARM_SECONDS, round: rounds });
  const turns = all.map((service) => {
    const take = (round: number) => load(service, { seconds: options.short ? short : seconds, round });
    return [service.label, take] as const;
  });
  const loads = await interleaved(rounds, Object.fromEntries(turns));
  const ratesOf = (label: string) => (loads[label] ?? []).map(({ rate }) => rate);
  const baseRates = ratesOf(base.label);
  const over = Object.fromEntries(all.map(({ label }) => [label, ratios(ratesOf(label), baseRates)]));
  if (options.series) {
    const entries = all.map(({ label, onDisk }) => {
      return [label, { rate: median(ratesOf(label)), ratio: median(over[label] ?? []), onDisk }] as const;
    });
    report.results.series[name] = Object.fromEntries(entries);
  }
  return { loads, ratios: over, baseline: `${base.label} ${median(baseRates).toFixed(0)}/s` };
}
