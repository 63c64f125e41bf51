import { request as httpRequest } from "node:http";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { AuthenticateRequest, AuthOptions } from "../../src/auth/authenticate.ts";
import type { Principal } from "../../src/auth/principal.ts";
import { kv, type LogEntry } from "../../src/index.ts";
import { memoryStorage } from "../../src/storage/memory.ts";
import { request, startService } from "../support.ts";
import { answerLate, basicOf, CLAIMS, forgedBearer, secretBearer, startGuarded, startWatched } from "./support.ts";

const KEY = "key-0123456789abcdef";
const SECRET = "secret-of-32-bytes-or-more-0123456789";
const ENV = { KV_API_KEY: KEY, KV_USERNAME: "ada", KV_PASSWORD: "correct horse", KV_JWT_SECRET: SECRET };
const KEY_BEARER = `Bearer ${KEY}`;
const BASIC = basicOf("ada", "correct horse");
const BEARER = 'Bearer realm="kv"';
const BASIC_CHALLENGE = 'Basic realm="kv", charset="UTF-8"';
const OFF = { apiKey: false, basic: false, jwt: false } as const;

describe("several strategies", () => {
  it("are all on by default, and any of them may accept", async () => {
    await using service = await startWatched({}, { env: ENV });
    const jwt = await secretBearer(SECRET);
    for (const authorization of [KEY_BEARER, BASIC, jwt]) expect(await service.status(authorization)).toBe(200);
    expect(service.callers.map((caller) => caller?.strategy)).toEqual(["api-key", "basic", "jwt"]);
    const wrong = ["Bearer wrong", basicOf("ada", "wrong"), forgedBearer({ alg: "HS256" })];
    for (const authorization of [...wrong, ""]) expect(await service.status(authorization)).toBe(401);
    // One that is wrong does not cost the caller one that is right.
    for (const authorization of wrong) {
      expect((await service.get({ Authorization: authorization, "X-API-Key": KEY })).status).toBe(200);
    }
    for (const authorization of [BASIC, jwt]) {
      expect((await service.get({ Authorization: authorization, "X-API-Key": "wrong" })).status).toBe(200);
    }
  });

  it("never try a credential as something else", async () => {
    await using service = await startGuarded({}, { env: ENV });
    const token = (await secretBearer(SECRET)).replace("Bearer ", "");
    for (const authorization of [
      "Bearer correct horse",
      `Bearer ${SECRET}`,
      BASIC.replace("Basic", "Bearer"),
      KEY_BEARER.replace("Bearer", "Basic"),
      `Basic ${token}`,
      basicOf("ada", KEY),
      basicOf("ada", SECRET),
      basicOf("ada", token),
      basicOf(KEY, ""),
      await secretBearer(KEY.repeat(2)),
    ]) {
      expect(await service.status(authorization), authorization).toBe(401);
    }
    for (const key of ["ada", "correct horse", SECRET, token, BASIC]) {
      expect((await service.get({ "X-API-Key": key })).status, key).toBe(401);
    }
  });

  it("are told apart by what the request carries: nobody is asked about another's credential", async () => {
    const asked: unknown[] = [];
    const verifyCredentials = (credential: unknown) => {
      asked.push(credential);
      return false;
    };
    await using service = await startGuarded({
      apiKey: { verifyCredentials },
      basic: { verifyCredentials },
      jwt: { secret: SECRET, verifyCredentials },
    });
    const jwt = await secretBearer(SECRET);
    for (const authorization of [BASIC, KEY_BEARER, jwt, `Digest ${KEY}`, KEY]) {
      expect(await service.status(authorization)).toBe(401);
    }
    expect(asked).toEqual([{ username: "ada", password: "correct horse" }, KEY, jwt.replace("Bearer ", ""), CLAIMS]);
  });

  it("accept what the first of them accepts", async () => {
    await using service = await startWatched({
      apiKey: { verifyCredentials: () => ({ id: "by key", scope: "read" }) },
      jwt: { secret: SECRET },
    });
    expect(await service.status(await secretBearer(SECRET))).toBe(200);
    expect(service.callers).toEqual([{ id: "by key", strategy: "api-key", scope: "read" }]);
  });

  it.each(["apiKey", "basic", "jwt"] as const)(
    "without %s, which is false, its variables let nobody in",
    async (off) => {
      await using service = await startGuarded({ [off]: false }, { env: ENV });
      const credentials = { apiKey: KEY_BEARER, basic: BASIC, jwt: await secretBearer(SECRET) };
      for (const [strategy, authorization] of Object.entries(credentials)) {
        expect(await service.status(authorization), strategy).toBe(strategy === off ? 401 : 200);
      }
      const names = { apiKey: "api-key", basic: "basic", jwt: "jwt" };
      const { json } = await service.get({ Authorization: off === "apiKey" ? BASIC : KEY_BEARER }, "/admin/info");
      expect(json.data.auth).toEqual(Object.values(names).filter((name) => name !== names[off]));
    },
  );
});

