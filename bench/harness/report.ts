/** What was measured, as a table and as a file. */
import { execFileSync } from "node:child_process";
import { statfsSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { median } from "./rounds.ts";

export interface Goal {
  text: string;
  holds(value: number): boolean;
}

export const atLeast = (bound: number): Goal => ({ text: `≥ ${bound}`, holds: (value) => value >= bound });
export const atMost = (bound: number): Goal => ({ text: `≤ ${bound}`, holds: (value) => value <= bound });
/** In front of whoever it is compared with. */
export const AHEAD: Goal = { text: "> 1", holds: (value) => value > 1 };

export interface Figure {
  name: string;
  /** "" for a ratio. */
  unit: "" | "×" | "ms" | "MiB" | "B" | "%";
  /** The median, and what it is the median of. */
  value: number;
  rounds: readonly number[];
  /** Absent where it is only told. */
  goal?: string;
  meets?: boolean;
  /** What it is compared with, as measured. */
  baseline: string;
}

/** Answers a second of each contender, and as a ratio to the baseline: medians. */
export type Series = Record<string, Record<string, { rate: number; ratio: number; onDisk: boolean }>>;

export interface Results {
  mode: string;
  machine: Machine;
  figures: Figure[];
  series: Series;
  remarks: string[];
}

export interface Machine {
  date: string;
  processor: string;
  cores: number;
  node: string;
  kernel: string;
  wrk: string;
  /** Of the folder that everybody stores in, as a number of statfs(2). */
  fileSystem: string;
}

const TMPFS = 0x01021994;

export function machineOf(folder: string): Machine {
  const [first, ...rest] = cpus();
  const type = statfsSync(folder).type;
  return {
    date: new Date().toISOString(),
    processor: first?.model ?? "unknown",
    cores: rest.length + 1,
    node: process.version,
    kernel: release(),
    wrk: wrkVersion(),
    fileSystem: type === TMPFS ? "tmpfs: nothing is durable there, and writes cost less" : `0x${type.toString(16)}`,
  };
}

function wrkVersion(): string {
  try {
    execFileSync("wrk", ["-v"], { encoding: "utf8" });
  } catch (error) {
    // It ends with 1 after having said it.
    const said = /^wrk (\S+)/.exec(String((error as { stdout?: unknown }).stdout));
    if (said?.[1] !== undefined) return said[1];
  }
  throw new Error("wrk is not here: apt-get install wrk");
}

export class Report {
  readonly results: Results;

  constructor(mode: string, machine: Machine) {
    this.results = { mode, machine, figures: [], series: {}, remarks: [] };
  }

  /** Adds a figure; its value is the median of the rounds unless one is given. */
  add({ goal, value, ...figure }: Omit<Figure, "value" | "goal" | "meets"> & { goal?: Goal; value?: number }): void {
    const reached = value ?? median(figure.rounds);
    const judged = goal === undefined ? {} : { goal: goal.text, meets: goal.holds(reached) };
    const added = { ...figure, value: reached, ...judged };
    this.results.figures.push(added);
    console.log(rowOf(added));
  }

  remark(text: string): void {
    this.results.remarks.push(text);
    console.log(`  ${text}`);
  }

  write(path: string): void {
    writeFileSync(path, `${JSON.stringify(this.results, null, 2)}\n`);
  }
}

const DECIMALS: Readonly<Record<Figure["unit"], number>> = { "": 2, "×": 2, ms: 1, MiB: 0, B: 0, "%": 0 };

export function shown(value: number, unit: Figure["unit"]): string {
  return `${value.toFixed(DECIMALS[unit])}${unit === "" ? "" : ` ${unit}`}`;
}

function rowOf({ name, goal = "told", value, unit, meets, baseline, rounds }: Figure): string {
  const range =
    rounds.length < 2
      ? ""
      : `  (${[Math.min(...rounds), Math.max(...rounds)].map((one) => shown(one, unit)).join("–")})`;
  const verdict = meets === undefined ? "" : meets ? "yes" : "NO";
  return `${name.padEnd(56)} ${goal.padStart(7)}  ${shown(value, unit).padStart(9)}  ${verdict.padEnd(3)}  ${baseline}${range}`;
}

export function printTable({ figures, series, machine, remarks, mode }: Results): void {
  const { processor, cores, node, kernel, date, wrk, fileSystem } = machine;
  console.log(
    `\n${processor}, ${cores} cores, Linux ${kernel}, Node ${node}, wrk ${wrk}, file system ${fileSystem}, ${date}`,
  );
  console.log(
    `\n${"figure".padEnd(56)} ${"goal".padStart(7)}  ${"reached".padStart(9)}  met  baseline (and the range of the rounds)`,
  );
  for (const figure of figures) console.log(rowOf(figure));
  for (const [name, rates] of Object.entries(series)) {
    console.log(`\n${name}`);
    for (const [label, { rate, ratio }] of Object.entries(rates)) {
      console.log(`  ${label.padEnd(30)} ${rate.toFixed(0).padStart(8)}/s  ${ratio.toFixed(2).padStart(6)}`);
    }
  }
  for (const remark of remarks) console.log(`\n${remark}`);
  if (mode === "quick") console.log("\nA quick run: for a first look, not for the record.");
}
