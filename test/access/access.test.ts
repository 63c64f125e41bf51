/** Who may reach the service and how often, over real HTTP. */
import { describe, expect, it } from "vitest";
import { kv } from "../../src/index.ts";
import { memoryStorage } from "../../src/storage/memory.ts";
import { request, startService } from "../support.ts";
import { basic, from, get, start, status } from "./support.ts";

describe("access.ip", () => {
  it("lets in whom it lists, and tells others nothing but 403, on every path and method", async () => {
    const inside = await start({ ip: ["127.0.0.0/8"] });
    expect(await status(inside.url)).toBe(404);
    const outside = await start({ ip: ["10.0.0.0/8", "2001:db8::/32"] }, { basePath: "/api" });
    for (const [method, path] of [
      ["GET", "/api/v1/kv/a"],
      ["PUT", "/api/v1/kv/a"],
      ["GET", "/api/health"],
      ["GET", "/api/open-api.json"],
      ["OPTIONS", "/api/v1/kv/a"],
      ["GET", "/api/nothing"],
      ["GET", "/elsewhere"],
    ] as const) {
      const answer = await request(outside.url + path, method, { contract: false, headers: { Authorization: "" } });
      expect([method, path, answer.status, answer.json?.error]).toEqual([method, path, 403, "forbidden"]);
    }
  });

  it("an IPv4 client of a socket for both is the one that is listed", async () => {
    expect(await status((await start({ ip: ["127.0.0.1"] })).url)).toBe(404);
    expect(await status((await start({ ip: ["::ffff:127.0.0.1"] })).url)).toBe(404);
    expect(await status((await start({ ip: ["127.0.0.10"] })).url)).toBe(403);
  });

  it("goes by the client that a trusted proxy names, and by nobody else's word", async () => {
    const behind = await start({ ip: ["192.0.2.0/24"], trustProxy: ["127.0.0.1"] });
    expect(await status(behind.url, from("192.0.2.7"))).toBe(404);
    expect(await status(behind.url, from("192.0.2.7, 198.51.100.1"))).toBe(403);
    expect(await status(behind.url, { Forwarded: "for=192.0.2.7" })).toBe(404);
    expect(await status(behind.url, { ...from("198.51.100.1"), Forwarded: "for=192.0.2.7" })).toBe(403);
    expect(await status(behind.url)).toBe(403);
    expect(await status(behind.url, from("unknown"))).toBe(403);
    const direct = await start({ ip: ["192.0.2.0/24"] });
    expect(await status(direct.url, from("192.0.2.7"))).toBe(403);
    const twoHops = await start({ ip: ["192.0.2.0/24"], trustProxy: 2 });
    expect(await status(twoHops.url, from("192.0.2.7, 10.0.0.1"))).toBe(404);
    expect(await status(twoHops.url, from("192.0.2.7, 198.51.100.1, 10.0.0.1"))).toBe(403);
  });

  it("where no address is known nobody gets in", async () => {
    const app = kv({ access: { ip: ["0.0.0.0/0", "::/0"] }, runtime: { storage: memoryStorage() }, logger: false });
    expect((await app.request("/health")).status).toBe(403);
    expect((await app.fetch(new Request("http://x/health"), { incoming: { socket: {} } })).status).toBe(403);
  });

  it("a refusal carries the CORS headers, and a preflight is refused", async () => {
    const { url } = await start({ ip: ["10.0.0.0/8"] }, { cors: { origin: "https://a.example" } });
    const answer = await get(url, { Origin: "https://a.example" });
    expect(answer.status).toBe(403);
    expect(answer.headers.get("Access-Control-Allow-Origin")).toBe("https://a.example");
    expect(answer.headers.get("Vary")).toBe("Origin");
    const preflight = await fetch(`${url}/v1/kv/a`, {
      method: "OPTIONS",
      headers: { Origin: "https://a.example", "Access-Control-Request-Method": "PUT" },
    });
    expect(preflight.status).toBe(403);
  });
});

