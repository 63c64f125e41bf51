import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { VERSION } from "../src/version.ts";
import { installPackage, type Project } from "./package.ts";
import { bundleWorker, startRuntime, startWorker, until } from "./runtimes.ts";
import { request } from "./support.ts";

/** The whole Worker, minified and gzipped. */
const WORKER_BYTES = 32 * 1024;

const manifest = JSON.parse(await readFile("package.json", "utf8")) as {
  version: string;
  exports: Record<string, unknown>;
};
const subpaths = Object.keys(manifest.exports).filter((subpath) => subpath !== "./package.json");
let project: Project;

beforeAll(async () => {
  project = await installPackage();
});
afterAll(() => project?.[Symbol.asyncDispose]());

describe("the tarball", () => {
  it("runs no script when it is installed, and what comes with it neither", async () => {
    const lock = JSON.parse(await readFile(join(project.folder, "package-lock.json"), "utf8"));
    const packages = Object.entries(lock.packages as Record<string, { hasInstallScript?: boolean }>);
    expect(packages.map(([name]) => name)).toContain("node_modules/hono");
    expect(packages.filter(([, { hasInstallScript }]) => hasInstallScript)).toEqual([]);
  });

  it.each(subpaths)("%s is imported and exports something", async (subpath) => {
    const name = `@workertown/kv${subpath.slice(1)}`;
    const source = `const m = await import(${JSON.stringify(name)}); console.log(Object.keys(m).length)`;
    expect(Number(await project.run("node", ["--input-type=module", "-e", source]))).toBeGreaterThan(0);
  });

  it.each(["nodenext", "bundler"])(
    "type-checks under moduleResolution %s without any driver's types",
    async (resolution) => {
      const imports = subpaths.map(
        (subpath, index) => `import * as m${index} from "@workertown/kv${subpath.slice(1)}";`,
      );
      const uses = subpaths.map((_, index) => `void m${index};`);
      const source = [
        ...imports,
        ...uses,
        'import kvDefault, { kv, type KvOptions } from "@workertown/kv";',
        'import { createKvClient } from "@workertown/kv/client";',
        'import { serve } from "@workertown/kv/node";',
        "const options: KvOptions = { auth: { jwt: false }, basePath: '/x' };",
        "const app: ReturnType<typeof kvDefault> = kv(options);",
        "export const response: Response | Promise<Response> = app.fetch(new Request('http://localhost/health'));",
        "app.get('/mine', (c) => c.text(c.var.principal.id));",
        "export const server: Promise<{ url: string }> = serve(app, { port: 0 });",
        "export const entry = createKvClient({ url: '', apiKey: '' }).get<{ on: boolean }>('k');",
        "export const on: Promise<boolean | undefined> = entry.then((found) => found?.value.on);",
        "// @ts-expect-error an unknown option",
        "kv({ basepath: '/' });",
      ].join("\n");
      await writeFile(join(project.folder, `check-${resolution}.ts`), source);
      const module = resolution === "bundler" ? "esnext" : "nodenext";
      await project.run("tsc", [
        ...["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--skipLibCheck", "false", "--types", ""],
        ...["--target", "es2022", "--lib", "es2022,esnext.disposable,dom,dom.iterable,dom.asynciterable"],
        ...["--module", module, "--moduleResolution", resolution, `check-${resolution}.ts`],
      ]);
    },
  );

  it("has a client of under 3 KB", async () => {
    const bundle = await build({
      stdin: { contents: 'export * from "@workertown/kv/client";', resolveDir: project.folder },
      bundle: true,
      minify: true,
      format: "esm",
      write: false,
    });
    expect(gzipSync(bundle.outputFiles[0]?.text ?? "", { level: 9 }).length).toBeLessThan(3 * 1024);
  });

  it("has the command, which says the package's version", async () => {
    expect(VERSION).toBe(manifest.version);
    const command = join(project.folder, "node_modules/.bin/workertown-kv");
    expect((await project.run("node", [command, "--version"])).trim()).toBe(manifest.version);
  });
});

describe("each runtime serves its example", () => {
  it.each(["node", "bun", "deno"] as const)("%s, in an SQLite file", async (runtime) => {
    await using service = await startRuntime(runtime, project);
    await tour(service.url);
  });

  it("Cloudflare Workers, in a KV namespace, at most 32 KB gzipped", async () => {
    const script = await bundleWorker(project);
    const size = gzipSync(script, { level: 9 }).length;
    console.log(`Worker: ${size} bytes gzipped`);
    expect(size).toBeLessThanOrEqual(WORKER_BYTES);
    await using service = await startWorker(script);
    await tour(service.url);
  });
});

/** Put, get, list, ttl, delete and a 401, as a first user would try them. */
async function tour(url: string): Promise<void> {
  expect((await request(`${url}/v1/kv/a`, "GET", { headers: { Authorization: "" } })).status).toBe(401);
  const text = '{"n": 9007199254740993, "é": [1.0]}';
  const put = await request(`${url}/v1/kv/a%2Fb%00c`, "PUT", { body: `{"value":${text},"metadata":"m"}` });
  expect([put.status, put.text]).toEqual([200, `{"status":200,"success":true,"data":${text},"metadata":"m"}`]);
  const got = await request(`${url}/v1/kv/a/b%00c`, "GET");
  expect([got.text, got.headers.get("ETag")]).toEqual([put.text, put.headers.get("ETag")]);
  const etag = put.headers.get("ETag") as string;
  expect((await request(`${url}/v1/kv/a/b%00c`, "GET", { headers: { "If-None-Match": etag } })).status).toBe(304);
  expect((await request(`${url}/v1/kv/short`, "PUT", { body: { value: 1, ttl: 0.4 } })).status).toBe(200);
  const list = async () =>
    (await request(`${url}/v1/kv`, "GET")).json.data.keys.map(({ name }: { name: string }) => name);
  expect(await list()).toEqual(["a/b\0c", "short"]);
  await until(async () => (await request(`${url}/v1/kv/short`, "GET")).status === 404);
  expect(await list()).toEqual(["a/b\0c"]);
  expect((await request(`${url}/v1/kv/a/b%00c`, "DELETE")).json.data).toBe(true);
  expect((await request(`${url}/v1/kv/a/b%00c`, "GET")).json.error).toBe("not_found");
  expect((await request(`${url}/nowhere`, "GET")).json.error).toBe("no_such_route");
  expect((await request(`${url}/open-api.json`, "GET")).json.openapi).toMatch(/^3\.1/);
}
