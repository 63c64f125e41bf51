/** The real command, started from the clone in a folder of its own. */
import { spawn } from "node:child_process";
import { resolve } from "node:path";

export interface Command extends AsyncDisposable {
  url: string;
  pid: number;
  /** What it has printed so far, both streams. */
  output(): string;
  kill(signal: NodeJS.Signals): Promise<number | null>;
}

export interface CommandOptions {
  args?: string[];
  env?: Record<string, string>;
  /** A command that runs it, with arguments. */
  through?: readonly string[];
  /** Another program that says where it listens. */
  program?: readonly string[];
  /** Kills it. */
  signal?: AbortSignal;
}

const COMMAND = [resolve("src/cli/main.ts"), "serve", "--port", "0"];

/** `workertown-kv serve` with these arguments on a free port; resolves once it says where it listens. */
export async function startCommand(
  cwd: string,
  { args = [], env = {}, through = [], program = COMMAND, signal }: CommandOptions = {},
): Promise<Command> {
  const node = [process.execPath, "--conditions=workertown-source", ...program, ...args];
  const [command, ...rest] = [...through, ...node] as [string, ...string[]];
  const child = spawn(command, rest, {
    cwd,
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    ...(signal !== undefined && { signal, killSignal: "SIGKILL" as const }),
  });
  // A signal ends it with an error as well; how it ended is told below.
  child.on("error", () => {});
  let output = "";
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const url = await new Promise<string>((resolve, reject) => {
    const read = (chunk: Buffer) => {
      output += chunk;
      const found = /http:\/\/[\w.:[\]]+:\d+/.exec(output);
      if (found) resolve(found[0]);
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    void ended.then((code) => reject(new Error(`the command ended with ${code}: ${output}`)));
  });
  const kill = (signal: NodeJS.Signals) => {
    child.kill(signal);
    return ended;
  };
  return {
    url,
    pid: child.pid as number,
    output: () => output,
    kill,
    [Symbol.asyncDispose]: async () => void (await kill("SIGKILL")),
  };
}