describe("access.rateLimit", () => {
  const QUOTA = { limit: 3, window: 10 };

  it("binds a principal, and says so as the IETF draft has it", async () => {
    const { url, clock } = await start({ rateLimit: QUOTA });
    const answers = [await get(url), await get(url), await get(url), await get(url)];
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404, 429]);
    for (const [index, { headers }] of answers.entries()) {
      expect(headers.get("RateLimit-Policy")).toBe('"principal";q=3;w=10');
      expect(headers.get("RateLimit")).toMatch(new RegExp(`^"principal";r=${[2, 1, 0, 0][index]};t=\\d+$`));
    }
    const { headers, json } = answers[3] as (typeof answers)[0];
    expect(json).toMatchObject({
      error: "rate_limited",
      detail: "Expected at most 3 requests in 10 s; try again in 14 s",
    });
    expect(headers.get("Retry-After")).toBe("14");
    clock.now += 13_000;
    expect(await status(url)).toBe(429);
    clock.now += 1000;
    expect(await status(url)).toBe(404);
    expect(await status(url)).toBe(429);
  });

  it("counts principals apart, and each by all that it sends", async () => {
    const { url } = await start({ rateLimit: QUOTA });
    for (const path of ["/v1/kv/a", "/v1/kv", "/admin/info"]) expect(await status(url, {}, path)).not.toBe(429);
    expect(await status(url)).toBe(429);
    expect(await status(url, basic("correct horse"))).toBe(404);
    expect((await request(`${url}/v1/kv/a`, "PUT", { body: { value: 1 } })).status).toBe(429);
    expect(await status(url, basic("correct horse"))).toBe(404);
  });

  it("what is refused does nothing", async () => {
    const { url, clock } = await start({ rateLimit: QUOTA });
    for (let index = 0; index < 6; index++) await request(`${url}/v1/kv/k${index}`, "PUT", { body: { value: 1 } });
    clock.now += 100_000;
    const { json } = await get(url, {}, "/v1/kv");
    expect(json.data.keys.map(({ name }: { name: string }) => name)).toEqual(["k0", "k1", "k2"]);
  });

  it("an address without an accepted credential is bound, and nobody else of it", async () => {
    const { url } = await start({ rateLimit: QUOTA, trustProxy: 1 });
    const stranger = (address: string) => status(url, { Authorization: "Bearer wrong", ...from(address) });
    const statuses = [];
    for (let index = 0; index < 5; index++) statuses.push(await stranger("192.0.2.7"));
    expect(statuses).toEqual([401, 401, 401, 429, 429]);
    expect(await status(url, { Authorization: "", ...from("192.0.2.7") })).toBe(429);
    expect(await stranger("192.0.2.8")).toBe(401);
    expect(await stranger("192.0.2.70")).toBe(401);
    expect(await status(url, from("192.0.2.7"))).toBe(404);
    for (let index = 0; index < 3; index++) expect(await stranger(`2001:db8:0:1::${index}`)).toBe(401);
    expect(await stranger("2001:db8:0:1:ffff::1")).toBe(429);
    expect(await stranger("2001:db8:0:2::1")).toBe(401);
  });

  it("public routes are never limited", async () => {
    const { url } = await start({ rateLimit: { limit: 1, window: 100 } });
    for (let index = 0; index < 5; index++) expect(await status(url, { Authorization: "" }, "/health")).toBe(200);
  });

  it("many at once are no more", async () => {
    const { url } = await start({ rateLimit: { limit: 20, window: 100 } });
    const statuses = await Promise.all(Array.from({ length: 100 }, () => status(url)));
    expect(statuses.filter((code) => code !== 429)).toHaveLength(20);
  });

  it.each([
    [
      "throws",
      () => {
        throw new Error("gone");
      },
    ],
    ["rejects", () => Promise.reject(new Error("gone"))],
    ["never answers", () => new Promise<never>(() => {})],
  ])("a limiter that %s lets through, or refuses where that is wanted, and is logged", async (_, hit) => {
    const rateLimiter = { hit };
    const open = await start({ rateLimit: { ...QUOTA, rateLimiter } });
    const began = Date.now();
    for (let index = 0; index < 5; index++) expect(await status(open.url)).toBe(404);
    expect(Date.now() - began).toBeLessThan(4000);
    expect(
      open.warnings.filter((line) =>
        /the limiter failed, requests are let through: (gone|no answer in 1000 ms)/.test(line),
      ),
    ).toHaveLength(1);
    const shut = await start({ rateLimit: { ...QUOTA, rateLimiter, onFailure: "refuse" } });
    const answer = await get(shut.url);
    expect([answer.status, answer.json.error, answer.headers.get("Retry-After")]).toEqual([503, "unavailable", "1"]);
    expect(shut.warnings).toContainEqual(expect.stringContaining("requests are refused"));
  });

  it("a limiter may be made from the environment, and is asked with who and how much", async () => {
    const asked: unknown[] = [];
    const { url } = await start(
      {
        rateLimit: {
          ...QUOTA,
          rateLimiter: (env) => ({
            hit(...given) {
              asked.push(given);
              return { allowed: env.LIMITER !== "shut" };
            },
          }),
        },
      },
      { getEnv: (env) => ({ ...env, LIMITER: "shut" }) },
    );
    const answer = await get(url);
    expect(answer.status).toBe(429);
    expect(answer.headers.get("Retry-After")).toBe("10");
    expect(answer.headers.get("RateLimit")).toBeNull();
    expect(asked).toEqual([[expect.stringMatching(/^principal:api-key:key-[\da-f]{8}$/), QUOTA]]);
  });
});

