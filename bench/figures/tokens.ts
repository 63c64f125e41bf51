/** Reads with a JWT: the same one again, and what new ones do to the reads of others. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CastBench, compare } from "../harness/bench.ts";
import { HOT, jsonOf } from "../harness/data.ts";
import { startIdentity } from "../harness/identity.ts";
import { hot, type Loader } from "../harness/loads.ts";
import { atLeast, atMost } from "../harness/report.ts";
import { interleaved, median, ratios } from "../harness/rounds.ts";
import { OURS, put, startKv } from "../harness/service.ts";
import { KIB } from "../harness/settings.ts";
import { wrk } from "../harness/wrk.ts";
import { during } from "./writes.ts";

const CONNECTIONS = 4;
const PAUSE_MS = 8;
/** The most that the connections can use up in a second. */
const TOKENS_A_SECOND = (CONNECTIONS * 1000) / PAUSE_MS;

export async function tokens(bench: CastBench): Promise<void> {
  const { settings, report, folder, cast } = bench;
  await using identity = await startIdentity();
  await using kv = await startKv({ folder: join(folder, "jwt"), env: { KV_JWKS_URL: identity.url } });
  await put(kv, HOT, jsonOf(0, KIB));

  const load = hot({ Authorization: `Bearer ${identity.token()}` });
  const { ratios: of, baseline } = await compare(bench, "JWT", load, [cast.memory, kv], { short: true });
  report.add({
    name: "JWT (ES256, same token again), of B",
    unit: "",
    goal: atLeast(0.85),
    rounds: of[OURS] ?? [],
    baseline,
  });

  const turn = TOKENS_A_SECOND * (settings.short + 2);
  const file = join(folder, "tokens");
  writeFileSync(file, Array.from({ length: turn * settings.rounds }, () => `${identity.token()}\n`).join(""));
  /** Its tokens at a steady pace: of each round new ones, or always the first. */
  const paced = (isNew: boolean): Loader => {
    return ({ url, get }, { seconds, round }) => {
      const args = [file, isNew ? round * turn : 0, isNew ? turn : 1, PAUSE_MS];
      return wrk(url + get.join(HOT), { connections: CONNECTIONS, seconds, script: "tokens.lua", args });
    };
  };
  const samples = await interleaved(settings.rounds, {
    same: (round) => during(paced(false), hot(), kv, { seconds: settings.short, round }),
    new: (round) => during(paced(true), hot(), kv, { seconds: settings.short, round }),
  });
  const [same, others] = [samples.same, samples.new].map((loads) => loads?.map(({ p99 }) => p99) ?? []);
  report.add({
    name: `hot GET p99 while ≤ ${TOKENS_A_SECOND} new tokens/s come ÷ one again`,
    unit: "",
    goal: atMost(1.5),
    rounds: ratios(others, same),
    baseline: `one token again ${median(same ?? []).toFixed(2)} ms`,
  });
}
