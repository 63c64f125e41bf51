import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { expect, it } from "vitest";
import { SECOND, signingKey, startIdp } from "./support.ts";

it("is fetched on Workers too, where fetch has its own ideas", async () => {
  const entry =
    'import { kv } from "./src/index.ts"; export default kv({ auth: { jwt: { jwks: { cacheTtl: 1e9 } } } });';
  const bundle = await build({
    stdin: { contents: entry, resolveDir: "." },
    bundle: true,
    format: "esm",
    conditions: ["workertown-source", "workerd", "worker", "browser"],
    write: false,
  });
  const [rsa, ec, ed] = await Promise.all([
    signingKey("RS256", "rsa"),
    signingKey("ES256", "ec"),
    signingKey("EdDSA", "ed"),
  ]);
  await using idp = await startIdp(ec.jwk, rsa.jwk);
  const miniflare = new Miniflare({
    modules: true,
    script: bundle.outputFiles[0]?.text ?? "",
    compatibilityDate: "2026-07-01",
    kvNamespaces: ["KV_DB"],
    bindings: { KV_JWKS_URL: idp.url },
    cf: false,
  });
  try {
    const url = new URL("/v1/kv", await miniflare.ready);
    // The clock is the Worker's own.
    const claims = { exp: Math.floor(Date.now() / SECOND) + 3600 };
    const status = async (Authorization: string) => (await fetch(url, { headers: { Authorization } })).status;
    const bearers = await Promise.all([1, 2, 3, 4].map((turn) => (turn % 2 === 0 ? ec : rsa).bearer(claims)));
    expect(await Promise.all(bearers.map(status))).toEqual([200, 200, 200, 200]);
    expect(idp.hits).toEqual(["/jwks"]);
    expect(await status(await ed.bearer(claims))).toBe(401);
    expect(await status(await rsa.bearer({ exp: claims.exp - 7200 }))).toBe(401);
  } finally {
    await miniflare.dispose();
  }
});
