import { describe, expect, it } from "vitest";
import kvDefault, { kv } from "../src/index.ts";
import { resolveOptions } from "../src/options.ts";
import { memoryStorage } from "../src/storage/memory.ts";

describe("defaults", () => {
  it("are those of the seed, to the letter", () => {
    expect(resolveOptions()).toMatchObject({
      basePath: "",
      endpoints: { admin: "/admin", kv: "/v1/kv", public: "" },
      database: "KV_DB",
      cors: false,
      limits: { key: 512, value: 26_214_400, metadata: 1024, depth: 512, batch: 1000, inFlight: 134_217_728 },
    });
  });

  it("the seed's own listing is taken as it stands", () => {
    const options = {
      auth: {
        apiKey: { env: { apiKey: "KV_API_KEY" } },
        basic: { env: { username: "KV_USERNAME", password: "KV_PASSWORD" } },
        jwt: {
          env: {
            jwksUrl: "KV_JWKS_URL",
            secret: "KV_JWT_SECRET",
            issuer: "KV_JWT_ISSUER",
            audience: "KV_JWT_AUDIENCE",
          },
        },
      },
      basePath: "/",
      endpoints: { v1: { admin: "/admin", kv: "/v1/kv" }, public: "/" },
      env: { database: "KV_DB" },
    };
    expect(() => kv(options)).not.toThrow();
    expect(resolveOptions(options)).toMatchObject({
      ...resolveOptions(),
      auth: options.auth,
    });
  });

  it("are filled in member by member", () => {
    const { limits, endpoints } = resolveOptions({ limits: { key: 64 }, endpoints: { v1: { kv: "/kv" } } });
    expect(limits).toEqual({
      key: 64,
      value: 26_214_400,
      metadata: 1024,
      depth: 512,
      batch: 1000,
      inFlight: 134_217_728,
    });
    expect(endpoints).toEqual({ admin: "/admin", kv: "/kv", public: "" });
  });
});

describe("paths", () => {
  it.each(["api", "/api", "api/", "/api/", "//api//"])("%s is /api", (path) => {
    expect(resolveOptions({ basePath: path }).basePath).toBe("/api");
    expect(resolveOptions({ endpoints: { v1: { kv: path } } }).endpoints.kv).toBe("/api");
  });

  it("a group under the keys' path is refused: it would hide keys", () => {
    for (const endpoints of [
      { v1: { kv: "/" } },
      { v1: { kv: "/x", admin: "/x/admin" } },
      { v1: { kv: "/x" }, public: "/x" },
      { v1: { kv: "/x/" }, public: "/x/y" },
      { v1: { kv: "/admin/info" } },
      { v1: { kv: "/health" } },
      { v1: { admin: "/" } },
    ]) {
      expect(() => kv({ endpoints }), JSON.stringify(endpoints)).toThrow(/^endpoints\./);
    }
    for (const endpoints of [
      { v1: { kv: "/", admin: false as const }, public: false as const },
      { v1: { kv: "/x", admin: "/xy" }, public: "/x.y" },
      { v1: { kv: "/admin/keys" } },
    ]) {
      expect(() => kv({ endpoints }), JSON.stringify(endpoints)).not.toThrow();
    }
  });
});

