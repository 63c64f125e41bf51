/** Load by `wrk`, in a process of its own. */
import { execFile } from "node:child_process";
import { resolve } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface Load {
  /** Answers a second. */
  rate: number;
  /** Of an answer, in milliseconds. */
  p50: number;
  p99: number;
}

export interface LoadOptions {
  connections: number;
  seconds: number;
  headers?: Readonly<Record<string, string>>;
  /** A script of `bench/load`, and what it is given. */
  script?: string;
  args?: readonly (string | number)[];
}

const TIMEOUT_SECONDS = 30;
const PATIENT_SECONDS = 10;
const MILLISECONDS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, m: 60_000 };

/** One load on one target. Rejects where anything was refused or broken off, or nothing was answered. */
export async function wrk(url: string, options: LoadOptions): Promise<Load> {
  const load = await loadOf(url, options);
  // One answer may take longer than all the time there was.
  if (load.rate > 0) return load;
  const patient = await loadOf(url, { ...options, seconds: PATIENT_SECONDS });
  if (patient.rate > 0) return patient;
  throw new Error(`${url} ${options.script ?? ""}: not one answer in ${PATIENT_SECONDS} s`);
}

async function loadOf(url: string, options: LoadOptions): Promise<Load> {
  const { connections, seconds, headers = {}, script, args = [] } = options;
  const whole = Number.isInteger(seconds) ? seconds : Math.ceil(seconds) + 1;
  const running = run("wrk", [
    ...["-t1", `-c${connections}`, `-d${whole}s`, "--latency", "--timeout", `${TIMEOUT_SECONDS}s`],
    ...Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]),
    ...(script === undefined ? [] : ["-s", resolve(import.meta.dirname, "../load", script)]),
    ...[url, "--", ...args.map(String)],
  ]);
  // It takes whole seconds only; told to end, it reports what it has.
  const end = whole === seconds ? undefined : setTimeout(() => running.child.kill("SIGINT"), seconds * 1000);
  const { stdout } = await running.finally(() => clearTimeout(end));
  const fault = /^.*(?:Non-2xx or 3xx responses|Socket errors).*$/m.exec(stdout)?.[0];
  if (fault !== undefined) throw new Error(`${url} ${script ?? ""}: ${fault.trim()}`);
  const rate = Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]);
  return { rate, p50: percentile(stdout, 50), p99: percentile(stdout, 99) };
}

function percentile(text: string, percent: number): number {
  const [, value, unit] = new RegExp(`^\\s+${percent}%\\s+([\\d.]+)(us|ms|s|m)\\s*$`, "m").exec(text) ?? [];
  return Number(value) * (MILLISECONDS[unit ?? ""] ?? Number.NaN);
}
