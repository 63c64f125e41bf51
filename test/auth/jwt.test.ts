import { createHmac } from "node:crypto";
import { type JWTPayload, SignJWT } from "jose";
import { describe, expect, it } from "vitest";
import type { JwtOptions } from "../../src/auth/jwt.ts";
import { kv } from "../../src/index.ts";
import { describeCallbacks } from "./callbacks.ts";
import {
  basicOf,
  CLAIMS,
  forgedBearer,
  refusalOf,
  SECOND,
  START,
  secretBearer,
  signingKey,
  startGuarded,
  startWatched,
} from "./support.ts";

const SECRET = "canary-secret-of-32-bytes-or-more-0123456789";
const NOW = START / SECOND;
const URL_ = "https://idp.example/jwks";
const only = (jwt: JwtOptions) => ({ jwt, apiKey: false, basic: false }) as const;

/** The statuses of tokens with these claims besides `exp`, each for itself. */
async function statuses(options: JwtOptions, tokens: readonly JWTPayload[], env = {}): Promise<number[]> {
  await using service = await startGuarded(only({ secret: SECRET, ...options }), { env });
  const answers: number[] = [];
  for (const claims of tokens) answers.push(await service.status(await secretBearer(SECRET, { ...CLAIMS, ...claims })));
  return answers;
}

describe("a signature", () => {
  it.each(["HS256", "HS384", "HS512"])("of %s with the secret is accepted", async (alg) => {
    await using service = await startWatched(only({ secret: SECRET }));
    expect(await service.status(await secretBearer(SECRET, CLAIMS, { alg }))).toBe(200);
    expect(service.callers).toEqual([{ id: "ada", strategy: "jwt", scope: "admin", claims: CLAIMS }]);
    const short = await secretBearer(SECRET.slice(0, -1), CLAIMS, { alg });
    expect(await service.status(short)).toBe(401);
    expect(await service.status(await secretBearer(`${SECRET}0`, CLAIMS, { alg }))).toBe(401);
  });

  it("holds only for what was signed", async () => {
    await using service = await startGuarded(only({ secret: SECRET }));
    const [head = "", body = "", signature = ""] = (await secretBearer(SECRET)).replace("Bearer ", "").split(".");
    const [, otherBody = ""] = (await secretBearer(SECRET, { ...CLAIMS, sub: "eve" })).split(".");
    const [otherHead = ""] = (await secretBearer(SECRET, CLAIMS, { typ: "JWT" })).replace("Bearer ", "").split(".");
    const flipped = (signature.startsWith("A") ? "B" : "A") + signature.slice(1);
    for (const token of [
      `${head}.${otherBody}.${signature}`,
      `${otherHead}.${body}.${signature}`,
      `${head}.${body}.${flipped}`,
      `${head}.${body}.${signature.slice(0, -2)}`,
      `${head}.${body}.`,
      `${head}.${body}`,
      `${head}.${body}.${signature}.`,
      `${head}.${body}.${signature}.${signature}`,
      `.${body}.${signature}`,
      "a.b.c",
      "..",
    ]) {
      expect(await service.status(`Bearer ${token}`), token).toBe(401);
    }
    expect(await service.status(`Bearer ${head}.${body}.${signature}`)).toBe(200);
  });

  it("alg none is no signature, however it is written", async () => {
    await using service = await startGuarded(only({ secret: SECRET }));
    for (const alg of ["none", "None", "NONE", "nOnE", "", null, undefined, "HS1", ["HS256"]]) {
      for (const signature of ["", "AAAA", "none"]) {
        expect(await service.status(forgedBearer({ alg }, CLAIMS, () => signature)), `${alg} ${signature}`).toBe(401);
      }
    }
  });

  it.each(["RS256", "PS256", "ES256", "EdDSA"])("of %s is refused against a secret", async (alg) => {
    await using service = await startGuarded(only({ secret: SECRET }));
    const key = await signingKey(alg);
    expect(await service.status(await key.bearer())).toBe(401);
    expect(await service.status(await key.bearer(CLAIMS, { jwk: key.jwk }))).toBe(401);
  });

  it("with extensions that must be understood and are not is refused (crit, b64)", async () => {
    await using service = await startGuarded(only({ secret: SECRET }));
    const signed = (header: object) =>
      forgedBearer({ alg: "HS256", ...header }, CLAIMS, (input) =>
        createHmac("sha256", SECRET).update(input).digest("base64url"),
      );
    expect(await service.status(signed({}))).toBe(200);
    for (const header of [{ crit: ["exp"], exp: 1 }, { crit: [] }, { crit: "b64" }, { b64: false, crit: ["b64"] }]) {
      expect(await service.status(signed(header)), JSON.stringify(header)).toBe(401);
    }
  });

  it("with the secret is no key, no password, and only of use as a Bearer", async () => {
    await using service = await startGuarded(only({ secret: SECRET }));
    const bearer = await secretBearer(SECRET);
    const token = bearer.replace("Bearer ", "");
    expect(await service.status(bearer.replace("Bearer", "bEARER"))).toBe(200);
    expect(await service.status(`Bearer ${SECRET}`)).toBe(401);
    expect(await service.status(`JWT ${token}`)).toBe(401);
    expect(await service.status(token)).toBe(401);
    expect(await service.status(basicOf("ada", token))).toBe(401);
    expect((await service.get({ "X-API-Key": token })).status).toBe(401);
    expect((await service.get({ Cookie: `token=${token}` })).status).toBe(401);
    expect((await service.get({}, `/v1/kv/a?access_token=${token}&token=${token}`)).status).toBe(401);
  });
});