describe("the Authorization field", () => {
  it.each([
    ["no scheme", KEY],
    ["a scheme alone", "Bearer"],
    ["a scheme and blanks", "Bearer   "],
    ["blanks", "   "],
    ["two credentials of one scheme", `Bearer ${KEY} ${KEY}`],
    ["a credential and a parameter", `Bearer ${KEY}, realm=kv`],
    ["two fields that were joined", `${KEY_BEARER}, ${KEY_BEARER}`],
    ["two fields that were joined without a blank", `${KEY_BEARER},${BASIC}`],
    ["a comma before", `, ${KEY_BEARER}`],
    ["a comma after", `${KEY_BEARER},`],
    ["a quoted credential", `Bearer "${KEY}"`],
    ["a colon after the scheme", `Bearer: ${KEY}`],
    ["an equals sign", `Bearer=${KEY}`],
    ["a tab", `Bearer\t${KEY}`],
    ["another scheme", `Token ${KEY}`],
    ["two schemes", `Bearer Bearer ${KEY}`],
    ["a letter that is no ASCII", `Bearer ${KEY}\u00e9`],
    ["a scheme that only looks like it", `Bearer\u00a0${KEY}`],
  ])("with %s is refused", async (_, authorization) => {
    await using service = await startGuarded({}, { env: ENV });
    expect(await service.status(authorization)).toBe(401);
  });

  it("sent twice is refused, whichever is right", async () => {
    await using service = await startGuarded({}, { env: ENV });
    /** fetch would join them; these are two lines on the wire. */
    const twice = (...fields: string[]) =>
      new Promise<number | undefined>((resolve, reject) => {
        const headers = ["Host", new URL(service.url).host, ...fields.flatMap((field) => ["Authorization", field])];
        httpRequest(`${service.url}/v1/kv`, { headers }, (response) => resolve(response.resume().statusCode))
          .on("error", reject)
          .end();
      });
    expect(await twice(KEY_BEARER)).toBe(200);
    for (const fields of [
      [KEY_BEARER, KEY_BEARER],
      [KEY_BEARER, "Bearer wrong"],
      ["Bearer wrong", KEY_BEARER],
      [KEY_BEARER, BASIC],
      [BASIC, await secretBearer(SECRET)],
    ]) {
      expect(await twice(...fields), fields.join()).toBe(401);
    }
  });
});

describe("a refusal", () => {
  it.each([
    ["all", {}, ENV, `${BEARER}, ${BASIC_CHALLENGE}`],
    ["an API key", {}, { KV_API_KEY: KEY }, BEARER],
    ["a JWT", {}, { KV_JWT_SECRET: SECRET }, BEARER],
    ["Basic", {}, { KV_USERNAME: "ada", KV_PASSWORD: "x" }, BASIC_CHALLENGE],
    ["a verifier", { basic: { verifyCredentials: () => true } }, {}, BASIC_CHALLENGE],
    ["all but Basic", { basic: false }, ENV, BEARER],
    ["nothing", {}, {}, "Bearer"],
    ["nothing but authenticateRequest", { ...OFF, authenticateRequest: () => null }, ENV, "Bearer"],
    ["no strategy", OFF, ENV, "Bearer"],
  ] as [string, AuthOptions, object, string][])(
    "offers in WWW-Authenticate what is configured: %s",
    async (_, auth, env, challenge) => {
      await using service = await startGuarded(auth, { env: { ...env } });
      for (const [path, headers] of [
        ["/v1/kv/a", {}],
        ["/nowhere", {}],
        ["/admin/info", { Authorization: "Bearer wrong" }],
        ["/v1/kv", { Authorization: "malformed" }],
      ] as const) {
        const answer = await service.get(headers, path);
        expect(answer.status).toBe(401);
        expect(answer.headers.get("WWW-Authenticate")).toBe(challenge);
        expect(answer.json).toMatchObject({ status: 401, success: false, data: null, error: "unauthorized" });
      }
      expect((await service.get({}, "/health")).headers.has("WWW-Authenticate")).toBe(false);
    },
  );

  it("is the same for each credential that is wrong, and quotes none", async () => {
    await using service = await startGuarded({}, { env: ENV });
    const bodies = new Set<string>();
    for (const authorization of [
      "Bearer canary",
      basicOf("canary", "canary"),
      basicOf("ada", "canary"),
      forgedBearer({ alg: "none", kid: "canary" }),
      await secretBearer(SECRET, { exp: 1, sub: "canary" }),
      "canary",
    ]) {
      const { json, text, headers } = await service.get({ Authorization: authorization });
      expect(text + JSON.stringify([...headers])).not.toContain("canary");
      bodies.add(JSON.stringify({ ...json, instance: "" }));
    }
    expect([...bodies]).toHaveLength(1);
    expect(service.warnings).toEqual([]);
  });
});

