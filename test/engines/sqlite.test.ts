import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sqliteStorage } from "../../src/storage/sqlite.ts";
import { testEngine } from "./engine.ts";

testEngine({
  name: "sqlite",
  missing: null,
  async start() {
    const folder = mkdtempSync(join(tmpdir(), "kv-sqlite-"));
    const path = join(folder, "kv.sqlite");
    return {
      open: (namespace) => sqliteStorage({ path, namespace }),
      async [Symbol.asyncDispose]() {
        rmSync(folder, { recursive: true, force: true });
      },
    };
  },
});
