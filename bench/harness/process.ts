/** Servers as processes of their own, each with its log in a file. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

export interface Running extends AsyncDisposable {
  pid: number;
  port: number;
  url: string;
  /** Ends it as an operator does, and kills it where it does not end in 20 s. */
  stop(): Promise<void>;
}

export interface Command {
  /** The log's file. */
  log: string;
  file: string;
  args(port: number): readonly string[];
  cwd?: string;
  env?: Readonly<Record<string, string>>;
}

const START_MS = 60_000;
const STOP_MS = 20_000;
const children = new Set<ChildProcess>();

// Nothing is left behind, however the bench ends.
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

/** Starts a server on a free port. Resolves when it listens; rejects with the end of its log where it does not. */
export async function start({ log, file, args, cwd, env }: Command): Promise<Running> {
  const port = await freePort();
  const output = openSync(log, "a");
  const child = spawn(file, args(port), {
    ...(cwd !== undefined && { cwd }),
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", output, output],
  });
  closeSync(output);
  children.add(child);
  const ended = new Promise<void>((done) => {
    child.once("error", () => done());
    child.once("exit", () => done());
  }).finally(() => children.delete(child));
  const stop = async () => {
    child.kill("SIGTERM");
    const late = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await ended;
    clearTimeout(late);
  };
  const running = { pid: child.pid ?? 0, port, url: `http://127.0.0.1:${port}`, stop, [Symbol.asyncDispose]: stop };
  let isOver = false;
  void ended.then(() => {
    isOver = true;
  });
  for (const deadline = Date.now() + START_MS; !(await listens(port)); await delay(10)) {
    if (!isOver && Date.now() < deadline) continue;
    await stop();
    throw new Error(`${file} ${args(port).join(" ")} did not start: ${readFileSync(log, "utf8").slice(-1000)}`);
  }
  return running;
}

function listens(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, "127.0.0.1");
    const answer = (is: boolean) => {
      socket.destroy();
      done(is);
    };
    socket.once("connect", () => answer(true));
    socket.once("error", () => answer(false));
  });
}

export function freePort(): Promise<number> {
  return new Promise((done, fail) => {
    const server = createServer().once("error", fail);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => done(typeof address === "object" ? (address?.port ?? 0) : 0));
    });
  });
}
