import { createPublicKey } from "node:crypto";
import type { RequestListener } from "node:http";
import { gzipSync } from "node:zlib";
import type { JWK } from "jose";
import { beforeAll, describe, expect, it, vi } from "vitest";
import type { JwtOptions } from "../../src/auth/jwt.ts";
import {
  away,
  CLAIMS,
  forgedBearer,
  type Guarded,
  type Idp,
  refusalOf,
  SECOND,
  type SigningKey,
  START,
  secretBearer,
  signingKey,
  startGuarded,
  startIdp,
  startWatched,
} from "./support.ts";

const API_KEY = "key-0123456789abcdef";
const DAY = 86_400 * SECOND;
const COOLDOWN = 30 * SECOND;

let rsa: SigningKey;
let ec: SigningKey;
let ed: SigningKey;
beforeAll(async () => {
  [rsa, ec, ed] = await Promise.all([signingKey("RS256", "rsa"), signingKey("ES256", "ec"), signingKey("EdDSA", "ed")]);
});

const only = (jwt: JwtOptions) => ({ jwt, apiKey: { apiKey: API_KEY }, basic: false }) as const;
/** Claims that hold for years, for tests that move the clock by days. */
const LASTING = { exp: CLAIMS.exp + 400 * 86_400 };

interface Scene extends AsyncDisposable {
  idp: Idp;
  service: Guarded;
  clock: { now: number };
}

/** An identity provider with these keys, a service that trusts it, and the clock that the service goes by. */
async function scene(keys: readonly JWK[], options: { cacheTtl?: number } = {}): Promise<Scene> {
  const clock = { now: START };
  const idp = await startIdp(...keys);
  const service = await startGuarded(only({ jwks: { url: idp.url, ...options } }), { clock });
  return {
    idp,
    service,
    clock,
    async [Symbol.asyncDispose]() {
      await service[Symbol.asyncDispose]();
      await idp[Symbol.asyncDispose]();
    },
  };
}

describe("algorithms", () => {
  it.each([
    ["rsa", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]],
    ["ec", ["ES256"]],
    ["ed", ["EdDSA", "Ed25519"]],
  ] as const)("%s verifies %j and nothing that names another", async (name, algorithms) => {
    const key = { rsa, ec, ed }[name];
    await using given = await scene([rsa.jwk, ec.jwk, ed.jwk]);
    for (const alg of algorithms) expect(await given.service.status(await key.bearer(CLAIMS, { alg })), alg).toBe(200);
    for (const kid of ["rsa", "ec", "ed"].filter((other) => other !== name)) {
      expect(await given.service.status(await key.bearer(CLAIMS, { kid })), kid).toBe(401);
    }
    expect(given.idp.hits).toEqual(["/jwks"]);
  });

  it.each(["ES384", "ES512"])("%s", async (alg) => {
    const key = await signingKey(alg, "curve");
    await using given = await scene([key.jwk, ec.jwk]);
    expect(await given.service.status(await key.bearer())).toBe(200);
    expect(await given.service.status(await key.bearer(CLAIMS, { kid: "ec" }))).toBe(401);
  });

  it("HMAC never: what is published is no secret", async () => {
    await using given = await scene([rsa.jwk, ec.jwk]);
    const pem = createPublicKey({ key: rsa.jwk as never, format: "jwk" });
    const secrets = [
      pem.export({ type: "spki", format: "pem" }),
      pem.export({ type: "spki", format: "der" }),
      pem.export({ type: "pkcs1", format: "pem" }),
      JSON.stringify(rsa.jwk),
      rsa.jwk.n as string,
      Buffer.from(rsa.jwk.n as string, "base64url"),
    ];
    for (const secret of secrets) {
      for (const alg of ["HS256", "HS384", "HS512"]) {
        for (const header of [{ alg, kid: "rsa" }, { alg }]) {
          expect(await given.service.status(await secretBearer(secret, CLAIMS, header))).toBe(401);
        }
      }
    }
    expect(given.idp.hits).toEqual([]);
  });

  it("HMAC never, even with a secret that the provider publishes", async () => {
    const secret = "0".repeat(32);
    const k = Buffer.from(secret).toString("base64url");
    await using given = await scene([{ kty: "oct", k, kid: "oct", alg: "HS256" }, rsa.jwk]);
    expect(await given.service.status(await secretBearer(secret, CLAIMS, { kid: "oct" }))).toBe(401);
    expect(await given.service.status(await rsa.bearer())).toBe(200);
  });

  it("none never, and what is no token does not make the service ask the provider", async () => {
    await using given = await scene([rsa.jwk]);
    for (const alg of ["none", "None", "", "ES256K", "RSA-OAEP", null, 7]) {
      for (const kid of ["rsa", undefined]) expect(await given.service.status(forgedBearer({ alg, kid }))).toBe(401);
    }
    for (const bearer of ["Bearer a.b.c", "Bearer eyJ.eyJ.x", `Bearer ${API_KEY}x`]) {
      expect(await given.service.status(bearer)).toBe(401);
    }
    expect(await given.service.status(`Bearer ${API_KEY}`)).toBe(200);
    expect(given.idp.hits).toEqual([]);
  });
});

