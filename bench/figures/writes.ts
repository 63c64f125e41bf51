/** Durable writes, and what they do to those who read. */
import { type CastBench, compare } from "../harness/bench.ts";
import { type Loader, spread, writes } from "../harness/loads.ts";
import { AHEAD, atLeast, atMost } from "../harness/report.ts";
import { interleaved, median, ratios } from "../harness/rounds.ts";
import { OURS, type Service } from "../harness/service.ts";
import { READERS } from "../harness/settings.ts";
import type { Load } from "../harness/wrk.ts";

/** How long the writers are at it before the readers begin, in seconds. */
const AHEAD_SECONDS = 0.5;

export async function durableWrites(bench: CastBench): Promise<void> {
  const { settings, report, folder, cast } = bench;
  const { log, kv, forty, peers, unflushed } = cast;
  const all = [log, kv, forty, ...peers, ...unflushed] as const;
  const load = writes({ count: settings.spread, folder });
  const { ratios: of, baseline } = await compare(bench, "durable PUT, of W", load, all, { series: true });
  const rounds = of[OURS] ?? [];
  report.add({ name: "durable PUT (1 KB, 64 connections), of W", unit: "", goal: atLeast(0.7), rounds, baseline });
  for (const { label } of peers.filter((peer) => peer.onDisk)) {
    const over = ratios(rounds, of[label]);
    report.add({ name: `durable PUT, over ${label}`, unit: "", goal: AHEAD, rounds: over, baseline: label });
  }
}

/** How long a read takes while others write, over how long it takes alone. */
export async function readsUnderWrites({ settings, report, folder, cast }: CastBench): Promise<void> {
  const { rounds, seconds } = settings;
  const read = spread(settings.spread);
  const write = writes({ count: settings.spread, folder, connections: READERS });

  async function turn(service: Service, round: number): Promise<{ alone: Load; among: Load }> {
    const alone = await read(service, { seconds, round });
    return { alone, among: await during(write, read, service, { seconds, round }) };
  }

  const services = settings.allPeers ? [cast.kv, cast.forty] : [cast.kv];
  const turns = services.map((service) => [service.label, (round: number) => turn(service, round)] as const);
  const samples = await interleaved(rounds, Object.fromEntries(turns));
  for (const { label } of services) {
    const taken = samples[label] ?? [];
    for (const percentile of ["p50", "p99"] as const) {
      const alone = taken.map((sample) => sample.alone[percentile]);
      const among = taken.map((sample) => sample.among[percentile]);
      const name = `GET ${percentile} while ${READERS} write ÷ alone`;
      const baseline = `alone ${median(alone).toFixed(2)} ms`;
      const figure = { unit: "" as const, rounds: ratios(among, alone), baseline };
      if (label === OURS) report.add({ name, goal: atMost(1.5), ...figure });
      else report.add({ name: `  ${name}: ${label}`, ...figure });
    }
  }
}

/** A load among another, which begins before it and ends after it. */
export async function during(
  other: Loader,
  load: Loader,
  service: Service,
  size: { seconds: number; round: number },
): Promise<Load> {
  const others = other(service, { ...size, seconds: size.seconds + 2 * AHEAD_SECONDS });
  // Heard at the end; until then it must not end the process.
  others.catch(() => {});
  await new Promise((done) => setTimeout(done, AHEAD_SECONDS * 1000));
  const taken = await load(service, size);
  await others;
  return taken;
}
