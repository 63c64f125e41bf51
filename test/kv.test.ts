import { createAdaptorServer } from "@hono/node-server";
import { Hono } from "hono";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type KvOptions, kv, type LogEntry } from "../src/index.ts";
import { serve } from "../src/node.ts";
import type { StorageAdapter } from "../src/storage/adapter.ts";
import { memoryStorage } from "../src/storage/memory.ts";
import { KEY, type RequestOptions, request, startService, type TestService } from "./support.ts";

const cleanups: AsyncDisposable[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup[Symbol.asyncDispose]();
});

async function start(options?: KvOptions): Promise<TestService> {
  const service = await startService(options);
  cleanups.push(service);
  return service;
}

const anonymous = { headers: { Authorization: "" } };

describe("the guard", () => {
  const open = ["GET /health", "GET /ready", "GET /open-api.json"];

  it("demands a credential on every registered route but a literal list", async () => {
    const { app, url } = await start();
    const routes = app.routes.filter(({ method, path }) => method !== "ALL" && path !== "/*");
    expect(routes.length).toBeGreaterThan(8);
    const public_: string[] = [];
    for (const { method, path } of routes) {
      const { status, json, headers } = await request(url + path.replace(/:key\{.*/, "some/key"), method, {
        ...anonymous,
        ...(method === "PUT" && { body: { value: 1 } }),
      });
      if (status !== 401) public_.push(`${method} ${path}`);
      else {
        expect(json).toMatchObject({ status: 401, success: false, data: null, error: "unauthorized" });
        expect(headers.get("WWW-Authenticate")).toMatch(/^Bearer/);
      }
    }
    expect(public_).toEqual(open);
  });

  it("stands before unknown routes and methods, and before whatever the key holds", async () => {
    const { url } = await start();
    for (const path of ["/nowhere", "/v1/kv", "/v1/kv/", "/v1/kv/%0A", "/v1/kv/a%0Ab", "/v1/kv/%ff", "/v1", "/admin"]) {
      for (const method of ["GET", "PATCH", "OPTIONS"]) {
        expect((await request(url + path, method, anonymous)).status, `${method} ${path}`).toBe(401);
      }
    }
  });

  it("with nothing configured lets nobody in and says which variables to set", async () => {
    const log: LogEntry[] = [];
    const { call } = await start({ auth: {}, logger: (entry) => log.push(entry) });
    for (const Authorization of [
      "",
      "Bearer ",
      "Bearer undefined",
      "Basic Og==",
      "Basic dW5kZWZpbmVkOnVuZGVmaW5lZA==",
    ]) {
      expect((await call("GET", "/v1/kv", { headers: { Authorization } })).status).toBe(401);
    }
    expect(log.find(({ level }) => level === "warn")?.message).toContain("KV_API_KEY");
  });

  it("answers 403 where the scope is not enough", async () => {
    const { call } = await start({
      auth: {
        apiKey: {
          apiKey: [
            { key: "reader-0123456789abcdef", scope: "read" },
            { key: "writer-0123456789abcdef", scope: "write" },
            { key: KEY, scope: "admin" },
          ],
        },
      },
    });
    const as = async (key: string, method: string, path: string, body?: unknown) =>
      (await call(method, path, { headers: { Authorization: `Bearer ${key}` }, ...(body !== undefined && { body }) }))
        .status;
    expect(await as("reader-0123456789abcdef", "PUT", "/v1/kv/a", { value: 1 })).toBe(403);
    expect(await as("writer-0123456789abcdef", "PUT", "/v1/kv/a", { value: 1 })).toBe(200);
    expect(await as("reader-0123456789abcdef", "GET", "/v1/kv/a")).toBe(200);
    expect(await as("reader-0123456789abcdef", "HEAD", "/v1/kv/a")).toBe(200);
    expect(await as("reader-0123456789abcdef", "GET", "/v1/kv")).toBe(200);
    expect(await as("reader-0123456789abcdef", "DELETE", "/v1/kv/a")).toBe(403);
    expect(await as("writer-0123456789abcdef", "GET", "/admin/info")).toBe(403);
    expect(await as("writer-0123456789abcdef", "POST", "/admin/migrate")).toBe(403);
    expect(await as(KEY, "GET", "/admin/info")).toBe(200);
    expect(await as(KEY, "GET", "/v1/kv/a")).toBe(200);
  });
});

describe("paths", () => {
  it.each([
    ["/", "/v1/kv", "/admin", "/"],
    ["api", "keys/", "/ops", "status"],
    ["/a/b/", "/", false, false],
    ["/", false, "/admin", "/"],
    ["/x", "/v1/kv", false, "/"],
  ] as const)("basePath %s, kv %s, admin %s, public %s", async (basePath, kvPath, admin, publicPath) => {
    const service = await start({ basePath, endpoints: { v1: { kv: kvPath, admin }, public: publicPath } });
    const call = (method: string, path: string, options?: RequestOptions) =>
      service.call(method, path, { ...options, contract: false });
    const at = (...parts: string[]) =>
      `/${parts
        .flatMap((part) => part.split("/"))
        .filter(Boolean)
        .join("/")}`;
    const kvAt = (key: string) => at(basePath, kvPath || "/v1/kv", key);
    expect((await call("PUT", kvAt("a/b"), { body: { value: 1 } })).status).toBe(kvPath === false ? 404 : 200);
    expect((await call("GET", kvAt("a%2Fb"))).status).toBe(kvPath === false ? 404 : 200);
    expect((await call("GET", at(basePath, admin || "/admin", "info"))).status).toBe(
      admin !== false ? 200 : kvPath === "/" ? 404 : 404,
    );
    expect((await call("GET", at(basePath, publicPath || "/", "health"))).status).toBe(
      publicPath === false ? 404 : 200,
    );
    if (kvPath !== false) {
      const { json } = await call("GET", at(basePath, kvPath));
      expect(json.data.keys.map(({ name }: { name: string }) => name)).toEqual(["a/b"]);
    }
  });

  it("an unknown route is 404 no_such_route with a credential, outside basePath without one too", async () => {
    const { url } = await start({ basePath: "/api" });
    expect(await request(`${url}/api/nowhere`, "GET")).toMatchObject({ status: 404, json: { error: "no_such_route" } });
    expect(await request(`${url}/api/nowhere`, "GET", anonymous)).toMatchObject({ status: 401 });
    expect(await request(`${url}/elsewhere`, "GET", anonymous)).toMatchObject({
      status: 404,
      json: { error: "no_such_route", instance: expect.any(String) },
    });
  });

  it("holds when mounted: routes, 401, 404, 405, keys with line breaks, and the host's other routes", async () => {
    const host = new Hono();
    const service = kv({ auth: { apiKey: { apiKey: KEY } }, runtime: { storage: memoryStorage() }, logger: false });
    host.route("/kv", service);
    host.route(
      "/tenants/:tenant",
      kv({ basePath: "/kv", auth: { apiKey: { apiKey: KEY } }, runtime: { storage: memoryStorage() }, logger: false }),
    );
    host.get("/other", (c) => c.text("other"));
    const authorization = { headers: { Authorization: `Bearer ${KEY}` } };
    for (const base of ["/kv", "/tenants/acme/kv"]) {
      for (const key of ["a%0Ab", "a/b", "%F0%9F%98%80", "a%2F..%2Fb", "%2525", "x%00y"]) {
        const put = await host.request(`${base}/v1/kv/${key}`, {
          method: "PUT",
          body: JSON.stringify({ value: key }),
          headers: { ...authorization.headers, "Content-Type": "application/json" },
        });
        expect(put.status, `${base} ${key}`).toBe(200);
        expect(await (await host.request(`${base}/v1/kv/${key}`, authorization)).json()).toMatchObject({ data: key });
        expect((await host.request(`${base}/v1/kv/${key}`)).status).toBe(401);
      }
      const list = (await (await host.request(`${base}/v1/kv`, authorization)).json()) as {
        data: { keys: { name: string }[] };
      };
      expect(list.data.keys.map(({ name }) => name)).toEqual(["%25", "a\nb", "a/../b", "a/b", "x\0y", "😀"].sort());
      const missing = await host.request(`${base}/nowhere`, authorization);
      expect([missing.status, ((await missing.json()) as { error: string }).error]).toEqual([404, "no_such_route"]);
      expect((await host.request(`${base}/v1/kv/a`, { ...authorization, method: "POST" })).status).toBe(405);
      expect((await host.request(`${base}/nowhere`)).status).toBe(401);
      expect((await host.request(`${base}/health`)).status).toBe(200);
      const document = (await (await host.request(`${base}/open-api.json`)).json()) as { servers: { url: string }[] };
      expect(document.servers[0]?.url).toBe(base.replace(/\/kv$/, base === "/kv" ? "/kv" : "") || "/");
    }
    expect(await (await host.request("/other")).text()).toBe("other");
  });
});

it("is served by @hono/node-server directly too", async () => {
  const app = kv({ auth: { apiKey: { apiKey: KEY } }, runtime: { storage: memoryStorage() }, logger: false });
  const server = createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects: false });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  expect((await request(`${url}/v1/kv/a/b`, "PUT", { body: { value: 1 } })).status).toBe(200);
  expect((await request(`${url}/v1/kv/a%2Fb`, "GET")).json.data).toBe(1);
  expect((await request(`${url}/v1/kv/a%2Fb`, "GET", anonymous)).status).toBe(401);
  server.close();
});