describe("times, by the clock that is injected", () => {
  it.each([
    ["exp", NOW, 200],
    ["exp", NOW - 4, 200],
    ["exp", NOW - 5, 401],
    ["exp", NOW - 3600, 401],
    ["nbf", NOW, 200],
    ["nbf", NOW + 5, 200],
    ["nbf", NOW + 6, 401],
    ["nbf", NOW + 3600, 401],
    ["iat", NOW + 3600, 200],
  ])("%s %d: %d", async (claim, seconds, expected) => {
    expect(await statuses({}, [{ [claim]: seconds }])).toEqual([expected]);
  });

  it("a token expires while the service runs, 5 s late", async () => {
    const clock = { now: START };
    await using service = await startGuarded(only({ secret: SECRET }), { clock });
    const bearer = await secretBearer(SECRET, { exp: NOW + 60 });
    const at = async (seconds: number) => {
      clock.now = START + seconds * SECOND;
      return service.status(bearer);
    };
    expect([await at(0), await at(60), await at(64.999), await at(65), await at(3600)]).toEqual([
      200, 200, 200, 401, 401,
    ]);
  });

  it("exp is required, and each time is a number", async () => {
    await using service = await startGuarded(only({ secret: SECRET }));
    expect(await service.status(await secretBearer(SECRET, { sub: "ada" }))).toBe(401);
    const later = NOW + 60;
    for (const claims of [
      { exp: `${later}` },
      { exp: null },
      { exp: [later] },
      { exp: { valueOf: later } },
      { exp: true },
      { exp: later, nbf: `${NOW}` },
      { exp: later, nbf: null },
    ]) {
      expect(await service.status(await secretBearer(SECRET, claims as never)), JSON.stringify(claims)).toBe(401);
    }
  });

  it("claims that are no object are refused", async () => {
    const { CompactSign } = await import("jose");
    await using service = await startGuarded(only({ secret: SECRET }));
    for (const payload of ["null", "1", '"exp"', "[]", "", "{", `{"exp":1e999}`, `{"exp":${NOW + 60}`]) {
      const token = await new CompactSign(new TextEncoder().encode(payload))
        .setProtectedHeader({ alg: "HS256" })
        .sign(new TextEncoder().encode(SECRET));
      expect(await service.status(`Bearer ${token}`), payload).toBe(401);
    }
  });
});

