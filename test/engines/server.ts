/** Starts the real servers that engines are tested on: on a free loopback port, in a temporary folder, not as root. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { chownSync, existsSync, globSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** A free port of the loopback address. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** The first path that there is, of several that may hold `*`; where there is none, `null`. */
export function findBinary(...paths: readonly string[]): string | null {
  return paths.flatMap((path) => (path.includes("*") ? globSync(path) : path)).find(existsSync) ?? null;
}

export interface ServerOptions {
  /** The user who runs it where the tests run as root. */
  user: string;
  /** Runs once before the first start, as that user. */
  prepare?(folder: string, run: (command: string, args: readonly string[]) => Promise<string>): Promise<void>;
  command(folder: string, port: number): readonly [command: string, ...args: string[]];
  /** Resolves when it answers, rejects when not yet. */
  answers(port: number): Promise<unknown>;
}

/** A server process that can be killed, stopped and started again on the same port and data. */
export interface Server extends AsyncDisposable {
  readonly port: number;
  readonly folder: string;
  /** SIGKILL, and it is gone. */
  kill(): Promise<void>;
  /** Starts it again; resolves when it answers. */
  start(): Promise<void>;
  /** SIGSTOP: its connections stay, nothing is answered. */
  pause(): void;
  resume(): void;
}

export async function startServer(options: ServerOptions): Promise<Server> {
  const folder = mkdtempSync(join(tmpdir(), "kv-engine-"));
  const port = await freePort();
  const identity = await identityOf(options.user);
  if (identity !== null) chownSync(folder, identity.uid, identity.gid);
  const spawnOptions = { cwd: folder, ...identity };
  let child: ChildProcess | null = null;
  let ended: Promise<void> = Promise.resolve();

  const signal = (name: NodeJS.Signals) => {
    // The group: a server's own children too.
    if (child?.pid !== undefined) process.kill(-child.pid, name);
  };

  async function kill(): Promise<void> {
    try {
      signal("SIGKILL");
    } catch {}
    await ended;
    child = null;
  }

  async function start(): Promise<void> {
    const [command, ...args] = options.command(folder, port);
    let output = "";
    const started = spawn(command, args, { ...spawnOptions, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    const keep = (chunk: Buffer) => {
      output = (output + chunk).slice(-4000);
    };
    started.stdout.on("data", keep);
    started.stderr.on("data", keep);
    let gone = false;
    ended = new Promise((resolve) => {
      const end = () => {
        gone = true;
        resolve();
      };
      started.once("error", end).once("close", end);
    });
    child = started;
    const deadline = Date.now() + 30_000;
    for (;;) {
      try {
        await options.answers(port);
        return;
      } catch (error) {
        if (gone || Date.now() > deadline) {
          await kill();
          throw new Error(`${command} did not start: ${(error as Error).message}\n${output}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
    }
  }

  const dispose = async () => {
    process.off("exit", abandon);
    await kill();
    rmSync(folder, { recursive: true, force: true });
  };
  /** Where the test runner ends without disposing. */
  const abandon = () => {
    try {
      signal("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    } catch {}
  };
  process.once("exit", abandon);

  try {
    await options.prepare?.(folder, async (command, args) => (await run(command, args, spawnOptions)).stdout);
    await start();
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    port,
    folder,
    kill,
    start,
    pause: () => signal("SIGSTOP"),
    resume: () => signal("SIGCONT"),
    [Symbol.asyncDispose]: dispose,
  };
}

/** The ids of a user, where this process may become him. */
async function identityOf(user: string): Promise<{ uid: number; gid: number } | null> {
  if (process.getuid?.() !== 0) return null;
  const id = async (flag: string) => Number((await run("id", [flag, user])).stdout);
  return { uid: await id("-u"), gid: await id("-g") };
}
