/** Reads of one key and of many, and a read that need not be sent. */
import { tagOf } from "../harness/baselines.ts";
import { type CastBench, compare } from "../harness/bench.ts";
import { HOT } from "../harness/data.ts";
import { hot, type Loader, spread } from "../harness/loads.ts";
import { AHEAD, atLeast } from "../harness/report.ts";
import { ratios } from "../harness/rounds.ts";
import { OURS } from "../harness/service.ts";
import { capture } from "../servers/captured.ts";

export async function reads(bench: CastBench): Promise<void> {
  const { settings, report, cast } = bench;
  const { memory, kv, forty, peers, etag } = cast;

  const hots = await compare(bench, "hot GET, of B", hot(), [memory, kv, forty, ...peers], { series: true });
  const { baseline } = hots;
  report.add({ name: "hot GET, of B", unit: "", goal: atLeast(0.95), rounds: hots.ratios[OURS] ?? [], baseline });

  const random = spread(settings.spread);
  const spreads = await compare(bench, "spread GET, of B", random, [memory, kv, forty, ...peers], { series: true });
  const rounds = spreads.ratios[OURS] ?? [];
  const name = `spread GET (${settings.spread} keys), of B`;
  report.add({ name, unit: "", goal: atLeast(0.6), rounds, baseline: spreads.baseline });
  for (const { label, onDisk } of [forty, ...peers]) {
    if (!onDisk) continue;
    const over = ratios(rounds, spreads.ratios[label]);
    report.add({ name: `spread GET, over ${label}`, unit: "", goal: AHEAD, rounds: over, baseline: label });
  }

  const tags: Record<string, string> = {
    [forty.label]: tagOf(await capture(forty.url + forty.get.join(HOT), { headers: forty.headers })),
  };
  const match: Loader = (service, size) => {
    return hot({ "If-None-Match": tags[service.label] ?? etag })(service, size);
  };
  const matches = await compare(bench, "304, of B", match, settings.allPeers ? [memory, kv, forty] : [memory, kv], {
    short: true,
  });
  const not = {
    unit: "",
    goal: atLeast(0.95),
    rounds: matches.ratios[OURS] ?? [],
    baseline: matches.baseline,
  } as const;
  report.add({ name: "If-None-Match → 304, of B", ...not });
}