describe("iss and aud", () => {
  it("are looked at only where they are configured", async () => {
    expect(await statuses({}, [{}, { iss: "anybody", aud: "anything" }])).toEqual([200, 200]);
  });

  it.each([
    ["issuer", "iss", "KV_JWT_ISSUER"],
    ["audience", "aud", "KV_JWT_AUDIENCE"],
  ])("%s: one, or one of a list, or of %s and %s", async (option, claim, variable) => {
    const tokens = [{ [claim]: "mine" }, { [claim]: "also" }, { [claim]: "other" }, { [claim]: "min" }, {}];
    expect(await statuses({ [option]: "mine" }, tokens)).toEqual([200, 401, 401, 401, 401]);
    expect(await statuses({ [option]: ["mine", "also"] }, tokens)).toEqual([200, 200, 401, 401, 401]);
    expect(await statuses({}, tokens, { [variable]: "mine" })).toEqual([200, 401, 401, 401, 401]);
    expect(await statuses({ [option]: "also" }, tokens, { [variable]: "mine" })).toEqual([401, 200, 401, 401, 401]);
    const renamed = { env: { [option]: "OTHER" } };
    expect(await statuses(renamed, tokens, { [variable]: "mine", OTHER: "also" })).toEqual([401, 200, 401, 401, 401]);
  });

  it.each(["KV_JWT_ISSUER", "KV_JWT_AUDIENCE"])(
    "%s set but empty is refused: it would switch the check off",
    async (name) => {
      await expect(statuses({}, [{}], { [name]: " " })).rejects.toThrow(`${name}: expected a non-empty string`);
    },
  );

  it("aud may be a list; iss may not, and neither is taken for something else", async () => {
    const audiences = [["other", "mine"], ["other"], [], [["mine"]], { mine: true }, null, 0];
    const tokens = audiences.map((aud) => ({ aud }) as never);
    expect(await statuses({ audience: "mine" }, tokens)).toEqual([200, 401, 401, 401, 401, 401, 401]);
    const issuers = [["mine"], { mine: true }, null, "Mine", "mine/"];
    expect(
      await statuses(
        { issuer: "mine" },
        issuers.map((iss) => ({ iss }) as never),
      ),
    ).toEqual(Array(5).fill(401));
  });
});

describe("the scope claim", () => {
  it.each([
    [undefined, "admin"],
    ["kv:read", "read"],
    ["kv:write", "write"],
    ["kv:admin", "admin"],
    ["openid kv:read profile", "read"],
    ["kv:write kv:read", "write"],
    ["kv:read kv:admin", "admin"],
    [["openid", "kv:read"], "read"],
    ["openid profile", "admin"],
    ["", "admin"],
    ["kv:reader kv:read", "read"],
  ])("%j is %s", async (scope, expected) => {
    await using service = await startWatched(only({ secret: SECRET }));
    const Authorization = await secretBearer(SECRET, { ...CLAIMS, ...(scope !== undefined && { scope }) });
    expect((await service.get({ Authorization })).status).toBe(200);
    expect(service.callers[0]?.scope).toBe(expected);
    const may = { read: [403, 403], write: [200, 403], admin: [200, 200] }[expected];
    const put = await service.send("PUT", "/v1/kv/a", { Authorization }, { value: 1 });
    expect([put.status, (await service.get({ Authorization }, "/admin/info")).status]).toEqual(may);
  });

  it.each([
    [{}, "jwt"],
    [{ sub: "grace" }, "grace"],
    [{ sub: 12 }, "jwt"],
    [{ sub: { id: 1 } }, "jwt"],
  ])("the principal of %j is %s", async (claims, id) => {
    await using service = await startWatched(only({ secret: SECRET }));
    await service.status(await secretBearer(SECRET, { exp: CLAIMS.exp, ...claims } as JWTPayload));
    expect(service.callers).toEqual([expect.objectContaining({ id, strategy: "jwt" })]);
  });
});