describe("request ids", () => {
  it("are the caller's where they are short and plain, else new ones", async () => {
    const { call } = await start();
    const id = async (given: string) =>
      (await call("GET", "/v1/kv/a", { headers: { "X-Request-Id": given } })).headers.get("X-Request-Id");
    expect(await id("abc-123")).toBe("abc-123");
    expect(await id("a b\t<c>")).not.toContain("<");
    expect(await id("x".repeat(500))).not.toBe("x".repeat(500));
    const { headers, json } = await call("GET", "/v1/kv/a");
    expect(json.instance).toBe(headers.get("X-Request-Id"));
  });
});

describe("cors", () => {
  it("is off by default; on, the preflight needs no credential and every answer has the headers", async () => {
    const off = await start();
    expect(
      (await off.call("GET", "/health", { headers: { Origin: "https://a.example" } })).headers.get(
        "Access-Control-Allow-Origin",
      ),
    ).toBeNull();
    const { call } = await start({ cors: { origin: "https://a.example" } });
    const Origin = "https://a.example";
    const preflight = await call("OPTIONS", "/v1/kv/a", {
      headers: { Origin, Authorization: "", "Access-Control-Request-Method": "PUT" },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("Access-Control-Allow-Methods")).toContain("PUT");
    for (const Authorization of ["", `Bearer ${KEY}`]) {
      const answer = await call("GET", "/v1/kv/absent", { headers: { Origin, Authorization } });
      expect([401, 404]).toContain(answer.status);
      expect(answer.headers.get("Access-Control-Allow-Origin")).toBe("https://a.example");
      expect(answer.headers.get("Access-Control-Expose-Headers")).toContain("ETag");
    }
  });
});

describe("an engine that fails", () => {
  const failing = (error: unknown): StorageAdapter => ({
    ...memoryStorage(),
    get: (key) => (key === "ready" ? null : Promise.reject(error)),
  });

  it("is internal, logged under the request id, and its cause never sent", async () => {
    const log: LogEntry[] = [];
    const errors: unknown[] = [];
    const secret = new Error("canary: postgres://user:password@host");
    const { call } = await start({
      runtime: { storage: failing(secret) },
      logger: (entry) => log.push(entry),
      onError: (error, { requestId }) => errors.push([error, requestId]),
    });
    const answer = await call("GET", "/v1/kv/a");
    expect(answer).toMatchObject({ status: 500, json: { error: "internal" } });
    expect(answer.text).not.toContain("canary");
    const entry = log.find(({ level }) => level === "error");
    expect(entry).toMatchObject({ requestId: answer.json.instance, cause: expect.stringContaining("canary") });
    expect(errors).toEqual([[secret, answer.json.instance]]);
  });

  it("that is away makes /ready 503 and leaves /health 200", async () => {
    const storage = { ...memoryStorage() };
    const { call } = await start({ runtime: { storage } });
    expect((await call("GET", "/ready")).status).toBe(200);
    storage.get = () => Promise.reject(new Error("away"));
    const ready = await call("GET", "/ready", anonymous);
    expect(ready).toMatchObject({ status: 503, json: { error: "unavailable" } });
    expect(ready.text).not.toContain("away");
    expect((await call("GET", "/health", anonymous)).status).toBe(200);
  });
});

it("a logger or an onError that throws costs nobody his answer", async () => {
  const complaint = vi.spyOn(console, "error").mockImplementation(() => {});
  const fail = () => {
    throw new Error("no disk for logs");
  };
  const get = (key: string) => (key === "ready" ? null : Promise.reject(new Error("away")));
  const storage = { ...memoryStorage(), get };
  const { call } = await start({ logger: fail, onError: fail, runtime: { storage } });
  expect(await call("GET", "/v1/kv/a")).toMatchObject({ status: 500, json: { error: "internal" } });
  expect((await call("GET", "/health")).status).toBe(200);
  expect(complaint).toHaveBeenCalled();
  complaint.mockRestore();
});

describe("an engine with fewer capabilities", () => {
  it("refuses conditional writes with 501 and does nothing", async () => {
    const memory = memoryStorage();
    const storage = { ...memory, capabilities: { ...memory.capabilities, conditional: false, maxValue: 10 } };
    const { call } = await start({ runtime: { storage } });
    const refused = await call("PUT", "/v1/kv/a", { body: { value: 1 }, headers: { "If-None-Match": "*" } });
    expect(refused).toMatchObject({ status: 501, json: { error: "unsupported" } });
    expect(refused.json.detail).toContain("conditional");
    expect((await call("GET", "/v1/kv/a")).status).toBe(404);
    expect(await call("PUT", "/v1/kv/a", { body: { value: "123456789" } })).toMatchObject({ status: 413 });
    expect((await call("GET", "/admin/info")).json.data.limits.value).toBe(10);
  });
});

describe("an environment that is wrong", () => {
  it("is refused by serve before it listens", async () => {
    const app = kv({ runtime: () => Promise.reject(new TypeError("KV_DB: expected something else")), logger: false });
    await expect(serve(app, { port: 0 })).rejects.toThrow("KV_DB: expected something else");
  });

  it("is 503 on a request, logged with the variable's name", async () => {
    const log: LogEntry[] = [];
    const app = kv({
      runtime: () => {
        throw new TypeError("KV_DB: expected something else");
      },
      logger: (entry) => log.push(entry),
    });
    const answer = await app.request("/v1/kv");
    expect(answer.status).toBe(503);
    expect(answer.headers.get("Retry-After")).not.toBeNull();
    expect(await answer.text()).not.toContain("KV_DB");
    expect(JSON.stringify(log)).toContain("KV_DB: expected something else");
  });

  it("opens no storage where the credentials are wrong", async () => {
    let made = 0;
    const app = kv({
      getEnv: () => ({ KV_JWT_SECRET: "short" }),
      runtime: () => {
        made += 1;
        return { storage: memoryStorage() };
      },
      logger: false,
    });
    for (let turn = 0; turn < 3; turn++) expect((await app.request("/v1/kv")).status).toBe(503);
    expect(made).toBe(0);
  });

  it("is resolved once for each set of values that were read", async () => {
    let made = 0;
    const app = kv({
      auth: { apiKey: { apiKey: KEY } },
      logger: false,
      getEnv: (env) => ({ tenant: (env as { incoming?: unknown }).incoming, request: {} }),
      runtime: (_context, env) => {
        made += 1;
        void env.tenant;
        return { storage: memoryStorage() };
      },
    });
    const headers = { Authorization: `Bearer ${KEY}` };
    await Promise.all(Array.from({ length: 8 }, () => app.request("/v1/kv", { headers })));
    expect(made).toBe(1);
  });

  it("each set of values has its own storage", async () => {
    let tenant = "a";
    const app = kv({
      auth: { apiKey: { apiKey: KEY } },
      logger: false,
      getEnv: () => ({ tenant }),
      runtime: (_context, env) => {
        void env.tenant;
        return { storage: memoryStorage() };
      },
    });
    const headers = { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" };
    await app.request("/v1/kv/x", { method: "PUT", body: '{"value":1}', headers });
    tenant = "b";
    expect((await app.request("/v1/kv/x", { headers })).status).toBe(404);
    tenant = "a";
    expect((await app.request("/v1/kv/x", { headers })).status).toBe(200);
  });
});

describe("close", () => {
  it("lets requests in flight finish, turns /ready to 503 and closes the storage once", async () => {
    const memory = memoryStorage();
    let release = () => {};
    let closes = 0;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const storage: StorageAdapter = {
      ...memory,
      get: async (key) => {
        if (key === "slow") await held;
        expect(closes).toBe(0);
        return memory.get(key);
      },
      close: () => {
        closes += 1;
      },
    };
    const app = kv({ auth: { apiKey: { apiKey: KEY } }, runtime: { storage }, logger: false });
    const headers = { Authorization: `Bearer ${KEY}` };
    const slow = app.request("/v1/kv/slow", { headers });
    await new Promise((resolve) => setTimeout(resolve, 5));
    const closed = Promise.all([app.close(), app.close()]);
    expect((await app.request("/ready")).status).toBe(503);
    expect((await app.request("/health")).status).toBe(200);
    release();
    expect((await slow).status).toBe(404);
    await closed;
    expect(closes).toBe(1);
    expect((await app.request("/v1/kv/slow", { headers })).status).toBe(503);
  });
});

it("/admin/info tells what this instance is, and no secret", async () => {
  const { call } = await start({ basePath: "/api", endpoints: { public: false } });
  const { json, text } = await call("GET", "/api/admin/info");
  expect(json.data).toMatchObject({
    version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
    storage: { engine: "memory", capabilities: { consistency: "strong", conditional: true } },
    limits: { key: 512, value: 26_214_400, metadata: 1024, depth: 512, batch: 1000, inFlight: 134_217_728 },
    basePath: "/api",
    endpoints: { v1: { admin: "/admin", kv: "/v1/kv" }, public: false },
    auth: ["api-key"],
  });
  expect(text).not.toContain(KEY);
});

it("/admin/migrate says what ran", async () => {
  const { call } = await start();
  expect((await call("POST", "/admin/migrate")).json.data).toEqual([]);
});
