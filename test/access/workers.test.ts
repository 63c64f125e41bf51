/** Access on the real workerd: by the address that the platform states, counted by its binding. */
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { afterEach, describe, expect, it } from "vitest";
import { KEY } from "../support.ts";

let miniflare: Miniflare | undefined;
afterEach(() => miniflare?.dispose());

/** A Worker with `access` as it stands in its source. */
async function start(
  access: string,
): Promise<(headers?: Record<string, string>) => Promise<{ status: number; headers: Headers }>> {
  const source = `
    import { kv } from "./src/index.ts";
    import { workersRateLimiter } from "./src/access/workers.ts";
    export default kv({ access: ${access} });`;
  const bundle = await build({
    stdin: { contents: source, resolveDir: process.cwd() },
    bundle: true,
    format: "esm",
    conditions: ["workertown-source", "workerd", "worker", "browser"],
    write: false,
  });
  miniflare = new Miniflare({
    modules: true,
    script: bundle.outputFiles[0]?.text ?? "",
    compatibilityDate: "2026-07-01",
    kvNamespaces: ["KV_DB"],
    bindings: { KV_API_KEY: KEY, KV_USERNAME: "ann", KV_PASSWORD: "correct horse" },
    ratelimits: { RATE_LIMITER: { namespace_id: "1", simple: { limit: 3, period: 60 } } },
    cf: false,
  });
  return async (headers = {}) => {
    const given = { Authorization: `Bearer ${KEY}`, ...headers };
    const response = await (miniflare as Miniflare).dispatchFetch("http://x/v1/kv/a", { headers: given });
    await response.text();
    return { status: response.status, headers: response.headers as unknown as Headers };
  };
}

describe("on workerd", () => {
  it("access.ip goes by CF-Connecting-IP, and never by X-Forwarded-For", async () => {
    const call = await start(`{ ip: ["192.0.2.0/24"], trustProxy: 1 }`);
    expect((await call({ "CF-Connecting-IP": "192.0.2.7" })).status).toBe(404);
    expect((await call({ "CF-Connecting-IP": "198.51.100.1", "X-Forwarded-For": "192.0.2.7" })).status).toBe(403);
  });

  it("access.rateLimit counts by the platform's binding", async () => {
    const call = await start(
      `{ rateLimit: { limit: 3, window: 60, rateLimiter: (env) => workersRateLimiter(env.RATE_LIMITER) } }`,
    );
    const statuses = [];
    for (let index = 0; index < 5; index++) statuses.push((await call()).status);
    expect(statuses).toEqual([404, 404, 404, 429, 429]);
    expect((await call()).headers.get("Retry-After")).toBe("60");
    expect((await call({ Authorization: "Bearer wrong", "CF-Connecting-IP": "192.0.2.7" })).status).toBe(401);
  });

  it("without a limiter, or with a binding that is not there, every request is refused: 503", async () => {
    expect((await (await start("{ rateLimit: { limit: 3, window: 60 } }"))()).status).toBe(503);
    await miniflare?.dispose();
    const call = await start(
      `{ rateLimit: { limit: 3, window: 60, rateLimiter: (env) => workersRateLimiter(env.OTHER) } }`,
    );
    expect((await call()).status).toBe(503);
  });

  it("guessing is slowed", async () => {
    const call = await start("{ guessing: { failures: 2, window: 600 } }");
    const statuses = [];
    const wrong = { Authorization: `Basic ${btoa("ann:wrong")}`, "CF-Connecting-IP": "192.0.2.7" };
    for (let index = 0; index < 3; index++) statuses.push((await call(wrong)).status);
    expect(statuses).toEqual([401, 401, 429]);
  });
});