describe("which key", () => {
  it("a signature by another key is refused, and no reason to ask again", async () => {
    const stranger = await signingKey("RS256", "rsa");
    await using given = await scene([rsa.jwk]);
    expect(await given.service.status(await rsa.bearer())).toBe(200);
    given.clock.now += COOLDOWN;
    expect(await given.service.status(await stranger.bearer())).toBe(401);
    const [head, , signature] = (await rsa.bearer()).split(".");
    const [, body] = (await rsa.bearer({ ...CLAIMS, sub: "eve" })).split(".");
    expect(await given.service.status(`${head}.${body}.${signature}`)).toBe(401);
    expect(given.idp.hits).toHaveLength(1);
  });

  it("is never the token's to say: jwk, jku, x5u and x5c are ignored", async () => {
    const stranger = await signingKey("RS256", "rsa");
    await using theirs = await startIdp(stranger.jwk);
    await using given = await scene([rsa.jwk]);
    for (const header of [
      { jwk: stranger.jwk },
      { jku: theirs.url },
      { x5u: theirs.url },
      { x5c: ["MIIB"], x5t: "AAAA" },
      { jwk: stranger.jwk, jku: theirs.url, x5u: theirs.url, kid: "other" },
      { jwk: stranger.jwk, kid: theirs.url },
    ]) {
      expect(await given.service.status(await stranger.bearer(CLAIMS, header)), JSON.stringify(header)).toBe(401);
      expect(await given.service.status(await rsa.bearer(CLAIMS, { ...header, kid: "rsa" }))).toBe(200);
    }
    expect(theirs.hits).toEqual([]);
  });

  it.each([
    ["use", "enc"],
    ["alg", "RS512"],
    ["key_ops", ["encrypt"]],
    ["kty", "EC"],
    ["kid", undefined],
  ])("one with %s %j does not verify RS256 by this name", async (member, value) => {
    await using given = await scene([{ ...rsa.jwk, [member]: value }, ec.jwk]);
    expect(await given.service.status(await rsa.bearer())).toBe(401);
    expect(await given.service.status(await ec.bearer())).toBe(200);
  });

  it.each([
    ["use", "sig"],
    ["alg", "RS256"],
    ["key_ops", ["verify"]],
  ])("one with %s %j does", async (member, value) => {
    await using given = await scene([{ ...rsa.jwk, [member]: value }]);
    expect(await given.service.status(await rsa.bearer())).toBe(200);
  });

  it("members of the set that are no keys cost the others nothing", async () => {
    const broken = [null, 1, "key", [], {}, { kty: "RSA", kid: "rsa" }, { kty: "RSA", kid: "rsa", n: "!", e: "AQAB" }];
    await using given = await scene([...(broken as JWK[]), rsa.jwk]);
    expect(await given.service.status(await rsa.bearer())).toBe(200);
  });
});

