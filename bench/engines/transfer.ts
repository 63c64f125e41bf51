/** The export of many entries out of SQLite into a file, and its import into PostgreSQL, by curl as `docs/scaling.md` has it. */
import { execFile } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Postgres, startPostgres } from "../../test/engines/postgres-server.ts";
import type { Bench } from "../harness/bench.ts";
import { type Fill, ITEM, KEY } from "../harness/data.ts";
import { residentMiB, watchPeak } from "../harness/memory.ts";
import { importInto } from "../harness/service.ts";
import { serveUrl } from "./engines.ts";

const run = promisify(execFile);
const MANY = 1_000_000;
const FEW = 200_000;
const LONGEST_S = 90;

export async function transfer({ settings, report, folder }: Bench): Promise<void> {
  await using postgres = await startPostgres();
  // The first says whether there is time for the whole, and does not count where there is.
  const few = await moved(postgres, { folder, count: settings.many < MANY ? 50_000 : FEW });
  const whole = settings.many >= MANY && (few.seconds * MANY) / FEW <= LONGEST_S;
  if (!whole && few.count === FEW)
    report.remark(`Moved ${few.count} entries only: 1,000,000 would have taken over ${LONGEST_S} s`);
  const { count, exported, imported, bytes, peaks } = whole ? await moved(postgres, { folder, count: MANY }) : few;

  const entries = `${count.toLocaleString("en")} entries of 100 B`;
  const rate = (seconds: number) => count / seconds / 1000;
  const size = `${(bytes / 1_048_576).toFixed(0)} MiB of NDJSON`;
  const row = { unit: "", rounds: [] } as const;
  report.add({
    ...row,
    name: "export from SQLite, 1,000 entries/s",
    value: rate(exported),
    baseline: `${entries}, ${exported.toFixed(1)} s, ${size}`,
  });
  report.add({
    ...row,
    name: "import into PostgreSQL, 1,000 entries/s",
    value: rate(imported),
    baseline: `${entries}, ${imported.toFixed(1)} s`,
  });
  for (const [name, { idle, peak }] of Object.entries(peaks)) {
    const baseline = `idle ${idle.toFixed(0)} MiB`;
    report.add({ name: `${name}: peak RSS of the service`, unit: "MiB", rounds: [], value: peak, baseline });
  }
}

async function moved(postgres: Postgres, { folder, count }: { folder: string; count: number }) {
  const fill: Fill = { prefix: ITEM, count, bytes: 100 };
  // Filled by a process that is not the one whose memory is told.
  {
    await using filling = await serveUrl(folder, `moved-${count}`);
    await importInto(filling, fill);
  }
  await using old = await serveUrl(folder, `moved-${count}`);
  await using fresh = await serveUrl(folder, `moved-into-${count}`, {
    KV_DB: await postgres.database(`moved_${count}`),
  });
  const file = join(folder, `moved-${count}.ndjson`);
  const auth = ["-sSf", "-H", `Authorization: Bearer ${KEY}`];

  const idle = { old: residentMiB(old.pid), fresh: residentMiB(fresh.pid) };
  const exportPeak = watchPeak(old.pid);
  const exported = await secondsOf(() => run("curl", [...auth, `${old.url}/admin/export`, "-o", file]));
  const peaks = { "SQLite → file": { idle: idle.old, peak: exportPeak() } };

  const importPeak = watchPeak(fresh.pid);
  const type = ["-H", "Content-Type: application/x-ndjson"];
  const imported = await secondsOf(async () => {
    const { stdout } = await run("curl", [...auth, ...type, "-X", "POST", `${fresh.url}/admin/import`, "-T", file]);
    const { imported, failed_total } = JSON.parse(stdout).data;
    if (imported !== count || failed_total !== 0) throw new Error(`The import answered ${stdout}`);
  });
  return {
    count,
    exported,
    imported,
    seconds: exported + imported,
    bytes: statSync(file).size,
    peaks: { ...peaks, "file → PostgreSQL": { idle: idle.fresh, peak: importPeak() } },
  };
}

async function secondsOf(step: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await step();
  return (performance.now() - begun) / 1000;
}
