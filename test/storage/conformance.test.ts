import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { StorageAdapter } from "../../src/storage/adapter.ts";
import { sqliteStorage } from "../../src/storage/sqlite.ts";
import { workersKvStorage } from "../../src/storage/workers-kv.ts";
import { adapterSubject, storageConformance } from "../../src/testing/conformance.ts";

const suite = storageConformance();
const folder = mkdtempSync(join(tmpdir(), "kv-conformance-"));
let files = 0;

const engines: Record<string, () => StorageAdapter> = {
  "sqlite, a file": () => sqliteStorage({ path: join(folder, `${files++}.sqlite`) }),
  "sqlite, in memory": () => sqliteStorage({ path: ":memory:" }),
};

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

for (const [engine, make] of Object.entries(engines)) {
  describe(engine, () => {
    const probe = make();
    void probe.close?.();
    for (const { name, skip, run } of suite) {
      if (skip?.(probe.capabilities)) continue;
      test(name, async () => {
        const adapter = make();
        try {
          await run(adapterSubject(adapter, { now: Date.now() }));
        } finally {
          await adapter.close?.();
        }
      });
    }
  });
}

describe("workers-kv, inside a Worker", () => {
  const { capabilities } = workersKvStorage({} as never);
  let miniflare: Miniflare;

  beforeAll(async () => {
    const bundle = await build({
      entryPoints: [join(import.meta.dirname, "conformance-worker.ts")],
      bundle: true,
      format: "esm",
      write: false,
    });
    miniflare = new Miniflare({
      modules: true,
      script: bundle.outputFiles[0]?.text ?? "",
      compatibilityDate: "2026-01-01",
      kvNamespaces: suite.map((_, index) => `KV${index}`),
      cf: false,
    });
    await miniflare.ready;
  });
  afterAll(() => miniflare.dispose());

  for (const [index, { name, skip }] of suite.entries()) {
    if (skip?.(capabilities)) continue;
    test(name, async () => {
      const response = await miniflare.dispatchFetch(`http://suite/?test=${index}&binding=KV${index}`);
      expect(await response.text()).toBe("");
    });
  }
});
