/** The whole Worker: how large it is, and how soon it answers in miniflare. */
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import type { Bench } from "../harness/bench.ts";
import { KEY } from "../harness/data.ts";
import { atMost } from "../harness/report.ts";
import { differences, interleaved, median } from "../harness/rounds.ts";
import { KIB, ROOT } from "../harness/settings.ts";

const EMPTY = "export default { fetch: () => new Response() };";

export async function worker({ settings, report }: Bench): Promise<void> {
  const script = await bundle();
  const size = gzipSync(script, { level: 9 }).length;
  report.add({
    name: "Worker, gzipped",
    unit: "B",
    goal: atMost(32 * KIB),
    value: size,
    rounds: [],
    baseline: "minified",
  });

  const samples = await interleaved(settings.rounds, { empty: () => coldStart(EMPTY), kv: () => coldStart(script) });
  const rounds = differences(samples.kv, samples.empty);
  const baseline = `an empty Worker ${median(samples.empty ?? []).toFixed(0)} ms`;
  report.add({ name: "Worker, cold start in miniflare over an empty one", unit: "ms", rounds, baseline });
}

/** The built package as a Worker. */
async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: 'import { kv } from "@workertown/kv"; export default kv();', resolveDir: ROOT },
    bundle: true,
    minify: true,
    format: "esm",
    conditions: ["workerd", "worker", "browser"],
    write: false,
  });
  return outputFiles[0]?.text ?? "";
}

/** Milliseconds from nothing to the first answer of a list. */
async function coldStart(script: string): Promise<number> {
  const begun = performance.now();
  const miniflare = new Miniflare({
    modules: true,
    script,
    compatibilityDate: "2026-07-01",
    kvNamespaces: ["KV_DB"],
    bindings: { KV_API_KEY: KEY },
    cf: false,
  });
  try {
    const url = await miniflare.ready;
    const answer = await fetch(new URL("/v1/kv?limit=1", url), { headers: { Authorization: `Bearer ${KEY}` } });
    await answer.arrayBuffer();
    if (answer.status !== 200) throw new Error(`The Worker answered ${answer.status}`);
    return performance.now() - begun;
  } finally {
    await miniflare.dispose();
  }
}
