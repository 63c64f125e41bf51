/** The time of the processor that a process has had, as Linux counts it, in milliseconds. */
import { readFileSync } from "node:fs";

/** proc(5): of a tick, 100 of which make a second on Linux. */
const TICK_MS = 10;

export function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}
