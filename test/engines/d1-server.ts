/** D1 on real workerd, through Miniflare. */
import { join } from "node:path";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { KvError, type KvErrorCode } from "../../src/core/errors.ts";
import type { StorageAdapter } from "../../src/storage/adapter.ts";
import { type D1DatabaseLike, d1Storage } from "../../src/storage/d1.ts";
import { decode, encode } from "./d1-wire.ts";
import type { D1Answer, D1Call } from "./d1-worker.ts";
import type { SqliteEngine } from "./libsql-shared.ts";

export const missing = null;

export interface D1 extends SqliteEngine {
  /** A storage whose next call is sent in a request that ends before it has an answer. */
  openAbandoned(namespace: string): { abandon(key: string): Promise<void>; storage: StorageAdapter };
  /** The binding outside of the Worker: slow, but good enough for a look at what is stored. */
  database: D1DatabaseLike;
}

export async function startD1(): Promise<D1> {
  const bundle = await build({
    entryPoints: [join(import.meta.dirname, "d1-worker.ts")],
    bundle: true,
    format: "esm",
    write: false,
  });
  const miniflare = new Miniflare({
    modules: true,
    script: bundle.outputFiles[0]?.text ?? "",
    compatibilityDate: "2026-01-01",
    compatibilityFlags: ["nodejs_compat_v2"],
    d1Databases: ["DB"],
    cf: false,
  });
  const url = await miniflare.ready;
  const database: D1DatabaseLike = await miniflare.getD1Database("DB");
  const { capabilities } = d1Storage(database);
  let adapters = 0;

  async function ask(call: D1Call): Promise<unknown> {
    const response = await fetch(url, { method: "POST", body: encode(call) });
    const { result, error } = decode(await response.text()) as D1Answer;
    if (error === undefined) return result;
    if (error.code !== undefined) throw new KvError(error.code as KvErrorCode, error.message, { cause: error.cause });
    throw Object.assign(new Error(error.message), { name: error.name });
  }

  /** An adapter in the Worker, called from here. */
  function open(namespace: string, id = adapters++): StorageAdapter {
    const call =
      (method: D1Call["method"]) =>
      async (...args: unknown[]) =>
        ask({ id, namespace, method, args }) as never;
    return {
      engine: "d1",
      capabilities,
      get: call("get"),
      getMany: call("getMany"),
      write: call("write"),
      list: call("list"),
      migrate: call("migrate"),
      sweep: call("sweep"),
    };
  }

  return {
    database,
    open: (namespace) => open(namespace),
    openAbandoned(namespace) {
      const id = adapters++;
      const abandon = async (key: string) =>
        void (await ask({ id, namespace, method: "get", args: [key], abandon: true }));
      return { abandon, storage: open(namespace, id) };
    },
    query: async (sql) => (await database.prepare(sql).all()).results as Record<string, unknown>[],
    [Symbol.asyncDispose]: () => miniflare.dispose(),
  };
}
