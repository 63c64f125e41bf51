/** A real workerd with our Durable Object, which an adapter in this process reaches through a Worker. */
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent, type IncomingMessage, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { build } from "esbuild";
import { type DurableObjectNamespaceLike, durableObjectStorage } from "../../src/storage/durable-object.ts";
import type { Control } from "./durable-object-worker.ts";
import type { Engine } from "./engine.ts";
import { startServer } from "./server.ts";

/** Nothing: workerd comes with Miniflare. */
export const missing = null;

export interface DurableObject extends Engine {
  url: string;
  /** The binding as an adapter takes it. */
  binding: DurableObjectNamespaceLike;
  /** Does something to the object of a namespace. */
  control(namespace: string, control: Control): Promise<unknown>;
  /** Rows of a query in the object of a namespace. */
  sql(namespace: string, query: string, ...bindings: (string | number | null)[]): Promise<Record<string, unknown>[]>;
  kill(): Promise<void>;
  start(): Promise<void>;
}

/** Not `fetch`: it takes twice as long. */
interface Asked {
  body?: Uint8Array | ReadableStream | undefined;
  signal?: AbortSignal;
  control?: Control;
}

/** A Worker of ours in one script, as a build with the package installed makes it. */
export async function bundleWorker(entry: string): Promise<string> {
  const source = (path: string) => join(import.meta.dirname, "../../src", path);
  const bundle = await build({
    entryPoints: [entry],
    bundle: true,
    format: "esm",
    conditions: ["workertown-source", "workerd", "worker", "browser"],
    alias: {
      "@workertown/kv/storage/durable-object": source("storage/durable-object.ts"),
      "@workertown/kv": source("index.ts"),
    },
    write: false,
  });
  return bundle.outputFiles[0]?.text ?? "";
}

export const TEST_WORKER = join(import.meta.dirname, "durable-object-worker.ts");

export async function startDurableObject(): Promise<DurableObject> {
  const script = await bundleWorker(TEST_WORKER);
  // In memory where there is a disk there: nothing here depends on power, and each write waits for the disk.
  const objects = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "kv-objects-"));
  chmodSync(objects, 0o777);
  const server = await startServer({
    user: "nobody",
    async prepare(folder) {
      writeFileSync(join(folder, "worker.mjs"), script, { mode: 0o644 });
    },
    command: (folder, port) => [
      process.execPath,
      join(import.meta.dirname, "durable-object-run.ts"),
      join(folder, "worker.mjs"),
      objects,
      `${port}`,
    ],
    answers: (port) => fetch(`http://127.0.0.1:${port}/?test=-1&namespace=probe`),
  });
  const url = `http://127.0.0.1:${server.port}`;

  const agent = new Agent({ keepAlive: true });

  async function ask(namespace: string, { body, signal, control }: Asked): Promise<Buffer<ArrayBuffer>> {
    const path = `${url}/object?namespace=${encodeURIComponent(namespace)}`;
    const headers = control === undefined ? {} : { "X-Control": JSON.stringify(control) };
    const sent = request(path, { method: "POST", agent, headers, ...(signal && { signal }) });
    const answered = once(sent, "response") as Promise<[IncomingMessage]>;
    if (body instanceof ReadableStream) pipeline(Readable.fromWeb(body as never), sent).catch(() => {});
    else sent.end(body);
    const [response] = await answered;
    const answer = await buffer(response);
    if (response.statusCode === 200) return answer;
    const { message, ...flags } = JSON.parse(answer.toString()) as { message: string };
    throw Object.assign(new Error(message), flags);
  }

  async function control(namespace: string, given: Control): Promise<unknown> {
    return JSON.parse((await ask(namespace, { control: given })).toString());
  }

  const binding: DurableObjectNamespaceLike = {
    idFromName: (name) => name,
    get: (namespace) => ({
      async fetch(_url, init) {
        const answer = await ask(namespace, init);
        const body = answer.buffer.slice(answer.byteOffset, answer.byteOffset + answer.byteLength);
        return { arrayBuffer: async () => body };
      },
    }),
  };
  return {
    url,
    binding,
    control,
    sql: async (namespace, query, ...bindings) =>
      (await control(namespace, { do: "sql", query, bindings })) as Record<string, unknown>[],
    open: (namespace) => durableObjectStorage(binding, { namespace }),
    kill: server.kill,
    start: server.start,
    pause: server.pause,
    resume: server.resume,
    async [Symbol.asyncDispose]() {
      agent.destroy();
      await server[Symbol.asyncDispose]();
      rmSync(objects, { recursive: true, force: true });
    },
  };
}
