/** Many keys in one answer: batches of gets, and a page of a list. */
import { type CastBench, compare } from "../harness/bench.ts";
import { DIGITS, ITEM, LISTED, LISTED_COUNT } from "../harness/data.ts";
import { type Loader, spread } from "../harness/loads.ts";
import { atLeast } from "../harness/report.ts";
import { interleaved, median, ratios } from "../harness/rounds.ts";
import { OURS } from "../harness/service.ts";
import { wrk } from "../harness/wrk.ts";

const BATCH = 100;
const CONNECTIONS = 16;

export async function batches({ settings, report, cast: { kv } }: CastBench): Promise<void> {
  const { rounds, short: seconds, spread: count } = settings;
  const single = spread(count, CONNECTIONS);
  const samples = await interleaved(rounds, {
    single: (round) => single(kv, { seconds, round }),
    batch(round) {
      const args = [round, ITEM, DIGITS, count, BATCH];
      const options = { connections: CONNECTIONS, seconds, headers: kv.headers, script: "batch.lua", args };
      return wrk(`${kv.url}/v1/kv`, options);
    },
  });
  const keys = samples.batch?.map(({ rate }) => rate * BATCH);
  const singles = samples.single?.map(({ rate }) => rate) ?? [];
  const baseline = `single ${median(singles).toFixed(0)}/s`;
  const name = `batch of ${BATCH} random gets, keys a second ÷ single gets`;
  report.add({ name, unit: "", goal: atLeast(15), rounds: ratios(keys, singles), baseline });
}

export async function lists(bench: CastBench): Promise<void> {
  const { report, settings, cast } = bench;
  const { memory, kv, forty, peers, unstorageList } = cast;
  const load: Loader = ({ url, headers, list }, { seconds }) => {
    return wrk(url + (list?.join(LISTED) ?? ""), { connections: CONNECTIONS, seconds, headers });
  };
  const listing = peers.filter(({ list, onDisk }) => list !== null && onDisk);
  const others = settings.allPeers ? [forty, ...listing] : [];
  // With the many other keys beside its list it reads through them all.
  const alone = unstorageList === null ? [] : [{ ...unstorageList, label: `${unstorageList.label}, nothing else` }];
  const all = [memory, kv, ...others, ...alone] as const;
  const { ratios: of, baseline } = await compare(bench, "list, of B", load, all, { series: true, short: true });
  const rounds = of[OURS] ?? [];
  report.add({ name: `list of ${LISTED_COUNT} keys, of B`, unit: "", goal: atLeast(0.08), rounds, baseline });
  for (const [{ label }, goal] of [
    ...listing.map((peer) => [peer, atLeast(5)] as const),
    ...alone.map((peer) => [peer, undefined] as const),
  ]) {
    const over = ratios(rounds, of[label]);
    report.add({ name: `list, over ${label}`, unit: "", ...(goal && { goal }), rounds: over, baseline: label });
  }
}