describe("a token that names no key", () => {
  const TRIED = 8;
  let keys: SigningKey[];
  beforeAll(async () => {
    keys = await Promise.all(Array.from({ length: TRIED + 1 }, () => signingKey("ES256")));
  });
  const published = (...list: SigningKey[]) => list.map(({ jwk }, index) => ({ ...jwk, kid: `${index}` }));

  it("is verified by the only key of its kind", async () => {
    const [key] = keys as [SigningKey];
    await using given = await scene([rsa.jwk, ...published(key), ed.jwk]);
    expect(await given.service.status(await key.bearer())).toBe(200);
  });

  it("is tried with each of several, up to a bound", async () => {
    await using given = await scene([rsa.jwk, ...published(...keys), ed.jwk]);
    const answers = await Promise.all(keys.map(async (key) => given.service.status(await key.bearer())));
    expect(answers).toEqual([...Array(TRIED).fill(200), 401]);
    expect(await given.service.status(await (await signingKey("ES256")).bearer())).toBe(401);
    // One that is named is found wherever it stands.
    expect(await given.service.status(await (keys.at(-1) as SigningKey).bearer(CLAIMS, { kid: `${TRIED}` }))).toBe(200);
    expect(given.idp.hits).toHaveLength(1);
  });

  it.each([{ use: "enc" }, { alg: "ES384" }])("is not tried with those that have %j", async (member) => {
    const list = published(...keys).map((jwk, index) => (index < TRIED ? { ...jwk, ...member } : jwk));
    await using given = await scene(list);
    expect(await given.service.status(await (keys.at(-1) as SigningKey).bearer())).toBe(200);
    expect(await given.service.status(await (keys[0] as SigningKey).bearer())).toBe(401);
  });

  it("is held to its claims whichever key verifies it", async () => {
    await using given = await scene(published(...keys.slice(0, 3)));
    for (const key of keys.slice(0, 3)) {
      expect(await given.service.status(await key.bearer({ exp: START / SECOND - 60 }))).toBe(401);
      expect(await given.service.status(await key.bearer({ sub: "ada" }))).toBe(401);
    }
  });

  it("one that names a key is tried with that alone", async () => {
    const [first, second] = keys as [SigningKey, SigningKey];
    await using given = await scene(published(first, second));
    expect(await given.service.status(await second.bearer(CLAIMS, { kid: "0" }))).toBe(401);
    expect(await given.service.status(await second.bearer(CLAIMS, { kid: "1" }))).toBe(200);
  });
});

