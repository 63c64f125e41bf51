/** The example of each runtime, served from the packed package. */
import { spawn } from "node:child_process";
import { copyFile, mkdir } from "node:fs/promises";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import type { Project } from "./package.ts";
import { KEY } from "./support.ts";

export const RUNTIMES = ["node", "bun", "deno", "workerd"] as const;
export type RuntimeName = (typeof RUNTIMES)[number];

export interface RunningService extends AsyncDisposable {
  url: string;
}

const CREDENTIAL = { KV_API_KEY: KEY };
const DENO = ["serve", "--allow-env", "--allow-read", "--allow-write", "--host=127.0.0.1"];

/** Starts a runtime's example: in an SQLite file, on workerd in a KV namespace. {@link KEY} is its API key. */
export async function startRuntime(runtime: RuntimeName, project: Project): Promise<RunningService> {
  return runtime === "workerd" ? startWorker(await bundleWorker(project)) : startServer(runtime, project);
}

async function startServer(runtime: Exclude<RuntimeName, "workerd">, project: Project): Promise<RunningService> {
  const folder = join(project.folder, runtime);
  await mkdir(folder);
  await copyFile(`examples/${runtime}/server.ts`, join(folder, "server.ts"));
  const port = await freePort();
  const bin = runtime === "node" ? process.execPath : resolve("node_modules/.bin", runtime);
  const args = runtime === "deno" ? [...DENO, `--port=${port}`, "server.ts"] : ["server.ts"];
  const env = {
    PATH: process.env.PATH,
    HOME: project.folder,
    PORT: String(port),
    KV_DB: `${runtime}.sqlite`,
    ...CREDENTIAL,
  };
  const child = spawn(bin, args, { cwd: folder, env, stdio: "inherit" });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const service: RunningService = {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
  try {
    await until(async () => (await fetch(`${service.url}/ready`)).status === 200);
  } catch (error) {
    await service[Symbol.asyncDispose]();
    throw error;
  }
  return service;
}

/** The Worker of the example in one minified script. */
export async function bundleWorker(project: Project): Promise<string> {
  await copyFile("examples/worker/worker.ts", join(project.folder, "worker.ts"));
  const bundle = await build({
    entryPoints: [join(project.folder, "worker.ts")],
    bundle: true,
    minify: true,
    format: "esm",
    conditions: ["workerd", "worker", "browser"],
    write: false,
  });
  return bundle.outputFiles[0]?.text ?? "";
}

export async function startWorker(script: string): Promise<RunningService> {
  const miniflare = new Miniflare({
    modules: true,
    script,
    compatibilityDate: "2026-07-01",
    kvNamespaces: ["KV_DB"],
    bindings: CREDENTIAL,
    cf: false,
  });
  const url = String(await miniflare.ready).replace(/\/$/, "");
  return { url, [Symbol.asyncDispose]: () => miniflare.dispose() };
}

/** Resolves when something has become so; rejects after so many seconds. */
export async function until(condition: () => Promise<boolean>, seconds = 10): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  while (!(await condition().catch(() => false))) {
    if (Date.now() > deadline) throw new Error(`It did not happen in ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
