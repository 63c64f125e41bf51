/** How soon the command answers, and what it takes while nobody asks. */
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Bench } from "../harness/bench.ts";
import { KEY } from "../harness/data.ts";
import { residentMiB } from "../harness/memory.ts";
import { freePort } from "../harness/process.ts";
import { atMost } from "../harness/report.ts";
import { differences, interleaved, median } from "../harness/rounds.ts";
import { kvCommand, OURS, startForty } from "../harness/service.ts";
import { ROOT } from "../harness/settings.ts";

const RETRY_MS = 2;
/** After this a process that nobody asks no longer changes. */
const REST_MS = 1000;

export async function starts({ settings, report, folder }: Bench): Promise<void> {
  const cwd = join(folder, "start");
  mkdirSync(cwd);
  // The first start makes the file, which is not what is measured.
  await using made = await startForty(cwd);
  await made.stop();
  await firstAnswer(kvCommand().args, cwd);
  const forty = (port: number) => [join(ROOT, "bench/servers/forty-lines.ts"), String(port), "forty-lines.sqlite"];
  const samples = await interleaved(settings.starts, {
    node: () => emptyNode(),
    kv: async () => (await firstAnswer(kvCommand().args, cwd)).took,
    forty: async () => (await firstAnswer(forty, cwd)).took,
  });
  const baseline = `node -e 0 ${median(samples.node ?? []).toFixed(0)} ms`;
  const rounds = differences(samples.kv, samples.node);
  report.add({ name: "start to first 200, over node -e 0", unit: "ms", goal: atMost(130), rounds, baseline });
  const others = differences(samples.forty, samples.node);
  report.add({ name: "  start, over node -e 0: 40 lines of Hono, not compiled", unit: "ms", rounds: others, baseline });

  const resting = await interleaved(settings.rounds, {
    [OURS]: async () => (await firstAnswer(kvCommand().args, cwd, REST_MS)).resident,
  });
  const idle = resting[OURS] ?? [];
  report.add({ name: "RSS idle", unit: "MiB", goal: atMost(85), rounds: idle, baseline: "" });
}

function emptyNode(): Promise<number> {
  const begun = performance.now();
  const child = spawn(process.execPath, ["-e", "0"], { stdio: "ignore" });
  return new Promise((done) => child.once("exit", () => done(performance.now() - begun)));
}

/** Milliseconds from the start of a process to its first 200, and what is resident after a rest. */
async function firstAnswer(args: (port: number) => string[], cwd: string, rest = 0) {
  const port = await freePort();
  const begun = performance.now();
  const child = spawn(process.execPath, args(port), {
    cwd,
    env: { PATH: process.env.PATH, KV_API_KEY: KEY },
    stdio: "ignore",
  });
  const ended = new Promise((done) => child.once("exit", done));
  try {
    while (!(await isAnswered(port))) {
      if (child.exitCode !== null) throw new Error(`${args(port).join(" ")} ended with ${child.exitCode}`);
      await delay(RETRY_MS);
    }
    const took = performance.now() - begun;
    await delay(rest);
    return { took, resident: residentMiB(child.pid ?? 0) };
  } finally {
    child.kill("SIGTERM");
    await ended;
  }
}

/** Whether a list of one key is answered 200. */
function isAnswered(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.write(`GET /v1/kv?limit=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${KEY}\r\n\r\n`);
    });
    socket.once("data", (answer) => {
      socket.destroy();
      done(String(answer).startsWith("HTTP/1.1 200"));
    });
    socket.once("error", () => done(false));
    socket.once("end", () => done(false));
  });
}
