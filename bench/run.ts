/**
 * How fast is the built command, next to servers that do nothing but answer, and to its peers?
 *
 * Builds the package, starts `workertown-kv serve` with its defaults in a temporary folder and measures what it says in
 * issue "Fast", each figure in turns with its baseline of the same run; prints a table with the goals.
 *
 *   npm run bench                      all figures, under 10 minutes
 *   npm run bench -- quick             for a first look, under 2 minutes
 *   npm run bench -- growth            how it goes from 100,000 to 10,000,000 keys
 *   npm run bench -- engines [quick]   what the storage engines cost: see bench/engines/run.ts
 *   npm run bench -- timing            whether the time of a refusal tells anything: see bench/timing.ts
 *   npm run bench -- attacks           what requests cost that are made to cost much
 *   npm run bench -- hostile           how others fare beside slow, idle and endless clients
 *   npm run bench -- picture FILE      draws docs/performance.svg from the results in FILE
 *
 *   --results FILE   where the figures are written; default results.json in the temporary folder
 *   --folder FOLDER  where that folder is made; default the system's
 *   --only NAMES     some of the figures, by the names of their files in bench/figures, or bench/engines
 *   --built          the package is built already
 *
 * Needs `wrk`, and for the peers `npm ci --prefix bench` and Debian's `webdis` and `redis-server`.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { attacks } from "./attacks/run.ts";
import { crowd } from "./figures/crowd.ts";
import { growth } from "./figures/growth.ts";
import { largeValues } from "./figures/large.ts";
import { manyKeys } from "./figures/many.ts";
import { metrics } from "./figures/metrics.ts";
import { batches, lists } from "./figures/pages.ts";
import { pressure } from "./figures/pressure.ts";
import { reads } from "./figures/reads.ts";
import { starts } from "./figures/start.ts";
import { tokens } from "./figures/tokens.ts";
import { worker } from "./figures/worker.ts";
import { durableWrites, readsUnderWrites } from "./figures/writes.ts";
import type { Bench, CastBench } from "./harness/bench.ts";
import { makeCast } from "./harness/cast.ts";
import { machineOf, printTable, Report, type Results } from "./harness/report.ts";
import { MODES, ROOT, type Settings } from "./harness/settings.ts";
import { hostile } from "./hostile.ts";
import { picture } from "./picture.ts";

/** By file, in the order of the run: those that start what they measure, and those of the common cast. */
const ALONE: Record<string, ((bench: Bench) => Promise<void>)[]> = {
  start: [starts],
  pressure: [pressure],
  crowd: [crowd],
  large: [largeValues],
  worker: [worker],
  metrics: [metrics],
};
const TOGETHER: Record<string, ((bench: CastBench) => Promise<void>)[]> = {
  reads: [reads],
  pages: [batches, lists],
  tokens: [tokens],
  many: [manyKeys],
  writes: [readsUnderWrites, durableWrites],
};

const text = { type: "string" } as const;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { results: text, folder: text, only: text, built: { type: "boolean" } },
});

async function measure(
  settings: Settings,
  figures: (bench: Bench) => Promise<void>,
  name: string = settings.mode,
): Promise<void> {
  if (!values.built) execFileSync("npm", ["run", "--silent", "build"], { cwd: ROOT, stdio: "inherit" });
  const top = mkdtempSync(join(values.folder ?? tmpdir(), "kv-bench-"));
  const folder = join(top, "data");
  mkdirSync(folder);
  // However it ends; those who write there have ended by then.
  process.once("exit", () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  const file = resolve(values.results ?? join(top, "results.json"));
  const report = new Report(name, machineOf(folder));
  const bench = { settings, report, folder };
  const begun = performance.now();
  try {
    await figures(bench);
  } finally {
    report.write(file);
  }
  printTable(report.results);
  console.log(`\n${((performance.now() - begun) / 1000).toFixed(0)} s; figures in ${file}`);
}

/** Those of some figures that were asked for. */
function wanted<T>(figures: Readonly<Record<string, T[]>>): T[] {
  const only = values.only?.split(",");
  return Object.entries(figures).flatMap(([file, steps]) => ((only?.includes(file) ?? true) ? steps : []));
}

async function all(bench: Bench): Promise<void> {
  for (const step of wanted(ALONE)) await timed(step.name, () => step(bench));
  const steps = wanted(TOGETHER);
  if (steps.length === 0) return;
  await using cast = await timed("everybody's start", () => makeCast(bench.settings, bench.report, bench.folder));
  for (const step of steps) await timed(step.name, () => step({ ...bench, cast }));
}

async function timed<T>(name: string, step: () => Promise<T>): Promise<T> {
  const begun = performance.now();
  const made = await step();
  console.log(`  ${name}: ${((performance.now() - begun) / 1000).toFixed(0)} s`);
  return made;
}

const [mode = "full", file = "", ...more] = positionals;
if (mode === "picture") {
  const drawn = resolve(ROOT, "docs/performance.svg");
  writeFileSync(drawn, picture(JSON.parse(readFileSync(file, "utf8")) as Results));
  console.log(`Drew ${drawn}`);
} else if (mode === "timing") {
  const given = [file, ...more].filter((text) => text !== "");
  const script = join(ROOT, "bench/timing.ts");
  const { status } = spawnSync(process.execPath, ["--conditions=workertown-source", script, ...given], {
    stdio: "inherit",
  });
  process.exitCode = status ?? 1;
} else if (mode === "growth") {
  await measure(MODES.growth, growth);
} else if (mode === "attacks" || mode === "hostile") {
  await measure(MODES.quick, mode === "attacks" ? attacks : hostile, mode);
} else if (mode === "engines") {
  // Loaded for this only: it brings the drivers of all engines.
  const { ENGINE_FIGURES, ENGINE_SETTINGS } = await import("./engines/run.ts");
  const settings = ENGINE_SETTINGS[file === "quick" ? "quick" : "full"];
  const engines = async (bench: Bench) => {
    for (const step of wanted(ENGINE_FIGURES)) await timed(step.name, () => step(bench));
  };
  await measure(settings, engines, file === "quick" ? "engines, quick" : "engines");
} else if (mode === "full" || mode === "quick") {
  await measure(MODES[mode], all);
} else {
  throw new Error(
    `Expected nothing, "quick", "growth", "attacks", "hostile", "engines", "timing" or "picture", got ${JSON.stringify(mode)}`,
  );
}
