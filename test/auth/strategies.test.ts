/** The parts that the strategies are made of, called directly: what HTTP would refuse or never let through. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { apiKey } from "../../src/auth/api-key.ts";
import { type CustomPrincipal, checkAuthOptions, createAuthenticator } from "../../src/auth/authenticate.ts";
import { authorizationOf, credentialsOf } from "../../src/auth/authorization.ts";
import { basic } from "../../src/auth/basic.ts";
import { digestOf, isSameDigest } from "../../src/auth/digest.ts";
import { includesScope, type Principal, SCOPES } from "../../src/auth/principal.ts";
import { ask, principalOf, setting, type Verdict, warnShort } from "../../src/auth/strategy.ts";

afterEach(() => void vi.useRealTimers());

function contextOf(env: Record<string, unknown> = {}) {
  const warnings: string[] = [];
  return { env, warn: (line: string) => void warnings.push(line), now: () => 0, warnings };
}

/** A request with these fields, as far as a platform may hand them over: it is asked for nothing else. */
const requestOf = (fields: Record<string, string>) =>
  ({ headers: { get: (name: string) => fields[name] ?? null } }) as unknown as Request;
const basicOf = (pair: string) => requestOf({ Authorization: `Basic ${Buffer.from(pair).toString("base64")}` });

describe("the Authorization field", () => {
  const parsed = (Authorization: string) => authorizationOf(requestOf({ Authorization }));

  it("is one scheme and one credential, the scheme in lower case", () => {
    expect(parsed("BeArEr abc.DEF-_~+/=")).toEqual({ scheme: "bearer", credentials: "abc.DEF-_~+/=" });
    expect(parsed("X!#$%&'*+.^_`|~-1   a")).toEqual({ scheme: "x!#$%&'*+.^_`|~-1", credentials: "a" });
    expect(authorizationOf(requestOf({}))).toBeNull();
    expect(parsed("")).toBeNull();
  });

  it.each([
    "Bearer",
    "Bearer ",
    " Bearer a",
    "Bearer a b",
    "Bearer a,b",
    "Bearer a ",
    "Bearer\ta",
    "(a) b",
    "Bearer é",
  ])("%j is there and holds none", (field) => {
    expect(parsed(field)).toEqual({ scheme: "", credentials: "" });
  });

  it("has a credential for its own scheme only", () => {
    expect(credentialsOf(requestOf({ Authorization: "bearer a" }), "bearer")).toBe("a");
    expect(credentialsOf(requestOf({ Authorization: "bearer a" }), "basic")).toBeNull();
    expect(credentialsOf(requestOf({ Authorization: "nonsense" }), "bearer")).toBeNull();
    expect(credentialsOf(requestOf({}), "bearer")).toBeNull();
  });
});

describe("digests", () => {
  it("are the same where every byte is", async () => {
    const digest = await digestOf("a");
    expect(digest).toHaveLength(32);
    expect(isSameDigest(digest, await digestOf("a"))).toBe(true);
    expect(isSameDigest(digest, await digestOf("b"))).toBe(false);
    for (const at of [0, 15, 31]) {
      const other = Uint8Array.from(digest);
      other[at] = (other[at] as number) ^ 1;
      expect(isSameDigest(digest, other)).toBe(false);
    }
    expect(isSameDigest(digest, digest.subarray(0, 31))).toBe(false);
    expect(isSameDigest(digest.subarray(0, 31), digest)).toBe(false);
    expect(isSameDigest(Uint8Array.of(1, 0), Uint8Array.of(1))).toBe(false);
  });
});

it("each scope includes those before it", () => {
  expect(SCOPES.map((scope) => SCOPES.map((needed) => includesScope(scope, needed)))).toEqual([
    [true, false, false],
    [true, true, false],
    [true, true, true],
  ]);
});