describe("configuration", () => {
  it("comes from KV_JWT_SECRET or the variable that is named, and code wins", async () => {
    const secrets = ["a", "b", "c"].map((letter) => letter.repeat(32));
    const [first = "", second = "", third = ""] = secrets;
    const env = { KV_JWT_SECRET: first, MINE: second };
    const cases: [JwtOptions, string][] = [
      [{}, first],
      [{ env: { secret: "MINE" } }, second],
      [{ secret: third }, third],
    ];
    for (const [options, accepted] of cases) {
      await using service = await startGuarded(only(options), { env });
      for (const secret of secrets) {
        expect(await service.status(await secretBearer(secret))).toBe(secret === accepted ? 200 : 401);
      }
    }
  });

  it("a secret under 32 bytes is refused by name, without its content", async () => {
    for (const secret of ["canary", "canary".padEnd(31, "x"), `canary${"é".repeat(12)}`]) {
      expect(await refusalOf(startGuarded(only({ secret })))).toMatchObject({
        name: "TypeError",
        message: expect.stringMatching(/^auth\.jwt\.secret: .*32 bytes(?!.*canary)/),
      });
      for (const name of ["KV_JWT_SECRET", "MINE"]) {
        const options = { env: { secret: name } };
        const refusal = await refusalOf(startGuarded(only(options), { env: { [name]: secret } }));
        expect(refusal).toMatchObject({
          name: "TypeError",
          message: expect.stringMatching(new RegExp(`^${name}: .*32 bytes`)),
        });
        expect(refusal?.message).not.toContain("canary");
      }
    }
    // 32 bytes, in fewer characters.
    expect(await refusalOf(startGuarded(only({ secret: "é".repeat(16) })))).toBeNull();
  });

  it.each(["", "   ", "\n"])("a secret of %j counts as not configured, and a warning says so", async (blank) => {
    const cases: [JwtOptions, Record<string, string>, RegExp][] = [
      [{}, { KV_JWT_SECRET: blank }, /^KV_JWT_SECRET .*empty/],
      [{}, { KV_JWKS_URL: blank }, /^KV_JWKS_URL .*empty/],
      [{ secret: blank }, {}, /^auth\.jwt\.secret .*empty/],
      [{ secret: blank }, { KV_JWT_SECRET: SECRET }, /^auth\.jwt\.secret .*empty/],
    ];
    for (const [options, env, warning] of cases) {
      await using service = await startGuarded(only(options), { env });
      for (const secret of [" ".repeat(32), "undefined", "\0".repeat(32), SECRET]) {
        expect(await service.status(await secretBearer(secret))).toBe(401);
      }
      expect(await service.status(forgedBearer({ alg: "HS256" }))).toBe(401);
      expect(service.warnings).toContainEqual(expect.stringMatching(warning));
    }
  });

  it("a secret and a JWKS together are refused, wherever each comes from, and named as what they are", async () => {
    const jwks = { url: URL_ };
    const cases: [JwtOptions, Record<string, string>, string, string][] = [
      [{ secret: SECRET, jwks }, {}, "auth.jwt.secret", "auth.jwt.jwks"],
      [{ secret: SECRET }, { KV_JWKS_URL: URL_ }, "auth.jwt.secret", "KV_JWKS_URL"],
      [{ jwks }, { KV_JWT_SECRET: SECRET }, "KV_JWT_SECRET", "auth.jwt.jwks"],
      [{}, { KV_JWT_SECRET: SECRET, KV_JWKS_URL: URL_ }, "KV_JWT_SECRET", "KV_JWKS_URL"],
    ];
    for (const [options, env, secret, url] of cases) {
      const refusal = await refusalOf(startGuarded(only(options), { env }));
      expect(refusal).toBeInstanceOf(TypeError);
      expect(refusal?.message).toMatch(new RegExp(`^${secret}: .*${url}.* both`));
      expect(refusal?.message).not.toContain("canary");
    }
    // A blank one is not configured.
    for (const env of [{ KV_JWKS_URL: "" }, { KV_JWKS_URL: " " }]) {
      expect(await refusalOf(startGuarded(only({ secret: SECRET }), { env }))).toBeNull();
    }
    expect(await refusalOf(startGuarded(only({ secret: " ", jwks })))).toBeNull();
  });

  it.each([
    [{ secret: SECRET, jwks: { url: URL_ } }, "auth.jwt.secret"],
    [{ secret: SECRET, jwks: { cacheTtl: 60 } }, "auth.jwt.secret"],
    [{ secret: "short" }, "auth.jwt.secret"],
    [{ jwks: { url: "http://idp.example/jwks" } }, "auth.jwt.jwks.url"],
  ])("a mistake in code is refused at construction: %j", (options, name) => {
    expect(() => kv({ auth: { jwt: options } })).toThrow(
      expect.objectContaining({ name: "TypeError", message: expect.stringMatching(`^${name}: `) }),
    );
  });

  it("a mistake in it is 503 where it is met on a request, and says nothing of it", async () => {
    const env: Record<string, string> = { KV_JWT_SECRET: SECRET };
    await using service = await startGuarded(only({}), { env });
    const bearer = await secretBearer(SECRET);
    expect(await service.status(bearer)).toBe(200);
    env.KV_JWT_SECRET = "canary";
    const answer = await service.get({ Authorization: bearer });
    expect(answer).toMatchObject({ status: 503, json: { error: "unavailable" } });
    expect(answer.text).not.toMatch(/canary|KV_JWT/);
  });
});