describe.each([true, false])("access.guessing (fast: %s)", (fast) => {
  const wrong = (url: string, user = "ann", address = "192.0.2.7") =>
    get(url, { ...basic("wrong", user), ...from(address) });
  const right = (url: string, address = "192.0.2.7") => status(url, { ...basic("correct horse"), ...from(address) });

  it("after 20 wrong passwords in 10 minutes that user name is not tried for that address", async () => {
    const { url, clock } = await start({ trustProxy: 1 }, { fast });
    for (let index = 0; index < 20; index++) expect((await wrong(url)).status).toBe(401);
    const { status: code, json, headers } = await wrong(url);
    expect([code, json.error]).toEqual([429, "rate_limited"]);
    expect(Number(headers.get("Retry-After"))).toBeGreaterThan(0);
    // The right one is not even looked at.
    expect(await right(url)).toBe(429);
    expect(await right(url, "192.0.2.8")).toBe(404);
    expect((await wrong(url, "bob")).status).toBe(401);
    expect(await status(url, from("192.0.2.7"))).toBe(404);
    clock.now += 1_200_000;
    expect(await right(url)).toBe(404);
  });

  it("many wrong ones at once are answered no more often", async () => {
    const { url } = await start({ trustProxy: 1 }, { fast });
    const statuses = await Promise.all(Array.from({ length: 60 }, async () => (await wrong(url)).status));
    expect(statuses.filter((code) => code === 401).length).toBeLessThanOrEqual(20);
    expect(await right(url)).toBe(429);
  });

  it("right passwords never count", async () => {
    const { url } = await start({ trustProxy: 1 }, { fast });
    for (let index = 0; index < 30; index++) expect(await right(url)).toBe(404);
  });

  it("wrong API keys are 401 however many, and keep nobody out", async () => {
    const { url } = await start({}, { fast });
    for (let index = 0; index < 30; index++)
      expect(await status(url, { Authorization: `Bearer wrong${index}` })).toBe(401);
    expect(await status(url)).toBe(404);
  });

  it("can be set, and switched off", async () => {
    const strict = await start({ trustProxy: 1, guessing: { failures: 2, window: 60 } }, { fast });
    expect(
      [await wrong(strict.url), await wrong(strict.url), await wrong(strict.url)].map(({ status }) => status),
    ).toEqual([401, 401, 429]);
    strict.clock.now += 120_000;
    expect(await right(strict.url)).toBe(404);
    const off = await start({ guessing: false }, { fast });
    for (let index = 0; index < 25; index++) expect((await wrong(off.url)).status).toBe(401);
  });

  it("a verifyCredentials of one's own is protected too", async () => {
    let asked = 0;
    const verifyCredentials = () => {
      asked++;
      return false;
    };
    const { url } = await start({}, { fast, auth: { basic: { verifyCredentials } } });
    for (let index = 0; index < 30; index++) await wrong(url);
    expect(asked).toBe(20);
  });
});

