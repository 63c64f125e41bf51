/** The client's address on Bun and Deno, from the real servers. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { afterAll, describe, expect, it } from "vitest";
import { freePort } from "../engines/server.ts";
import { until } from "../runtimes.ts";
import { KEY, request } from "../support.ts";

const folder = mkdtempSync(join(tmpdir(), "kv-access-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What engines load when they are named. */
const DRIVERS = ["pg", "mysql2/promise", "redis", "@libsql/client", "@planetscale/database", "aws4fetch"];

const SERVERS = {
  bun: {
    args: ["--conditions=workertown-source"],
    serve: (port: number) => `Bun.serve({ port: ${port}, hostname: "127.0.0.1", fetch: app.fetch })`,
  },
  deno: {
    args: ["run", "-A"],
    serve: (port: number) => `Deno.serve({ port: ${port}, hostname: "127.0.0.1" }, app.fetch)`,
  },
};

describe.each(Object.entries(SERVERS))("%s", (runtime, { args, serve }) => {
  it("access.ip goes by the socket, and by a trusted proxy", async () => {
    const ports = { direct: await freePort(), shut: await freePort(), behind: await freePort() };
    const access = {
      direct: { ip: ["127.0.0.1"] },
      shut: { ip: ["127.0.0.2"] },
      behind: { ip: ["192.0.2.7"], trustProxy: 1 },
    };
    const servers = Object.entries(ports).map(
      ([name, port]) =>
        `{ const app = start(${JSON.stringify(access[name as keyof typeof access])}); ${serve(port)}; }`,
    );
    const file = join(folder, `${runtime}.mjs`);
    const bundle = await build({
      stdin: {
        contents: `import { kv } from "./src/index.ts";
          import { memoryStorage } from "./src/storage/memory.ts";
          const auth = { apiKey: { apiKey: ${JSON.stringify(KEY)} } };
          const start = (access) => kv({ access, auth, logger: false, runtime: { storage: memoryStorage() } });
          ${servers.join("\n")}`,
        resolveDir: process.cwd(),
      },
      bundle: true,
      format: "esm",
      platform: "node",
      conditions: ["workertown-source", "node"],
      external: DRIVERS,
      write: false,
    });
    writeFileSync(file, bundle.outputFiles[0]?.text ?? "");
    const child = spawn(resolve("node_modules/.bin", runtime), [...args, file], {
      cwd: resolve("."),
      stdio: "inherit",
    });
    const ended = new Promise((stopped) => child.once("close", stopped));
    try {
      const status = async (port: number, headers = {}) =>
        (await request(`http://127.0.0.1:${port}/v1/kv/a`, "GET", { headers })).status;
      await until(async () => (await status(ports.direct)) === 404, 20);
      expect(await status(ports.shut)).toBe(403);
      expect(await status(ports.behind)).toBe(403);
      expect(await status(ports.behind, { "X-Forwarded-For": "192.0.2.7" })).toBe(404);
      expect(await status(ports.behind, { "X-Forwarded-For": "192.0.2.7, 192.0.2.8" })).toBe(403);
    } finally {
      child.kill("SIGKILL");
      await ended;
    }
  });
});