describe("nobody gets in", () => {
  it("where every strategy is false, whatever the environment holds, and construction says so", async () => {
    const log: LogEntry[] = [];
    const logger = (entry: LogEntry) => log.push(entry);
    kv({ auth: OFF, runtime: { storage: memoryStorage() }, logger });
    expect(log).toMatchObject([{ level: "warn", message: expect.stringContaining("Nobody gets in") }]);

    await using service = await startGuarded(OFF, { env: ENV });
    for (const authorization of [KEY_BEARER, BASIC, await secretBearer(SECRET), ""]) {
      expect(await service.status(authorization)).toBe(401);
    }
    expect(service.warnings).toHaveLength(1);
  });

  it("where nothing is configured, and a warning names each variable", async () => {
    await using service = await startGuarded({});
    for (const authorization of ["", "Bearer", "Bearer undefined", basicOf("", ""), forgedBearer({ alg: "HS256" })]) {
      expect(await service.status(authorization)).toBe(401);
    }
    expect(service.warnings).toEqual([expect.stringMatching(/KV_API_KEY.*KV_USERNAME.*KV_JWT_SECRET.*KV_JWKS_URL/)]);
  });

  it("but with an authenticateRequest there is no such warning", async () => {
    for (const auth of [OFF, {}]) {
      await using service = await startGuarded({ ...auth, authenticateRequest: () => ({ id: "anonymous" }) });
      expect((await service.get({})).status).toBe(200);
      expect(service.warnings).toEqual([]);
    }
  });
});

describe("the environment", () => {
  afterEach(() => vi.unstubAllEnvs());

  it("is the process's variables, on which getEnv has the last word", async () => {
    vi.stubEnv("KV_API_KEY", KEY);
    const runtime = { storage: memoryStorage() };
    const status = async (url: string, key: string) =>
      (await request(`${url}/v1/kv`, "GET", { headers: { Authorization: `Bearer ${key}` } })).status;
    await using plain = await startService({ auth: {}, runtime });
    expect([await status(plain.url, KEY), await status(plain.url, "other")]).toEqual([200, 401]);
    await using renamed = await startService({ auth: {}, runtime, getEnv: (env) => ({ ...env, KV_API_KEY: "other" }) });
    expect([await status(renamed.url, KEY), await status(renamed.url, "other")]).toEqual([401, 200]);
    await using empty = await startService({ auth: {}, runtime, getEnv: () => ({}) });
    expect([await status(empty.url, KEY), await status(empty.url, "other")]).toEqual([401, 401]);
  });

  it("is what the callbacks are given", async () => {
    const seen: unknown[] = [];
    const note = (_: unknown, env: { TENANT?: unknown }) => {
      seen.push(env.TENANT);
      return null;
    };
    const refuse = (credential: unknown, env: object) => note(credential, env) ?? false;
    await using service = await startGuarded(
      {
        apiKey: { getCredentials: (r, env) => note(r, env) ?? KEY, verifyCredentials: refuse },
        basic: {
          getCredentials: (r, env) => note(r, env) ?? { username: "a", password: "b" },
          verifyCredentials: refuse,
        },
        jwt: { secret: SECRET, getCredentials: note },
        authenticateRequest: (_request, _principal, env) => note(null, env),
      },
      { env: { TENANT: "acme" } },
    );
    expect((await service.get({})).status).toBe(401);
    expect(seen).toEqual(Array(6).fill("acme"));
  });

  it("that changes is followed, each set of values for itself", async () => {
    const env: Record<string, unknown> = { KV_API_KEY: "one" };
    await using service = await startGuarded({}, { env });
    for (const key of ["one", "two", "one", "two"]) {
      env.KV_API_KEY = key;
      expect([await service.status("Bearer one"), await service.status("Bearer two")]).toEqual(
        key === "one" ? [200, 401] : [401, 200],
      );
    }
  });

  it.each([12, {}, ["key"], true])(
    "a variable of %j, which is no text, is a TypeError that names it",
    async (value) => {
      for (const name of Object.keys(ENV)) {
        await expect(startGuarded({}, { env: { [name]: value } })).rejects.toThrow(
          expect.objectContaining({ name: "TypeError", message: expect.stringMatching(`^${name}: expected a string`) }),
        );
      }
    },
  );
});