describe("fetching", () => {
  it("waits for the first token, and many at once make one request", async () => {
    await using given = await scene([rsa.jwk]);
    expect(given.idp.hits).toEqual([]);
    const bearer = await rsa.bearer();
    const answers = await Promise.all(Array.from({ length: 50 }, () => given.service.status(bearer)));
    expect(answers).toEqual(Array(50).fill(200));
    expect(given.idp.hits).toEqual(["/jwks"]);
    given.clock.now += DAY;
    const lasting = await rsa.bearer(LASTING);
    await Promise.all(Array.from({ length: 50 }, () => given.service.status(lasting)));
    expect(given.idp.hits).toHaveLength(2);
  });

  it.each([
    [undefined, 86_400],
    [600, 600],
    [5, 5],
    [0.5, 0.5],
  ])("with a cacheTtl of %s once in %d s", async (cacheTtl, seconds) => {
    await using given = await scene([rsa.jwk, ec.jwk], cacheTtl === undefined ? {} : { cacheTtl });
    const bearer = await rsa.bearer(LASTING);
    const at = async (ms: number) => {
      given.clock.now = START + ms;
      return [await given.service.status(bearer), given.idp.hits.length];
    };
    expect(await at(0)).toEqual([200, 1]);
    given.idp.keys = [ec.jwk];
    expect(await at(seconds * SECOND - 1)).toEqual([200, 1]);
    // The provider has withdrawn the key.
    expect(await at(seconds * SECOND)).toEqual([401, 2]);
  });

  it("is made again once for a key that is not in the set, then not until it has cooled down", async () => {
    await using given = await scene([rsa.jwk]);
    const { service, idp, clock } = given;
    const unknown = () => rsa.bearer(LASTING, { kid: crypto.randomUUID() });
    const hits: number[] = [];
    const ask = async (later: number) => {
      clock.now += later;
      const answers = await Promise.all([1, 2, 3, 4, 5].map(async () => service.status(await unknown())));
      expect(answers).toEqual(Array(5).fill(401));
      hits.push(idp.hits.length);
    };
    expect(await service.status(await rsa.bearer())).toBe(200);
    for (const later of [0, COOLDOWN - 1, 1, 0, COOLDOWN - 1, 1]) await ask(later);
    expect(hits).toEqual([1, 1, 2, 2, 2, 3]);
    expect(await service.status(await rsa.bearer())).toBe(200);
  });

  it("follows a rotation of keys", async () => {
    const next = await signingKey("RS256", "next");
    await using given = await scene([rsa.jwk]);
    const { service, idp, clock } = given;
    expect(await service.status(await rsa.bearer(LASTING))).toBe(200);
    idp.keys = [next.jwk, rsa.jwk];
    clock.now += COOLDOWN;
    expect(await service.status(await next.bearer(LASTING))).toBe(200);
    expect(await service.status(await rsa.bearer(LASTING))).toBe(200);
    idp.keys = [next.jwk];
    clock.now += DAY;
    expect(await service.status(await rsa.bearer(LASTING))).toBe(401);
    expect(await service.status(await next.bearer(LASTING))).toBe(200);
    expect(idp.hits).toHaveLength(3);
  });
});

describe("a provider that is away", () => {
  it("is served for by the old keys, asked again once it has cooled down", async () => {
    await using given = await scene([rsa.jwk], { cacheTtl: 600 });
    const { service, idp, clock } = given;
    const bearer = await rsa.bearer(LASTING);
    const at = async (ms: number) => {
      clock.now = START + ms;
      const answers = await Promise.all([1, 2, 3].map(() => service.status(bearer)));
      return [...new Set(answers), idp.hits.length];
    };
    expect(await at(0)).toEqual([200, 1]);
    idp.answer = away;
    expect(await at(600 * SECOND)).toEqual([200, 2]);
    expect(await at(629 * SECOND)).toEqual([200, 2]);
    expect(await at(630 * SECOND)).toEqual([200, 3]);
    expect(await at(300 * DAY)).toEqual([200, 4]);
    expect(service.warnings).toEqual(
      Array(3).fill(expect.stringMatching(/JWTs cannot be fetched, the old ones serve on/)),
    );
    idp.answer = null;
    idp.keys = [];
    expect(await at(301 * DAY)).toEqual([401, 5]);
  });

  it("from the start is 503 for who sends a JWT, and for nobody else", async () => {
    await using given = await scene([rsa.jwk]);
    const { service, idp, clock } = given;
    idp.answer = away;
    const Authorization = await rsa.bearer(LASTING);
    const answers = await Promise.all([1, 2, 3].map(() => service.get({ Authorization })));
    for (const answer of answers) {
      expect(answer).toMatchObject({ status: 503, json: { status: 503, success: false, error: "unavailable" } });
      expect(answer.headers.get("Retry-After")).not.toBeNull();
      expect(answer.text).not.toContain(new URL(idp.url).host);
    }
    expect(idp.hits).toHaveLength(1);
    expect(service.warnings).toEqual([expect.stringMatching(/JWTs cannot be fetched, there are none yet/)]);
    expect(await service.status(`Bearer ${API_KEY}`)).toBe(200);
    expect(await service.status("Bearer a.b.c")).toBe(401);
    expect((await service.get({})).status).toBe(401);
    idp.answer = null;
    clock.now += COOLDOWN - 1;
    expect(await service.status(Authorization)).toBe(503);
    clock.now += 1;
    expect(await service.status(Authorization)).toBe(200);
    expect(idp.hits).toHaveLength(2);
  });

  it("as nobody listens is 503 as well", async () => {
    const idp = await startIdp();
    await idp[Symbol.asyncDispose]();
    await using service = await startGuarded(only({ jwks: { url: idp.url } }));
    expect(await service.status(await rsa.bearer())).toBe(503);
  });

  it("or that does not answer is given up after 5 s", async () => {
    await using given = await scene([rsa.jwk]);
    const asked = Promise.withResolvers<void>();
    given.idp.answer = () => asked.resolve();
    // The platform's clock for this cannot be injected: it is asked for the time, and run out by hand.
    const timer = new AbortController();
    const timeout = vi.spyOn(AbortSignal, "timeout").mockReturnValue(timer.signal);
    try {
      const status = given.service.status(await rsa.bearer());
      await asked.promise;
      expect(timeout.mock.calls).toEqual([[5000]]);
      timer.abort(new DOMException("The operation timed out", "TimeoutError"));
      expect(await status).toBe(503);
    } finally {
      timeout.mockRestore();
    }
  });
});

