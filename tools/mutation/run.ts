/**
 * Plants a fault in every place that StrykerJS knows to mutate, and counts those that the part's tests see:
 * `npm run check [part…]`. Ends with 1 where a part's share is under {@link LEAST}.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import type { LogLevel, MutantResult, PartialStrykerOptions } from "@stryker-mutator/api/core";
import { Stryker } from "@stryker-mutator/core";
import { PARTS, type Part } from "./parts.ts";

/** Percent of the mutants. */
const LEAST = 90;
const HERE = import.meta.dirname;
const ROOT = resolve(HERE, "../..");

process.chdir(ROOT);
process.env.PATH = `${join(ROOT, "node_modules/.bin")}:${process.env.PATH}`;
process.env.SCANNER_TEXTS ??= "300";
mkdirSync(join(HERE, "reports"), { recursive: true });

/** What became of the mutants of a part; `late` is how many of those that were seen never ended. */
interface Outcome {
  seen: number;
  late: number;
  all: number;
  unseen: string[];
}

const wanted = process.argv.slice(2);
for (const part of PARTS.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
  const began = Date.now();
  const { seen, late, all, unseen } = await check(part);
  const share = (100 * seen) / all;
  const seconds = Math.round((Date.now() - began) / 1000);
  const summary = `${part.name}: ${seen} of ${all} seen (${late} by no end), ${share.toFixed(1)} %, in ${seconds} s`;
  writeFileSync(join(HERE, "reports", `${part.name}.txt`), [summary, ...unseen, ""].join("\n"));
  console.log([summary, ...unseen].join("\n  "));
  if (share < LEAST) process.exitCode = 1;
}

async function check({ mutate, tests }: Part): Promise<Outcome> {
  process.env.MUTATION_TESTS = tests.join(" ");
  const plugin = (path: string) => join(HERE, path);
  const options: PartialStrykerOptions = {
    plugins: [plugin("node_modules/@stryker-mutator/vitest-runner/dist/src/index.js"), plugin("messages.ts")],
    testRunner: "vitest",
    vitest: { configFile: "tools/mutation/vitest.config.ts", related: false },
    mutate: [...mutate],
    ignorers: ["messages"],
    coverageAnalysis: "perTest",
    concurrency: 2,
    // Besides one and a half times what the tests took unchanged.
    timeoutMS: 3000,
    tsconfigFile: "none",
    reporters: ["progress-append-only"],
    logLevel: "warn" as LogLevel,
    tempDirName: "tools/mutation/.tmp",
    ignorePatterns: ["bench", "dist", "docs", "tools/*/node_modules", "tools/mutation/reports"],
  };
  // A mutant that no test file can be loaded with is none that tests were tried on: StrykerJS leaves it out too.
  const judged = ({ status }: MutantResult) => status !== "Ignored" && status !== "RuntimeError";
  const mutants = (await new Stryker(options).runMutationTest()).filter(judged);
  const late = mutants.filter(({ status }) => status === "Timeout").length;
  const unseen = mutants.filter(({ status }) => status !== "Killed" && status !== "Timeout");
  return { seen: mutants.length - unseen.length, late, all: mutants.length, unseen: unseen.map(lineOf).sort() };
}

function lineOf({ fileName, location, mutatorName, replacement, status }: MutantResult): string {
  const { line, column } = location.start;
  const text = replacement?.replaceAll(/\s+/g, " ");
  return `${relative(ROOT, fileName)}:${line}:${column} ${status} ${mutatorName}: ${text}`;
}