describe("refusals", () => {
  it.each([
    [{ basepath: "/" }, "basepath: unknown option"],
    [{ access: { ip: [] } }, "access.ip: expected at least one address or block, got an empty list"],
    [{ access: { ip: ["10.0.0.0/8", "10.0.0.1/8"] } }, "access.ip.1: expected an address or a block"],
    [
      { access: { trustProxy: true } },
      "access.trustProxy: expected a number of proxies or a list of networks, got true",
    ],
    [{ access: { trustProxy: ["*"] } }, "access.trustProxy.0: expected an address or a block"],
    [{ access: { trustProxy: 0 } }, "access.trustProxy"],
    [{ access: { rateLimit: { limit: 10 } } }, "access.rateLimit.window: expected a value, got nothing"],
    [{ access: { rateLimit: { limit: 0, window: 1 } } }, "access.rateLimit.limit"],
    [{ access: { rateLimit: { limit: 1, window: 0.5 } } }, "access.rateLimit.window"],
    [{ access: { rateLimit: { limit: 1, window: 1, rateLimiter: {} } } }, "access.rateLimit.rateLimiter"],
    [{ access: { rateLimit: { limit: 1, window: 1, onFailure: "open" } } }, "access.rateLimit.onFailure"],
    [{ access: { guessing: true } }, "access.guessing"],
    [{ auth: { apikey: {} } }, "auth.apikey: unknown option"],
    [{ auth: { jwt: { secret: 12 } } }, "auth.jwt.secret: expected a string, got a number"],
    [{ auth: { jwt: { jwks: { url: "" } } } }, "auth.jwt.jwks.url"],
    [
      { limits: { headersTimeout: 10, bodyTimeout: 5 } },
      "limits.bodyTimeout: expected at least limits.headersTimeout (10)",
    ],
    [{ endpoints: { v1: { kv: "/health" } } }, "endpoints"],
    [{ logger: 1 }, "logger: expected a function or false, got 1"],
    [{ auth: { apiKey: true } }, "auth.apiKey: expected an object or false"],
    [
      { auth: { apiKey: { apiKey: { key: "k", scope: "root" } } } },
      'auth.apiKey.apiKey.scope: expected one of "read", "write", "admin"',
    ],
    [
      { auth: { apiKey: { apiKey: 1 } } },
      "auth.apiKey.apiKey: expected a string or { key, id?, scope } or a list of them",
    ],
    [{ basePath: 1 }, 'basePath: expected a path of letters, digits and "-._~/", without "." and ".." segments, got 1'],
    [
      { basePath: "/a b" },
      'basePath: expected a path of letters, digits and "-._~/", without "." and ".." segments, got "/a b"',
    ],
    [{ basePath: "/:tenant" }, "basePath: expected a path of letters"],
    [
      { basePath: "/a/../b" },
      'basePath: expected a path of letters, digits and "-._~/", without "." and ".." segments, got "/a/../b"',
    ],
    [{ endpoints: { v1: { kv: true } } }, "endpoints.v1.kv: expected a path"],
    [{ limits: { key: 0 } }, "limits.key: expected a whole number, at least 1, got 0"],
    [{ limits: { value: 1.5 } }, "limits.value: expected a whole number"],
    [{ limits: { headersTimeout: -1 } }, "limits.headersTimeout: expected a number of seconds greater than 0, got -1"],
    [{ logger: true }, "logger: expected a function or false, got true"],
    [{ runtime: {} }, "runtime.storage: expected a value, got nothing"],
    [{ runtime: 1 }, "runtime: expected { storage } or a function, got 1"],
    [{ auth: { jwt: { issuer: [""] } } }, "auth.jwt.issuer.0: expected a non-empty string, got an empty string"],
    [{ auth: { jwt: { issuer: 1 } } }, "auth.jwt.issuer: expected a non-empty string or a list of them, got a number"],
    [{ env: { database: "" } }, "env.database: expected a non-empty string, got an empty string"],
    [{ cors: { credentials: true } }, "cors.credentials"],
    [{ cors: { credentials: true, origin: ["*", "https://a.example"] } }, "cors.credentials"],
    [null, "options: expected an object, got null"],
  ])("%j: %s", (options, message) => {
    let thrown: unknown;
    try {
      kv(options as never);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(TypeError);
    expect((thrown as Error).message).toContain(message);
    expect((thrown as Error).message).not.toContain("\n");
  });

  it("never quote what may be a secret", () => {
    for (const auth of [{ apiKey: "canary" }, { basic: { password: ["canary"] } }, { jwt: { secret: "canary" } }]) {
      let message = "";
      try {
        kv({ auth } as never);
      } catch (error) {
        message = (error as Error).message;
      }
      expect(message).toMatch(/^auth\./);
      expect(message).not.toContain("canary");
    }
  });
});

it("the default export is the factory", () => {
  expect(kvDefault).toBe(kv);
});

it("the caller's object is never changed", () => {
  const options = { endpoints: { v1: { kv: "kv/" } }, limits: { key: 1 }, runtime: { storage: memoryStorage() } };
  const frozen = Object.freeze({ ...options, endpoints: Object.freeze({ v1: Object.freeze(options.endpoints.v1) }) });
  kv(frozen);
  expect(frozen).toEqual(options);
});