describe("a provider that answers something else", () => {
  const text =
    (body: string | Uint8Array, status = 200, headers = {}): RequestListener =>
    (_request, response) =>
      void response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(body);
  const set = () => JSON.stringify({ keys: [rsa.jwk] });
  const padded = () => JSON.stringify({ keys: [rsa.jwk], padding: "x".repeat(10_000_000) });

  const cases: [string, () => RequestListener, RegExp][] = [
    ["an error", () => text(set(), 500), /answered 500/],
    ["404", () => text(set(), 404), /answered 404/],
    ["nothing", () => text("", 204), /JSON/],
    ["garbage", () => text("\u0000\u0001garbage"), /JSON/],
    ["HTML", () => text("<!doctype html>", 200, { "Content-Type": "text/html" }), /JSON/],
    ["half a set", () => text(set().slice(0, -2)), /JSON/],
    ["null", () => text("null"), /no set of keys/],
    ["a list", () => text(JSON.stringify([rsa.jwk])), /no set of keys/],
    ["keys that are no list", () => text(JSON.stringify({ keys: { 0: rsa.jwk, length: 1 } })), /no set of keys/],
    ["10 MB", () => text(padded()), /more than 1048576 bytes/],
    ["10 MB in a few", () => text(gzipSync(padded()), 200, { "Content-Encoding": "gzip" }), /more than 1048576 bytes/],
    ["a redirect", () => text(set(), 302, { Location: "/elsewhere" }), /answered 302/],
    ["a lasting redirect", () => text(set(), 308, { Location: "/elsewhere" }), /answered 308/],
  ];

  it.each(cases)("%s", async (_, answer, warning) => {
    await using given = await scene([rsa.jwk]);
    const { service, idp, clock } = given;
    const Authorization = await rsa.bearer(LASTING);
    idp.answer = answer();
    expect(await service.get({ Authorization })).toMatchObject({ status: 503, json: { error: "unavailable" } });
    expect(service.warnings).toEqual([expect.stringMatching(warning)]);
    expect(idp.hits).toEqual(["/jwks"]);
    // Where there are keys already, it changes nothing.
    idp.answer = null;
    clock.now += COOLDOWN;
    expect(await service.status(Authorization)).toBe(200);
    idp.answer = answer();
    clock.now += DAY;
    expect(await service.status(Authorization)).toBe(200);
    expect(idp.hits).toEqual(["/jwks", "/jwks", "/jwks"]);
  });

  it("without end is not read to its end", async () => {
    await using given = await scene([rsa.jwk]);
    let sent = 0;
    given.idp.answer = (_request, response) => {
      const piece = " ".repeat(65_536);
      const more = () => {
        while (!response.closed && response.write(piece)) sent += piece.length;
      };
      response.on("drain", more);
      more();
    };
    expect(await given.service.status(await rsa.bearer())).toBe(503);
    expect(sent).toBeLessThan(50_000_000);
  });

  it("a set of just under the limit is a set", async () => {
    await using given = await scene([rsa.jwk]);
    given.idp.answer = text(set().padEnd(1_048_576, " "));
    expect(await given.service.status(await rsa.bearer())).toBe(200);
  });
});

