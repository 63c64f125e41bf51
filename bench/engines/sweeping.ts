/** Reads over PostgreSQL while a large number of expired rows is swept, next to reads while nothing is. */
import { startPostgres } from "../../test/engines/postgres-server.ts";
import type { Bench } from "../harness/bench.ts";
import { type Fill, ITEM } from "../harness/data.ts";
import { spread } from "../harness/loads.ts";
import { atMost } from "../harness/report.ts";
import { interleaved, median, ratios } from "../harness/rounds.ts";
import { importInto, type Service } from "../harness/service.ts";
import { KIB } from "../harness/settings.ts";
import { CALLERS } from "./driver.ts";
import { startService } from "./service.ts";

const LIVE: Fill = { prefix: ITEM, count: 10_000, bytes: KIB };
const MANY = 1_000_000;
const FEW = 200_000;
const PART = 100_000;
/** After that many seconds it is left at what there is. */
const FILL_S = 45;
const ROUNDS = 5;

const EXPIRED = `INSERT INTO workertown_kv (namespace, name, value, metadata, expires_at, version, updated_at)
  SELECT 'swept', convert_to('gone-' || lpad(i::text, 9, '0'), 'UTF8'), $3::text, NULL, 1000000000000 + i, 'expired', 0
  FROM generate_series($1::bigint, $2::bigint) AS i`;
const LIVING = `INSERT INTO workertown_kv SELECT (jsonb_populate_record(kv, '{"namespace":"swept"}')).*
  FROM workertown_kv AS kv WHERE namespace = 'quiet'`;
const LEFT = "SELECT count(*)::integer AS count FROM workertown_kv WHERE namespace = 'swept' AND version = 'expired'";

export async function sweeping({ settings, report, folder }: Bench): Promise<void> {
  await using engine = await startPostgres();
  const { url } = engine;
  await using quiet = await startService(folder, "quiet", { engine: "postgres", url, namespace: "quiet" });
  await importInto(quiet, LIVE);
  await engine.admin(LIVING);
  const wanted = settings.many < MANY ? FEW : MANY;
  let expired = 0;
  for (const begun = performance.now(); expired < wanted; expired += PART) {
    if (expired >= FEW && performance.now() - begun > FILL_S * 1000) break;
    await engine.admin(EXPIRED, [expired, expired + PART - 1, `{"text":"${"x".repeat(89)}"}`]);
  }
  await engine.admin("VACUUM (ANALYZE) workertown_kv");
  await engine.admin("CHECKPOINT");
  const left = async () => Number((await engine.admin(LEFT))[0]?.count);

  // It sweeps from its start on, and is stopped while the other one is measured.
  await using swept = await startService(folder, "swept", { engine: "postgres", url, namespace: "swept" });
  let swepts = 0;
  let gone = 0;
  const load = spread(LIVE.count, CALLERS);
  const during = async (service: Service, round: number) => {
    await load(service, { seconds: 0.5, round });
    return load(service, { seconds: settings.seconds, round });
  };
  try {
    const turns = await interleaved(ROUNDS, {
      async quiet(round) {
        process.kill(swept.pid, "SIGSTOP");
        try {
          return await during(quiet, round);
        } finally {
          process.kill(swept.pid, "SIGCONT");
        }
      },
      async swept(round) {
        const before = await left();
        const begun = performance.now();
        const measured = await during(swept, round);
        swepts += performance.now() - begun;
        gone += before - (await left());
        return measured;
      },
    });
    const [still, busy] = [turns.quiet ?? [], turns.swept ?? []];
    const p99 = (loads: typeof still) => loads.map((one) => one.p99);
    const baseline = `quiet ${median(p99(still)).toFixed(1)} ms, sweeping ${median(p99(busy)).toFixed(1)} ms`;
    const rounds = ratios(p99(busy), p99(still));
    report.add({ name: "PostgreSQL: p99 of GET while swept ÷ quiet", unit: "", goal: atMost(2), rounds, baseline });
    const rates = ratios(
      busy.map(({ rate }) => rate),
      still.map(({ rate }) => rate),
    );
    report.add({ name: "  GET/s while swept ÷ quiet", unit: "", rounds: rates, baseline: "" });
    const rate = gone / (swepts / 1000);
    report.remark(
      `Swept under load: ${rate.toFixed(0)} of ${expired} expired rows a second; all would take ${(expired / rate / 60).toFixed(0)} min`,
    );
  } finally {
    process.kill(swept.pid, "SIGCONT");
  }
}
