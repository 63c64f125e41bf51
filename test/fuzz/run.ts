/** Sends inputs over real sockets, many at once, and stops at the first whose answers are not as they must be. */
import { type ChildProcess, fork } from "node:child_process";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { faultOf, type Received } from "./answers.ts";
import { CREDENTIALS, KEY } from "./credentials.ts";
import { type Input, inputOf } from "./input.ts";

export interface FuzzOptions {
  seed: number;
  /** The first input, and how many. */
  from?: number;
  count: number;
  /** After so long no more are sent. */
  seconds?: number;
  /** A fault to plant in the service. */
  fault?: string;
  /** After so many milliseconds a connection that is not over hangs. */
  hangMs?: number;
  progress?(done: number): void;
}

/** Connections at once. */
const AT_ONCE = 96;
/** When nothing has come for so long, the client ends its half of the connection. */
const QUIET_MS = 200;
/** How long the canary is waited for, and a connection unless told otherwise. */
const HANG_MS = 10_000;
/** How many inputs lie between two looks at the canary. */
const CANARY_EVERY = 1000;

/** How many were sent; rejects with the input that was answered wrongly. */
export async function fuzz({
  seed,
  from = 0,
  count,
  seconds = 3600,
  fault = "",
  hangMs = HANG_MS,
  progress,
}: FuzzOptions): Promise<number> {
  const { child, port, ended } = await startServer(fault);
  const until = performance.now() + seconds * 1000;
  const url = `http://127.0.0.1:${port}`;
  const canary = await plantCanary(url);
  const inFlight = new Set<number>();
  let next = from;
  let failure: Error | undefined;
  let looked = Promise.resolve();
  void ended.then((why) => {
    failure ??= new Error(`${why}\nseed ${seed}, in flight: ${[...inFlight].join(" ")}`);
  });

  /** That the service has ended explains more, and is learnt a little later. */
  async function fail(message: string): Promise<void> {
    await Promise.race([ended, delay(100)]);
    failure ??= new Error(message);
  }

  async function work(): Promise<void> {
    while (failure === undefined && next < from + count && performance.now() < until) {
      const index = next++;
      const input = inputOf(seed, index, CREDENTIALS);
      inFlight.add(index);
      const wrong = await exchange(port, input, hangMs);
      // A service that stands still is the fault of one of several.
      if (wrong !== "") await fail(`${report(wrong, seed, index, input)}\nin flight: ${[...inFlight].join(" ")}`);
      inFlight.delete(index);
      if ((index + 1) % CANARY_EVERY !== 0 || failure !== undefined) continue;
      progress?.(index + 1 - from);
      looked = looked.then(() =>
        canary().catch((error: Error) =>
          fail(`${error.message}, between the inputs ${index + 1 - CANARY_EVERY} and ${index} of seed ${seed}`),
        ),
      );
      await looked;
    }
  }

  try {
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    if (failure === undefined) await canary();
  } finally {
    child.kill("SIGKILL");
  }
  if (failure !== undefined) throw failure;
  return next - from;
}

function report(wrong: string, seed: number, index: number, { pieces, ...input }: Input): string {
  const base64 = Buffer.concat(pieces).toString("base64");
  const about = JSON.stringify({ seed, index, pieces: pieces.map(({ length }) => length), ...input });
  return `${wrong}\n${about}\nFUZZ_SEED=${seed} FUZZ_FROM=${index} FUZZ_INPUTS=1 npm run fuzz\nbase64 ${base64.slice(0, 20_000)}`;
}

interface Started {
  child: ChildProcess;
  port: number;
  /** Settles with why the service has ended. */
  ended: Promise<string>;
}

function startServer(fault: string): Promise<Started> {
  const child = fork(join(import.meta.dirname, "server.ts"), {
    execArgv: ["--conditions=workertown-source"],
    env: { PATH: process.env.PATH, FUZZ_FAULT: fault },
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  let said = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    said = (said + chunk).slice(-2000);
  });
  const ended = new Promise<string>((resolve) => {
    child.once("exit", (code, signal) => resolve(`The service ended with ${code ?? signal}: ${said}`));
  });
  return new Promise((resolve, reject) => {
    child.once("message", (port) => resolve({ child, port: Number(port), ended }));
    void ended.then((why) => reject(new Error(why)));
  });
}

/** Writes a value and answers what looks whether it is there as it was, and whether nobody has written without a right. */
async function plantCanary(url: string): Promise<() => Promise<void>> {
  const headers = { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" };
  const body = JSON.stringify({ value: { canary: true }, metadata: "yellow" });
  const ask = async (target: string, init: RequestInit = {}) => {
    const answer = await fetch(url + target, { headers, signal: AbortSignal.timeout(HANG_MS), ...init });
    return `${answer.status} ${answer.headers.get("ETag")} ${await answer.text()}`;
  };
  const planted = await ask("/v1/kv/canary", { method: "PUT", body });
  return async () => {
    const found = await ask("/v1/kv/canary");
    if (found !== planted) throw new Error(`The canary was ${planted} and is ${found}`);
    const open = await ask("/v1/kv?prefix=open-");
    if (!open.includes('"keys":[]')) throw new Error(`Written without a credential: ${open.slice(0, 200)}`);
  };
}

/** What is wrong with the answers to an input, or an empty string. */
function exchange(port: number, input: Input, hangMs: number): Promise<string> {
  const { pieces, leaves } = input;
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let broken = false;
    let halfClosed = false;
    const socket = connect({ port, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
    const end = () => {
      halfClosed = true;
      socket.end();
    };
    const quiet = setTimeout(end, QUIET_MS);
    const hung = setTimeout(() => finish("It hangs: the connection is neither answered nor ended"), hangMs);
    function finish(wrong: string): void {
      clearTimeout(quiet);
      clearTimeout(hung);
      socket.destroy();
      const received: Received = { bytes: Buffer.concat(chunks), broken, halfClosed };
      resolve(wrong || faultOf(input, received));
    }
    socket.on("data", (chunk) => {
      chunks.push(chunk);
      quiet.refresh();
    });
    socket.on("error", () => {
      broken = true;
    });
    socket.once("end", () => socket.end());
    socket.once("close", () => finish(""));
    const [first, second] = pieces;
    socket.write(first ?? "", () => {
      if (leaves) socket.destroy();
      else if (second !== undefined) setTimeout(() => socket.write(second), 1);
    });
  });
}