describe("the URL", () => {
  it.each([
    "http://idp.example/jwks",
    "http://canary:canary@idp.example/jwks",
    "https://canary:canary@idp.example/jwks",
    "https://canary@idp.example/jwks",
    "https://:canary@idp.example/jwks",
    "http://127.0.0.1.idp.example/canary",
    "http://localhost.idp.example/canary",
    "http://127.0.0.1@idp.example/canary",
    "http://10.0.0.1/canary",
    "http://0.0.0.0/canary",
    "http://169.254.169.254/canary",
    "http://[::ffff:10.0.0.1]/canary",
    "ftp://idp.example/canary",
    "file:///canary",
    "data:application/json,canary",
    "idp.example/canary",
    "/canary",
    "canary",
  ])("%s is refused by name, and never quoted", async (url) => {
    const cases: [JwtOptions, Record<string, string>, string][] = [
      [{ jwks: { url } }, {}, "auth.jwt.jwks.url"],
      [{}, { KV_JWKS_URL: url }, "KV_JWKS_URL"],
      [{ env: { jwksUrl: "MINE" } }, { MINE: url, KV_JWKS_URL: "https://idp.example" }, "MINE"],
    ];
    for (const [options, env, name] of cases) {
      const refusal = await refusalOf(startGuarded(only(options), { env }));
      expect(refusal).toBeInstanceOf(TypeError);
      expect(refusal?.message.startsWith(`${name}: expected an https URL`), refusal?.message).toBe(true);
      expect(refusal?.message).not.toMatch(/canary|idp\.example|10\.0\.0\.1/);
    }
  });

  it.each([
    "https://idp.example/jwks?tenant=1",
    "HTTPS://IDP.EXAMPLE",
    "http://localhost:8080/jwks",
    "http://127.1.2.3/jwks",
    "http://127.1/jwks",
    "http://[::1]:8080/jwks",
  ])("%s is taken, and nothing is fetched at the start", async (url) => {
    const fetched = vi.spyOn(globalThis, "fetch");
    try {
      await using service = await startGuarded(only({ jwks: { url } }));
      expect(service.warnings).toEqual([]);
      expect(fetched).not.toHaveBeenCalled();
    } finally {
      fetched.mockRestore();
    }
  });

  it("comes from KV_JWKS_URL, with a cacheTtl from the options, and code wins", async () => {
    await using mine = await startIdp(rsa.jwk);
    await using other = await startIdp(ec.jwk);
    const env = { KV_JWKS_URL: mine.url };
    const clock = { now: START };
    await using service = await startWatched(only({ jwks: { cacheTtl: 60 } }), { env, clock });
    expect(await service.status(await rsa.bearer(LASTING))).toBe(200);
    expect(service.callers).toEqual([{ id: "jwt", strategy: "jwt", scope: "admin", claims: LASTING }]);
    clock.now += 60 * SECOND;
    expect(await service.status(await rsa.bearer(LASTING))).toBe(200);
    expect(mine.hits).toHaveLength(2);
    await using coded = await startGuarded(only({ jwks: { url: other.url } }), { env });
    expect(await coded.status(await ec.bearer())).toBe(200);
    expect(await coded.status(await rsa.bearer())).toBe(401);
    expect(mine.hits).toHaveLength(2);
  });
});