describe("headers", () => {
  it("every answer is kept from others, from guesses of its type and from referrers", async () => {
    await using service = await startService();
    await service.call("PUT", "/v1/kv/a", { body: { value: 1 } });
    const tag = (await service.call("GET", "/v1/kv/a")).headers.get("ETag") as string;
    const reads = [
      await service.call("GET", "/v1/kv/a"),
      await service.call("HEAD", "/v1/kv/a"),
      await service.call("GET", "/v1/kv/a", { headers: { "If-None-Match": tag } }),
      await service.call("GET", "/v1/kv"),
    ];
    const others = [
      await service.call("GET", "/v1/kv/none"),
      await service.call("GET", "/v1/kv/a", { headers: { Authorization: "" } }),
      await service.call("PUT", "/v1/kv/a", { body: { value: 1 } }),
      await service.call("PUT", "/v1/kv/a", { body: "{" }),
      await service.call("DELETE", "/v1/kv/a"),
      await service.call("POST", "/v1/kv", { body: { operations: [] } }),
      await service.call("GET", "/admin/info"),
      await service.call("GET", "/admin/metrics"),
      await service.call("GET", "/admin/export"),
      await service.call("POST", "/admin/migrate"),
      await service.call("GET", "/health"),
      await service.call("GET", "/open-api.json"),
      await service.call("GET", "/nothing"),
      await service.call("OPTIONS", "/v1/kv/a"),
      await service.call("PATCH", "/v1/kv/a"),
    ];
    for (const [index, { headers, status: code }] of [...reads, ...others].entries()) {
      const what = `${index} ${code}`;
      expect([what, headers.get("X-Content-Type-Options")]).toEqual([what, "nosniff"]);
      expect([what, headers.get("Referrer-Policy")]).toEqual([what, "no-referrer"]);
      expect([what, headers.get("Cache-Control")]).toEqual([
        what,
        index < reads.length ? "private, no-cache" : "no-store",
      ]);
      expect([what, headers.get("X-Powered-By"), headers.get("Server")]).toEqual([what, null, null]);
    }
    expect(reads[2]?.status).toBe(304);
  });
});

describe("cors", () => {
  const origin = "https://a.example";

  it("is off by default", async () => {
    await using service = await startService();
    const { headers } = await service.call("GET", "/v1/kv/a", { headers: { Origin: origin } });
    expect([...headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
  });

  it("a preflight needs no credential, and every answer varies by origin where it does", async () => {
    await using service = await startService({ cors: { origin } });
    const preflight = await fetch(`${service.url}/v1/kv/a`, {
      method: "OPTIONS",
      headers: {
        Origin: origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization",
      },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("Access-Control-Allow-Methods")).toContain("PUT");
    for (const headers of [{ Origin: origin }, { Origin: "https://b.example" }, { Authorization: "" }]) {
      const answer = await service.call("GET", "/v1/kv/a", { headers: headers as Record<string, string> });
      expect(answer.headers.get("Vary")).toBe("Origin");
      expect(answer.headers.get("Access-Control-Allow-Origin")).toBe(headers.Origin === origin ? origin : null);
      expect(answer.headers.get("Access-Control-Expose-Headers")).toBe(
        "ETag,RateLimit,RateLimit-Policy,Retry-After,X-Request-Id",
      );
    }
  });

  it("for everybody it does not vary", async () => {
    await using service = await startService({ cors: {} });
    const { headers } = await service.call("GET", "/v1/kv/a", { headers: { Origin: origin } });
    expect([headers.get("Access-Control-Allow-Origin"), headers.get("Vary")]).toEqual(["*", null]);
  });
});
