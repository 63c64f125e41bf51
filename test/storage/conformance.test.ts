import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, test } from "vitest";
import type { StorageAdapter } from "../../src/storage/adapter.ts";
import { memoryStorage } from "../../src/storage/memory.ts";
import { sqliteStorage } from "../../src/storage/sqlite.ts";
import { adapterSubject, storageConformance } from "../../src/testing/conformance.ts";

const folder = mkdtempSync(join(tmpdir(), "kv-conformance-"));
let files = 0;

const engines: Record<string, () => StorageAdapter | Promise<StorageAdapter>> = {
  memory: memoryStorage,
  "sqlite, a file": () => sqliteStorage({ path: join(folder, `${files++}.sqlite`) }),
  "sqlite, in memory": () => sqliteStorage({ path: ":memory:" }),
};

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

for (const [engine, make] of Object.entries(engines)) {
  describe(engine, () => {
    for (const { name, skip, run } of storageConformance()) {
      test(name, async (context) => {
        const adapter = await make();
        try {
          const reason = skip?.(adapter.capabilities);
          if (reason) context.skip(reason);
          await run(adapterSubject(adapter, { now: Date.now() }));
        } finally {
          await adapter.close?.();
        }
      });
    }
  });
}
