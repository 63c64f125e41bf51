/** A caller who is remembered by the server, so that his credential is not checked again, gains nothing by it. */
import { describe, expect, it } from "vitest";
import { basicOf, SECOND, START, signingKey, startIdp } from "../auth/support.ts";
import { hmacToken, IN, OUT, SECRET, startTarget, type Target } from "./support.ts";

const NOW = START / SECOND;
const KEY = "canary-key-0123456789abcdef";
const READER = "reader-key-0123456789abcdef";
const bearer = (credential: string) => `Authorization: Bearer ${credential}`;

const writes = (target: Target, line: string) =>
  target.send("PUT /v1/kv/a", line, "Content-Type: application/json", "Content-Length: 11", "", '{"value":1}');

describe("a token", () => {
  it("is remembered no longer than it lives", async () => {
    const clock = { now: START };
    await using target = await startTarget({ jwt: { secret: SECRET } }, { clock });
    for (const lifetime of [10, 59.5, 120]) {
      clock.now = START;
      const token = hmacToken({}, { exp: NOW + lifetime });
      const at = async (seconds: number) => {
        clock.now = START + seconds * SECOND;
        return target.bearer(token);
      };
      // Times may be off by 5 seconds.
      const answers = [await at(0), await at(lifetime - 0.001), await at(lifetime), await at(lifetime + 4.999)];
      expect(answers).toEqual([IN, IN, IN, IN]);
      expect([await at(lifetime + 5), await at(lifetime + 60)]).toEqual([OUT, OUT]);
    }
  });

  it("of a key that was withdrawn is refused once the set is too old, remembered or not", async () => {
    const clock = { now: START };
    const key = await signingKey("ES256", "ec");
    await using idp = await startIdp(key.jwk);
    await using target = await startTarget({ jwt: { jwks: { url: idp.url, cacheTtl: 30 } } }, { clock });
    const line = `Authorization: ${await key.bearer({ exp: NOW + 3600 })}`;
    const at = async (seconds: number) => {
      clock.now = START + seconds * SECOND;
      return target.both(line);
    };
    expect(await at(0)).toEqual([IN, IN]);
    idp.keys = [];
    expect(await at(29.999)).toEqual([IN, IN]);
    expect(await at(30)).toEqual([OUT, OUT]);
  });
});

describe("another credential is another one:", () => {
  it("one that only resembles it", async () => {
    await using target = await startTarget({ apiKey: { apiKey: KEY }, basic: { username: "ada", password: KEY } });
    const basic = basicOf("ada", KEY);
    const good = [
      [bearer(KEY)],
      [`X-API-Key: ${KEY}`],
      [`Authorization: ${basic}`],
      [bearer("x"), `X-API-Key: ${KEY}`],
    ];
    const bad = [
      ...[[`Authorization: ${KEY}`], [`X-API-Key: Bearer ${KEY}`], [`X-API-Key: ${basic}`], [bearer("x")], []],
      ...[
        [bearer(`${KEY}x`)],
        [bearer(KEY.slice(0, -1))],
        [bearer(KEY.toUpperCase())],
        [`Authorization: Basic ${KEY}`],
      ],
      ...[[`Authorization: ${basic.toLowerCase()}`], [bearer(KEY), bearer(KEY)], [bearer("x"), "X-API-Key: x"]],
      ...[[`Authorization: X-API-Key: ${KEY}`], [`Authorization: \nX-API-Key: ${KEY}x`]],
    ];
    for (let round = 0; round < 2; round++) {
      for (const lines of good) expect(await target.status(...lines), lines.join()).toBe(IN);
      for (const lines of bad) expect([OUT, 400], lines.join()).toContain(await target.status(...lines));
    }
  });

  it("one of the same caller with less", async () => {
    await using target = await startTarget({ jwt: { secret: SECRET } });
    const token = (scope: string) => bearer(hmacToken({}, { sub: "ada", exp: NOW + 60, scope }));
    for (let round = 0; round < 2; round++) {
      expect(await writes(target, token("kv:admin"))).toBe(200);
      expect(await target.status(token("kv:read"))).toBe(IN);
      expect(await writes(target, token("kv:read"))).toBe(403);
    }
  });
});

describe("what the environment says holds at once", () => {
  it("of API keys: removed, put back, and with another scope", async () => {
    const env: Record<string, string> = { KV_API_KEY: KEY, KV_READ_API_KEY: READER };
    await using target = await startTarget({}, { env });
    const may = async () => [await writes(target, bearer(KEY)), await writes(target, bearer(READER))];
    for (let round = 0; round < 2; round++) {
      Object.assign(env, { KV_API_KEY: KEY, KV_READ_API_KEY: READER });
      expect([await may(), await may()]).toEqual(Array(2).fill([200, 403]));
      Object.assign(env, { KV_API_KEY: READER, KV_READ_API_KEY: KEY });
      expect([await may(), await may()]).toEqual(Array(2).fill([403, 200]));
      Object.assign(env, { KV_API_KEY: "another-key-0123456789", KV_READ_API_KEY: READER });
      expect([await may(), await may()]).toEqual(Array(2).fill([OUT, 403]));
    }
  });

  it("of a password and a secret", async () => {
    const env: Record<string, string> = { KV_USERNAME: "ada", KV_PASSWORD: "correct horse", KV_JWT_SECRET: SECRET };
    await using target = await startTarget({}, { env });
    const may = async () => [
      await target.status(`Authorization: ${basicOf("ada", "correct horse")}`),
      await target.bearer(hmacToken()),
    ];
    expect([await may(), await may()]).toEqual(Array(2).fill([IN, IN]));
    env.KV_PASSWORD = "battery staple";
    expect([await may(), await may()]).toEqual(Array(2).fill([OUT, IN]));
    env.KV_JWT_SECRET = "0".repeat(32);
    expect([await may(), await may()]).toEqual(Array(2).fill([OUT, OUT]));
    delete env.KV_JWT_SECRET;
    expect(await may()).toEqual([OUT, OUT]);
  });
});
