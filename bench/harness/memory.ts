/** Resident memory of a process, as Linux counts it, in MiB. */
import { readFileSync, writeFileSync } from "node:fs";

const SAMPLE_MS = 10;
/** proc(5): resets the peak, VmHWM, to what is resident now. */
const RESET_PEAK = "5";

function memoryOf(pid: number, field: "VmRSS" | "VmHWM"): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)?.[1]) / 1024;
}

export function residentMiB(pid: number): number {
  return memoryOf(pid, "VmRSS");
}

/** Watches from now on; the answer tells the peak. */
export function watchPeak(pid: number): () => number {
  let peak = residentMiB(pid);
  let isReset = true;
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, RESET_PEAK);
  } catch {
    // Not allowed in every container: then the samples are all there is.
    isReset = false;
  }
  const timer = setInterval(() => {
    peak = Math.max(peak, residentMiB(pid));
  }, SAMPLE_MS);
  return () => {
    clearInterval(timer);
    return Math.max(peak, memoryOf(pid, isReset ? "VmHWM" : "VmRSS"));
  };
}
