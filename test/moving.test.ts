/** Moving between engines is an export and an import, over HTTP, whatever runs them. */
import { build } from "esbuild";
import { afterAll, beforeAll, expect, it } from "vitest";
import { sqliteStorage } from "../src/storage/sqlite.ts";
import { type RunningService, startWorker } from "./runtimes.ts";
import { KEY, startService } from "./support.ts";

let worker: RunningService;

beforeAll(async () => {
  const bundle = await build({
    stdin: { contents: 'import { kv } from "./src/index.ts"; export default kv();', resolveDir: "." },
    bundle: true,
    format: "esm",
    conditions: ["workertown-source", "workerd", "worker", "browser"],
    write: false,
  });
  worker = await startWorker(bundle.outputFiles[0]?.text ?? "");
});
afterAll(() => worker[Symbol.asyncDispose]());

const headers = { Authorization: `Bearer ${KEY}`, "Content-Type": "application/x-ndjson" };

/** What `curl export | curl import` does. */
async function move(from: string, to: string): Promise<unknown> {
  const exported = await fetch(`${from}/admin/export`, { headers });
  const init = { method: "POST", headers, body: exported.body, duplex: "half" };
  const { data } = (await (await fetch(`${to}/admin/import`, init as RequestInit)).json()) as { data: unknown };
  return data;
}

const exportOf = async (url: string) => (await fetch(`${url}/admin/export`, { headers })).text();

it("SQLite → Workers KV → SQLite ends with an equal export", async () => {
  const sqlite = () => startService({ runtime: { storage: sqliteStorage({ path: ":memory:" }) } });
  await using first = await sqlite();
  await using second = await sqlite();
  const expiration = Math.ceil(Date.now() / 1000) + 3600.125;
  const lines = [
    ...Array.from({ length: 600 }, (_, index) => ({
      key: `k/${index}`,
      value: { index, text: "漢字 😀" },
      metadata: index,
    })),
    ...[".", "..", "a\u0000b", " ", "\uffff", "\u{10000}", "%", "a/../b"].map((key) => ({
      key,
      value: null,
      expiration,
    })),
  ].map((entry) => JSON.stringify(entry));
  lines.push('{"key":"exact","value":[ 1.0, 9007199254740993, 1E400 ],"metadata":{ "__proto__" : -0 }}');
  await first.call("POST", "/admin/import", { body: lines.join("\n"), headers });

  expect(await move(first.url, worker.url)).toEqual({ imported: 609, skipped: 0, failed: [], failed_total: 0 });
  expect(await move(worker.url, second.url)).toMatchObject({ imported: 609, failed: [] });
  const moved = await exportOf(second.url);
  expect(moved.trim().split("\n")).toHaveLength(609);
  expect(moved).toBe(await exportOf(first.url));
  expect(moved).toBe(await exportOf(worker.url));
}, 60_000);
