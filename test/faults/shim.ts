/** The library of `shim.c`: built where there is a compiler, put before the command, and its record read. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { findBinary } from "../engines/server.ts";

/** Why the shim cannot be had here, or `false`. */
export const noShim =
  process.platform === "linux" && findBinary("/usr/bin/gcc") !== null && findBinary("/usr/include/stdio.h") !== null
    ? false
    : "no gcc: apt-get install gcc libc6-dev";

/** What the file system does now; the letters are those of `shim.c`. */
export type Fault = "none" | "flush" | "database flush" | "full" | "read-only";
const LETTERS: Record<Fault, string> = {
  none: "-",
  flush: "f",
  "database flush": "d",
  full: "s",
  "read-only": "r",
};

export interface Shim extends Disposable {
  /** What the command's environment must have for the shim to watch its folder. */
  env(folder: string): Record<string, string>;
  /** Takes effect with the next call of every process that has the shim. */
  set(fault: Fault): void;
  /** What was recorded so far. */
  records(): FileCall[];
}

/** One record; what the types and members mean is in `shim.c`. */
export interface FileCall {
  type: string;
  descriptor: number;
  offset: number;
  path: string;
  data: Buffer;
}

export function buildShim(): Shim {
  const home = mkdtempSync(join(tmpdir(), "kv-shim-"));
  const [library, log, faults] = ["shim.so", "log", "faults"].map((name) => join(home, name)) as [
    string,
    string,
    string,
  ];
  const source = resolve("test/faults/shim.c");
  execFileSync("gcc", ["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source], { stdio: "inherit" });
  const set = (fault: Fault) => writeFileSync(faults, LETTERS[fault], { flag: "r+" });
  writeFileSync(faults, LETTERS.none);
  return {
    env: (folder) => ({ LD_PRELOAD: library, SHIM_FOLDER: folder, SHIM_LOG: log, SHIM_FAULTS: faults }),
    set,
    records: () => parse(readFileSync(log)),
    [Symbol.dispose]: () => rmSync(home, { recursive: true, force: true }),
  };
}

function parse(log: Buffer): FileCall[] {
  const records: FileCall[] = [];
  for (let at = 0; at < log.length; ) {
    const end = log.indexOf("\n", at);
    const [, type = "", descriptor, offset, length, path = ""] =
      /^(\w) (\d+) (-?\d+) (\d+) (.*)$/.exec(log.toString("utf8", at, end)) ?? [];
    const data = log.subarray(end + 1, end + 1 + Number(length));
    records.push({ type, descriptor: Number(descriptor), offset: Number(offset), path, data });
    at = end + 1 + data.length;
  }
  return records;
}