describeCallbacks<string, JWTPayload>({
  option: "auth.jwt",
  auth: (callbacks) => only({ secret: SECRET, ...callbacks }),
  authorization: () => secretBearer(SECRET),
  credential: async () => (await secretBearer(SECRET)).replace("Bearer ", ""),
  verified: CLAIMS,
  principal: { id: "ada", scope: "admin" },
});

it("verifyCredentials is asked only about claims that hold, and configures nothing by itself", async () => {
  const asked: JWTPayload[] = [];
  const verifyCredentials = (claims: JWTPayload) => {
    asked.push(claims);
    return true;
  };
  await using service = await startGuarded(only({ secret: SECRET, verifyCredentials }));
  for (const bearer of [
    await secretBearer("another-secret-of-32-bytes-or-more-0123"),
    await secretBearer(SECRET, { exp: NOW - 60 }),
    forgedBearer({ alg: "none" }),
  ]) {
    expect(await service.status(bearer)).toBe(401);
  }
  expect(asked).toEqual([]);
  await using unconfigured = await startGuarded(only({ verifyCredentials }));
  expect(await unconfigured.status(await secretBearer(SECRET))).toBe(401);
  expect(asked).toEqual([]);
});

it("getCredentials is held to the form of a token", async () => {
  const token = (await secretBearer(SECRET)).replace("Bearer ", "");
  let given: unknown = token;
  await using service = await startGuarded(only({ secret: SECRET, getCredentials: () => given as string }));
  expect((await service.get({})).status).toBe(200);
  for (given of [`Bearer ${token}`, ` ${token}`, `${token}\n`, [token], new TextEncoder().encode(token)]) {
    expect((await service.get({})).status, String(given)).toBe(401);
  }
});

it("the signed header does not say which key verifies: jwk, jku, x5u and x5c are ignored", async () => {
  await using service = await startGuarded(only({ secret: SECRET }));
  const k = Buffer.from("0".repeat(32)).toString("base64url");
  const token = await new SignJWT(CLAIMS)
    .setProtectedHeader({ alg: "HS256", jwk: { kty: "oct", k } as never, jku: `${service.url}/jwks`, kid: "0" })
    .sign(Buffer.from("0".repeat(32)));
  expect(await service.status(`Bearer ${token}`)).toBe(401);
});