describe("API keys", () => {
  const KEY = "key-one-0123456789abcdef";
  const verify = async (fields: Record<string, string>, env: Record<string, string>) =>
    (await apiKey({}, contextOf(env))?.verify(requestOf(fields), {}))?.scope ?? null;

  it("stand one on a line, the shortest of one character", async () => {
    for (const key of ["a", "bc", KEY]) {
      expect(await verify({ "X-API-Key": key }, { KV_API_KEY: `a\n bc \r\n\n${KEY}` })).toBe("admin");
    }
    expect(await verify({ "X-API-Key": "c" }, { KV_API_KEY: "a\nbc" })).toBeNull();
  });

  it("beside an Authorization that cannot be read are not looked at", async () => {
    expect(await verify({ "X-API-Key": KEY, Authorization: "Bearer a b" }, { KV_API_KEY: KEY })).toBeNull();
    expect(await verify({ "X-API-Key": KEY, Authorization: "Bearer a" }, { KV_API_KEY: KEY })).toBe("admin");
  });
});

describe("Basic", () => {
  const strategy = (options = {}, context = contextOf({ KV_USERNAME: "ann", KV_PASSWORD: "correct horse" })) => {
    const made = basic(options, context);
    if (made === null) throw new Error("It is not configured");
    return made;
  };

  it("lets in the name and password as they are, and nothing that has them within", async () => {
    expect(await strategy().verify(basicOf("ann:correct horse"), {})).toMatchObject({ id: "ann", scope: "admin" });
    for (const pair of [
      ...["\u0000ann:correct horse", "x\u0001ann:correct horse", "ann:correct horse\u0000", "ann:correct horse\nx"],
      ...["ann\u007f:correct horse", ":ann:correct horse", "ann", "", ":", "ann:"],
    ]) {
      expect([pair, await strategy().verify(basicOf(pair), {})]).toEqual([pair, null]);
    }
    const { verify } = strategy();
    for (const field of ["Basic *", "Basic /w==", "Bearer a"]) {
      expect(await verify(requestOf({ Authorization: field }), {})).toBeNull();
    }
    expect(await verify(requestOf({}), {})).toBeNull();
  });

  it("asks before and after whether the name was tried too often, and tells what failed", async () => {
    const calls: string[] = [];
    const attempts = {
      check: (name: string) => void calls.push(`check ${name}`),
      failed: (name: string) => void calls.push(`failed ${name}`),
    };
    const { verify } = strategy();
    await verify(basicOf("ann:wrong"), {}, attempts);
    expect(calls.splice(0)).toEqual(["check ann", "check ann", "failed ann"]);
    await verify(basicOf("ann:correct horse"), {}, attempts);
    expect(calls.splice(0)).toEqual(["check ann", "check ann"]);
    await verify(requestOf({}), {}, attempts);
    expect(calls).toEqual([]);
  });

  it("of a name that is tried too often looks at nothing", async () => {
    const refusal = new Error("Too often");
    const verifyCredentials = vi.fn(() => true);
    const attempts = {
      check() {
        throw refusal;
      },
      failed() {},
    };
    await expect(strategy({ verifyCredentials }).verify(basicOf("ann:x"), {}, attempts)).rejects.toBe(refusal);
    expect(verifyCredentials).not.toHaveBeenCalled();
  });
});

describe("the options of auth", () => {
  it.each([
    [{ apiKey: { apiKey: "a b" } }, /^auth\.apiKey\.apiKey: expected a key of visible ASCII/],
    [{ jwt: { secret: "short" } }, /^auth\.jwt\.secret: expected a secret of at least 32 bytes, got 5/],
    [{ jwt: { jwks: { url: "http://idp.example/" } } }, /^auth\.jwt\.jwks\.url: expected an https URL/],
  ])("%j fail at construction", (options, message) => {
    expect(() => checkAuthOptions(options)).toThrow(message);
  });

  it("that are right, or switch a strategy off, do not", () => {
    checkAuthOptions({});
    checkAuthOptions({ apiKey: false, basic: false, jwt: false });
    checkAuthOptions({ apiKey: { apiKey: "a".repeat(20) }, jwt: { secret: "a".repeat(32) } });
  });

  it("make one challenge of all that is on, and Bearer where nothing is", () => {
    const all = {
      KV_API_KEY: "a".repeat(20),
      KV_USERNAME: "ann",
      KV_PASSWORD: "correct horse",
      KV_JWT_SECRET: "a".repeat(32),
    };
    const { challenge, strategies } = createAuthenticator({}, contextOf(all));
    expect(challenge).toBe('Bearer realm="kv", Basic realm="kv", charset="UTF-8"');
    expect(strategies).toEqual(["api-key", "basic", "jwt"]);
    expect(createAuthenticator({}, contextOf()).challenge).toBe("Bearer");
  });
});