describe("authenticateRequest", () => {
  const start = (authenticateRequest: AuthenticateRequest) => startGuarded({ authenticateRequest }, { env: ENV });

  it("runs last, and is given the request and who it comes from", async () => {
    const seen: unknown[] = [];
    await using service = await start(async (request, principal) => {
      seen.push([request.method, new URL(request.url).pathname, request.headers.get("X-Tenant"), principal]);
      return principal;
    });
    const given = (authorization: string) =>
      service.get({ Authorization: authorization, "X-Tenant": "acme" }, "/v1/kv/a");
    expect([(await given(BASIC)).status, (await given("")).status, (await given("Bearer wrong")).status]).toEqual([
      404, 401, 401,
    ]);
    const called = ["GET", "/v1/kv/a", "acme"];
    expect(seen).toEqual([
      [...called, { id: "ada", strategy: "basic", scope: "admin" }],
      [...called, null],
      [...called, null],
    ]);
  });

  it("may grant what no strategy does, as custom and admin unless it says less", async () => {
    const headers = {};
    const answers: [Partial<Principal>, number, number, number][] = [
      [{ id: "anonymous" }, 200, 200, 200],
      [{ id: "anonymous", scope: "admin" }, 200, 200, 200],
      [{ id: "anonymous", scope: "write" }, 200, 200, 403],
      [{ id: "anonymous", scope: "read" }, 200, 403, 403],
      [{ id: "anonymous", scope: "root" as never }, 403, 403, 403],
    ];
    let answer: Partial<Principal> = {};
    await using service = await start(() => answer as Principal);
    for (const [given, ...expected] of answers) {
      answer = given;
      expect([
        (await service.get(headers)).status,
        (await service.send("PUT", "/v1/kv/a", headers, { value: 1 })).status,
        (await service.get(headers, "/admin/info")).status,
      ]).toEqual(expected);
    }
    answer = { id: "anonymous" };
    expect((await service.get(headers, "/admin/info")).json.data.auth).toEqual(["api-key", "basic", "jwt", "custom"]);
  });

  it("may refuse what a strategy accepts, or allow less", async () => {
    await using service = await start((_request, principal) =>
      principal?.strategy === "basic" ? null : principal && { ...principal, scope: "read" },
    );
    expect(await service.status(BASIC)).toBe(401);
    expect(await service.status(KEY_BEARER)).toBe(200);
    const put = await service.send("PUT", "/v1/kv/a", { Authorization: KEY_BEARER }, { value: 1 });
    expect(put.status).toBe(403);
  });

  it("grants only by an answer that says who it is", async () => {
    let answer: unknown;
    await using service = await start(() => answer as never);
    for (answer of [
      null,
      undefined,
      true,
      1,
      "ada",
      {},
      [],
      { id: 1 },
      { id: null },
      { scope: "admin" },
      new Response(),
    ]) {
      expect(await service.status(KEY_BEARER), JSON.stringify(answer)).toBe(401);
    }
  });

  it("that throws or rejects refuses, and a warning says so", async () => {
    for (const authenticateRequest of [
      () => {
        throw new Error("the directory is away");
      },
      () => Promise.reject(new Error("the directory is away")),
      () => Promise.reject("the directory is away"),
    ]) {
      await using service = await start(authenticateRequest);
      const answer = await service.get({ Authorization: KEY_BEARER });
      expect(answer).toMatchObject({ status: 401, json: { error: "unauthorized" } });
      expect(answer.text).not.toContain("directory");
      expect(service.warnings).toEqual([expect.stringMatching(/^auth\.authenticateRequest .*directory is away/)]);
    }
  });

  it("that never returns refuses after 5 s", async () => {
    const warnings = [expect.stringMatching(/^auth\.authenticateRequest .*5000 ms/)];
    const auth = { apiKey: { apiKey: KEY } };
    const late = await answerLate((hang) => ({ ...auth, authenticateRequest: hang }), KEY_BEARER);
    expect(late).toEqual({ status: 401, warnings });
  });

  it("is not asked about what is public", async () => {
    let asked = 0;
    await using service = await start(() => {
      asked += 1;
      return null;
    });
    for (const path of ["/health", "/ready", "/open-api.json"]) expect((await service.get({}, path)).status).toBe(200);
    expect(asked).toBe(0);
  });
});
