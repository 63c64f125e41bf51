/** What a token's signature and claims mean, asked directly. */
import { generateKeyPairSync, sign as signBytes } from "node:crypto";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { describe, expect, it, vi } from "vitest";
import { type Claims, claimsHold, scopeOf } from "../../src/auth/claims.ts";
import { checkJwksUrl, remoteJwks } from "../../src/auth/jwks.ts";
import { type JwsHeader, type VerificationKey, verifiedJws } from "../../src/auth/jws.ts";
import { type JwtOptions, jwt } from "../../src/auth/jwt.ts";
import { away, CLAIMS, forgedBearer, type Idp, START, secretBearer, startIdp } from "./support.ts";

const NOW = 2_000_000_000;
const ANYBODY = { issuer: undefined, audience: undefined };

describe("claims", () => {
  const hold = (claims: unknown, checks: object = {}) => claimsHold(claims as Claims, { ...ANYBODY, ...checks }, NOW);

  it("have an exp, which may be 5 s ago by another clock", () => {
    expect([NOW + 1, NOW, NOW - 4.9, NOW - 5].map((exp) => hold({ exp }))).toEqual([true, true, true, false]);
    for (const exp of [undefined, null, `${NOW + 1}`, Infinity, Number.NaN, [NOW + 1]])
      expect(hold({ exp })).toBe(false);
    for (const claims of [null, undefined, "exp", 1, []]) expect(hold(claims)).toBe(false);
  });

  it("may have an nbf, which may be 5 s ahead", () => {
    const after = (nbf: unknown) => hold({ exp: NOW + 60, nbf });
    expect([undefined, 0, NOW, NOW + 5, NOW + 5.1].map(after)).toEqual([true, true, true, true, false]);
    for (const nbf of [null, `${NOW}`, -Infinity, Number.NaN]) expect(after(nbf)).toBe(false);
  });

  it("have one of the issuers, where some are asked for", () => {
    const from = (iss: unknown) => hold({ exp: NOW + 60, iss }, { issuer: ["a", "b"] });
    expect(["a", "b", "c", "", undefined, ["a"]].map(from)).toEqual([true, true, false, false, false, false]);
    expect(hold({ exp: NOW + 60, iss: "c" })).toBe(true);
  });

  it("name one of the audiences, where some are asked for", () => {
    const to = (aud: unknown) => hold({ exp: NOW + 60, aud }, { audience: ["a", "b"] });
    expect(["a", ["c", "b"], "c", ["c"], [], undefined].map(to)).toEqual([true, true, false, false, false, false]);
    expect(hold({ exp: NOW + 60, aud: "c" })).toBe(true);
  });

  it.each([
    [undefined, "admin"],
    ["", "admin"],
    ["openid profile", "admin"],
    ["kv:read", "read"],
    ["kv:write openid", "write"],
    ["kv:read kv:admin", "admin"],
    ["kv:write kv:read", "write"],
    [["kv:read", "openid"], "read"],
    [["openid kv:write"], "write"],
    [[], "admin"],
    ["kv:raed", null],
    ["KV:READ", null],
    ["xkv:read", null],
    ["kv:reader", null],
    [["kv:read", 1], null],
    [null, null],
    [{}, null],
    [7, null],
  ])("of the scope %j are %s", (scope, allowed) => {
    expect(scopeOf({ scope } as Claims)).toBe(allowed);
  });
});