it("authenticateRequest is custom and admin, unless it says otherwise", async () => {
  const answer = vi.fn((): CustomPrincipal | null => ({ id: "ann" }));
  const { authenticate, strategies } = createAuthenticator({ authenticateRequest: answer }, contextOf());
  const request = requestOf({});
  expect(strategies).toEqual(["custom"]);
  expect(await authenticate(request, {})).toEqual({ id: "ann", strategy: "custom", scope: "admin" });
  answer.mockReturnValueOnce({ id: "bob", strategy: "basic", scope: "read" });
  expect(await authenticate(request, {})).toEqual({ id: "bob", strategy: "basic", scope: "read" });
  answer.mockReturnValueOnce(null);
  expect(await authenticate(request, {})).toBeNull();
});

describe("a setting", () => {
  it("comes from its option where that is given, else from its variable, and says which", () => {
    const context = contextOf({ NAME: "variable" });
    expect(setting(context, "option", "auth.x", "NAME")).toEqual({ source: "auth.x", value: "option" });
    expect(setting(context, undefined, "auth.x", "NAME")).toEqual({ source: "NAME", value: "variable" });
    expect(setting(context, " ", "auth.x", "NAME")).toEqual({ source: "auth.x", value: undefined });
    expect(context.warnings).toEqual(["auth.x is set but empty, which counts as not set"]);
  });

  it("that is short is warned about, one of the length that is asked for is not", () => {
    const { warn, warnings } = contextOf();
    for (const secret of [undefined, "", "12345678"]) warnShort(secret, "NAME", 8, warn);
    expect(warnings).toEqual([]);
    warnShort("1234567", "NAME", 8, warn);
    warnShort("1234567", "NAME", 8);
    expect(warnings).toEqual([expect.stringMatching(/^NAME: expected a secret of at least 8 characters/)]);
  });
});

describe("a callback", () => {
  it("answers, or refuses where it throws what is no error too", async () => {
    const { warn, warnings } = contextOf();
    expect(await ask("auth.x", warn, (a: number, b: number) => a + b, 1, 2)).toBe(3);
    const thrown = () => {
      throw "gone";
    };
    expect(await ask("auth.x", warn, thrown)).toBeNull();
    expect(await ask("auth.x", warn, () => Promise.reject(new Error("away")))).toBeNull();
    expect(warnings).toEqual([
      "auth.x failed, so the request was refused: gone",
      "auth.x failed, so the request was refused: away",
    ]);
  });

  it("has 5 s", async () => {
    vi.useFakeTimers();
    const { warn, warnings } = contextOf();
    const answer = ask("auth.x", warn, () => new Promise(() => {}));
    await vi.advanceTimersByTimeAsync(4999);
    expect(warnings).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(await answer).toBeNull();
    expect(warnings).toEqual([expect.stringMatching(/no answer in 5000 ms$/)]);
  });

  it("says whom it lets in, and an object that says nothing lets in nobody", () => {
    const ann: Principal = { id: "ann", strategy: "basic", scope: "admin" };
    const cases: [Verdict | null, Principal | null][] = [
      [true, ann],
      [false, null],
      [null, null],
      [{}, null],
      [{ id: undefined, scope: undefined }, null],
      [{ id: "bob" }, { ...ann, id: "bob" }],
      [{ scope: "read" }, { ...ann, scope: "read" }],
      [
        { id: "bob", scope: "write" },
        { ...ann, id: "bob", scope: "write" },
      ],
      ["yes" as never, null],
      [1 as never, null],
    ];
    for (const [verdict, expected] of cases) expect(principalOf(verdict, ann)).toEqual(expected);
  });
});