describe("a signature", () => {
  const KEY = new TextEncoder().encode("0123456789abcdef0123456789abcdef");
  const OTHER = new TextEncoder().encode("another-0123456789abcdef01234567");
  const sign = (alg: string, key: Parameters<SignJWT["sign"]>[0], header = {}) =>
    new SignJWT({ sub: "ada" }).setProtectedHeader({ alg, ...header }).sign(key);
  const verify = (token: string, algorithms: string[], ...keys: VerificationKey[]) =>
    verifiedJws(token, algorithms, async () => keys);

  it.each(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"])(
    "of %s is verified by its public key alone",
    async (alg) => {
      const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
      const jwk = (await exportJWK(publicKey)) as JsonWebKey;
      const token = await sign(alg, privateKey, { kid: "k" });
      const { publicKey: other } = await generateKeyPair(alg, { extractable: true });
      const otherJwk = (await exportJWK(other)) as JsonWebKey;
      expect(await verify(token, [alg], jwk)).toEqual({ header: { alg, kid: "k" }, payload: '{"sub":"ada"}' });
      expect(await verify(token, [alg], otherJwk)).toBeNull();
      expect(await verify(token, [alg], otherJwk, {}, jwk)).not.toBeNull();
      expect(await verify(`${token.slice(0, -8)}AAAAAAAA`, [alg], jwk)).toBeNull();
    },
  );

  it("of HMAC is verified by its secret, whichever of several", async () => {
    const token = await sign("HS256", KEY);
    expect(await verify(token, ["HS256"], OTHER, KEY)).toMatchObject({ header: { alg: "HS256" } });
    expect(await verify(token, ["HS256"], OTHER)).toBeNull();
    expect(await verify(token, ["HS256"])).toBeNull();
  });

  it("by one key is held to the algorithm that it names, though the key was met with another", async () => {
    const tokens = await Promise.all(["HS256", "HS512", "HS256"].map((alg) => sign(alg, KEY)));
    for (const token of tokens) expect(await verify(token, ["HS256", "HS512"], KEY)).not.toBeNull();
    const [head] = (tokens[1] as string).split(".");
    const [, body, signature] = (tokens[0] as string).split(".");
    expect(await verify(`${head}.${body}.${signature}`, ["HS256", "HS512"], KEY)).toBeNull();
  });

  it("makes a key once for the tokens that it verifies", async () => {
    const imported = vi.spyOn(crypto.subtle, "importKey");
    const key = new TextEncoder().encode("once-0123456789abcdef0123456789ab");
    const token = await sign("HS256", key);
    imported.mockClear();
    for (let turn = 0; turn < 3; turn++) expect(await verify(token, ["HS256"], key)).not.toBeNull();
    const calls = imported.mock.calls.splice(0);
    const { publicKey, privateKey } = await generateKeyPair("EdDSA", { extractable: true });
    const jwk = (await exportJWK(publicKey)) as JsonWebKey;
    const other = await sign("EdDSA", privateKey);
    imported.mockClear();
    expect(await verify(other, ["EdDSA"], jwk)).not.toBeNull();
    const [ofJwk] = imported.mock.calls;
    imported.mockRestore();
    // Good for nothing else, and never given out again.
    expect(calls).toEqual([["raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]]]);
    expect(ofJwk).toEqual(["jwk", jwk, { name: "Ed25519" }, false, ["verify"]]);
  });

  it("by an algorithm that is not asked for, or with an extension, is not even looked up", async () => {
    const keysOf = vi.fn(async (_: JwsHeader) => [KEY]);
    const critical = forgedBearer({ alg: "HS256", crit: ["exp"], exp: NOW }).replace("Bearer ", "");
    for (const token of [await sign("HS384", KEY), critical, "a.b.c", "", "bnVsbA.e30.AA"]) {
      expect(await verifiedJws(token, ["HS256"], keysOf)).toBeNull();
    }
    expect(keysOf).not.toHaveBeenCalled();
    await verifiedJws(await sign("HS256", KEY, { kid: "k" }), ["HS256"], keysOf);
    expect(keysOf.mock.calls).toEqual([[{ alg: "HS256", kid: "k" }]]);
  });

  it("whose keys cannot be had fails as they do", async () => {
    const error = new Error("away");
    await expect(verifiedJws(await sign("HS256", KEY), ["HS256"], () => Promise.reject(error))).rejects.toBe(error);
  });

  it("by an RSA key under 2,048 bits is none", async () => {
    const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2040 });
    const input = ['{"alg":"RS256"}', "{}"].map((text) => Buffer.from(text).toString("base64url")).join(".");
    const signature = signBytes("sha256", Buffer.from(input), privateKey).toString("base64url");
    expect(await verify(`${input}.${signature}`, ["RS256"], publicKey.export({ format: "jwk" }))).toBeNull();
  });
});

describe("the keys of a provider", () => {
  const header = { alg: "EdDSA", kid: "ключ" };
  const KEYS = JSON.stringify({ keys: [{ kty: "OKP", kid: header.kid }, null, 7] });
  const keysOf = (idp: Idp, clock = { now: START }) =>
    remoteJwks({ url: idp.url, cacheTtl: 3600, now: () => clock.now, warn: () => {} }).keysOf;

  it.each([
    ["https://idp.example/keys", true],
    ["http://localhost/keys", true],
    ["http://127.10.200.30:81/keys", true],
    ["http://[::1]/keys", true],
    ["http://idp.example/keys", false],
    ["http://notlocalhost/keys", false],
    ["http://localhost.example/keys", false],
    ["http://127.0.0.1.example/keys", false],
    ["ftp://localhost/keys", false],
    ["https://user@idp.example/keys", false],
    ["https://:password@idp.example/keys", false],
    ["nonsense", false],
  ])("may come from %s: %s", (url, may) => {
    const check = expect(() => checkJwksUrl(url, "KV_JWKS_URL"));
    if (may) check.not.toThrow();
    else check.toThrow(/^KV_JWKS_URL: expected an https URL without a password \(http is for this machine only\)$/);
  });

  it("may be cut anywhere on their way", async () => {
    await using idp = await startIdp();
    idp.answer = async (_, response) => {
      for (const byte of Buffer.from(KEYS)) {
        response.write(Uint8Array.of(byte));
        await new Promise((resolve) => setImmediate(resolve));
      }
      response.end();
    };
    expect(await keysOf(idp)(header)).toEqual([{ kty: "OKP", kid: "ключ" }]);
  });

  it("that do not come are asked for again after 30 s, as the refusal says", async () => {
    await using idp = await startIdp();
    const clock = { now: START };
    const keys = keysOf(idp, clock);
    idp.answer = away;
    const refused = { code: "unavailable", headers: { "Retry-After": "30" } };
    await expect(keys(header)).rejects.toMatchObject(refused);
    clock.now += 29_999;
    await expect(keys(header)).rejects.toMatchObject(refused);
    expect(idp.hits).toHaveLength(1);
    // One that never ends is given up after as long.
    const asked = Promise.withResolvers<void>();
    idp.answer = () => asked.resolve();
    clock.now += 1;
    // It ends with the provider.
    void keys(header);
    await asked.promise;
    clock.now += 30_000;
    idp.answer = (_, response) => void response.end(KEYS);
    expect(await keys(header)).toHaveLength(1);
    expect(idp.hits).toHaveLength(3);
  });
});

describe("the strategy", () => {
  const SECRET = "canary-secret-of-32-bytes-or-more-0123456789";
  const make = (env: Record<string, unknown> = { KV_JWT_SECRET: SECRET }, options: JwtOptions = {}) =>
    jwt(options, { env, warn: () => {}, now: () => START });
  const verify = (authorization?: string) =>
    make()?.verify(new Request("http://x", authorization ? { headers: { Authorization: authorization } } : {}), {});

  it("has a name and a challenge", () => {
    expect(make()).toMatchObject({ name: "jwt", challenge: 'Bearer realm="kv"' });
  });

  it("is none where nothing is configured", () => {
    expect(make({})).toBeNull();
    expect(make({ KV_JWT_ISSUER: "a" })).toBeNull();
    expect(make({ KV_JWKS_URL: "https://idp.example/jwks" })).not.toBeNull();
    expect(make({}, { jwks: { url: "https://idp.example/jwks" } })).not.toBeNull();
  });

  it.each<[Record<string, unknown>, RegExp]>([
    [{ KV_JWT_SECRET: "x".repeat(31) }, /^KV_JWT_SECRET: expected a secret of at least 32 bytes, got 31/],
    [{ KV_JWKS_URL: "http://idp.example/jwks" }, /^KV_JWKS_URL: expected an https URL/],
    [
      { KV_JWT_SECRET: SECRET, KV_JWKS_URL: "https://idp.example" },
      /^KV_JWT_SECRET: expected this or KV_JWKS_URL, got both/,
    ],
    [{ KV_JWT_SECRET: SECRET, KV_JWT_ISSUER: 7 }, /^KV_JWT_ISSUER: expected a non-empty string/],
    [{ KV_JWT_SECRET: SECRET, KV_JWT_ISSUER: null }, /^KV_JWT_ISSUER: expected a non-empty string/],
    [{ KV_JWT_SECRET: SECRET, KV_JWT_AUDIENCE: " " }, /^KV_JWT_AUDIENCE: expected a non-empty string/],
  ])("of the variables %j is a TypeError that names one", (env, message) => {
    expect(() => make(env)).toThrow(TypeError);
    expect(() => make(env)).toThrow(message);
  });

  it("lets in by a token whose type gives access, or that has none", async () => {
    for (const typ of [undefined, "JWT", "jwt", "at+jwt", "application/at+jwt", "JOSE"]) {
      const header = typ === undefined ? {} : { typ };
      expect([typ, await verify(await secretBearer(SECRET, CLAIMS, header))]).toMatchObject([typ, { id: "ada" }]);
    }
    for (const typ of ["logout+jwt", "", "jwt ", "xjwt", "application/", "dpop+jwt"]) {
      expect([typ, await verify(await secretBearer(SECRET, CLAIMS, { typ }))]).toEqual([typ, null]);
    }
  });

  it("lets in nobody without a token, or by what is none", async () => {
    for (const authorization of [undefined, "Bearer a.b", "Bearer a.b.c.d", "Bearer a.b.c=", "Basic a.b.c"]) {
      expect([authorization, await verify(authorization)]).toEqual([authorization, null]);
    }
    const [head, , signature] = (await secretBearer(SECRET)).split(".");
    expect(await verify(`${head}.bm8.${signature}`)).toBeNull();
    expect(await verify(await secretBearer(SECRET, { ...CLAIMS, scope: "kv:raed" }))).toBeNull();
  });
});
