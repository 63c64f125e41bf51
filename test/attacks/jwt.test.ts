/** The published attacks on JWTs against a fixed secret, by the server itself and by the app. */
import { createHmac } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { CLAIMS, SECOND, START } from "../auth/support.ts";
import { each, hmacToken, IN, OUT, part, SECRET, startTarget, type Target, verdicts } from "./support.ts";

const NOW = START / SECOND;
const EXP = CLAIMS.exp;

let target: Target;
beforeAll(async () => {
  target = await startTarget({ jwt: { secret: SECRET }, apiKey: false, basic: false });
});
afterAll(() => target[Symbol.asyncDispose]());

/** Tokens by what their header or their claims are, given as texts or as objects. */
const byHeader = (...headers: (object | string)[]) =>
  Object.fromEntries(headers.map((header) => [JSON.stringify(header), hmacToken(header)]));
const byClaims = (...claims: (object | string)[]) =>
  Object.fromEntries(claims.map((given) => [JSON.stringify(given), hmacToken({}, given)]));

const expectAll = async (tokens: Record<string, string>, verdict: number) =>
  expect(await verdicts(target, tokens)).toEqual(each(tokens, verdict));

it("an honest token is let in", async () => {
  expect(await target.bearer(hmacToken())).toBe(IN);
});

describe("the algorithm", () => {
  const names = [
    "none",
    "None",
    "NONE",
    "nOnE",
    "none ",
    " none",
    "none\0",
    "ｎｏｎｅ",
    "",
    null,
    [],
    ["HS256"],
    {},
    0,
    true,
  ];

  it("none is no signature, however it is spelled and signed", async () => {
    for (const alg of [...names, undefined]) {
      const input = `${part({ alg })}.${part(CLAIMS)}`;
      const signed = createHmac("sha256", SECRET).update(input).digest("base64url");
      for (const signature of ["", "A", "AA", "none", signed]) {
        expect(await target.bearer(`${input}.${signature}`), `${JSON.stringify(alg)} ${signature}`).toBe(OUT);
      }
    }
  });

  it("is none that another key verifies, that is unknown or that is written otherwise", async () => {
    const others = ["hs256", "HS256 ", "HS1", "HS224", "HS256/64", "RS256", "PS256", "ES256", "ES256K", "EdDSA", "dir"];
    await expectAll(byHeader(...others.map((alg) => ({ alg }))), OUT);
  });

  it("PBES2 derives no key, whatever count it asks for", async () => {
    const derive = vi.spyOn(crypto.subtle, "deriveBits");
    const header = { alg: "PBES2-HS512+A256KW", enc: "A256GCM", p2c: 2 ** 31 - 1, p2s: part("salt") };
    const compact = `${part(header)}.${part("key")}.${part("iv")}.${part("text")}.${part("tag")}`;
    await expectAll({ JWE: compact, JWS: hmacToken(header) }, OUT);
    expect(derive).not.toHaveBeenCalled();
    derive.mockRestore();
  });

  it.each(["HS384", "HS512"])("%s is held to its own digest", async (alg) => {
    await expectAll(byHeader({ alg }), OUT);
  });
});

describe("the header", () => {
  it("does not bring its own key", async () => {
    const k = part("0".repeat(32));
    const own = (header: object) => hmacToken(header, CLAIMS, "0".repeat(32));
    const tokens = {
      jwk: own({ jwk: { kty: "oct", k } }),
      jku: own({ jku: "https://attacker.example/jwks" }),
      x5u: own({ x5u: "https://attacker.example/cert" }),
      x5c: own({ x5c: [k] }),
      empty: hmacToken({}, CLAIMS, ""),
      zeros: hmacToken({}, CLAIMS, new Uint8Array(32)),
    };
    const kids = ["../../../dev/null", "/dev/null", "' UNION SELECT '0'--", "a\0b", "__proto__", "constructor", ""];
    const named = kids.flatMap((kid) => [hmacToken({ kid }, CLAIMS, ""), hmacToken({ kid }, CLAIMS, "0".repeat(32))]);
    await expectAll({ ...tokens, ...Object.fromEntries(named.map((token) => [token, token])) }, OUT);
  });

  it("that says the token is something else gives no access", async () => {
    const types = ["logout+jwt", "secevent+jwt", "dpop+jwt", "oauth-authz-req+jwt", "entity-statement+jwt", "JWE"];
    const odd = ["JWT ", "at+jwt;v=1", "application/", "text/jwt", "", 7, {}];
    await expectAll(byHeader(...[...types, ...odd].map((typ) => ({ typ }))), OUT);
    const good = ["JWT", "jwt", "JOSE", "at+jwt", "AT+JWT", "application/at+jwt", "application/jwt"];
    await expectAll(byHeader(...good.map((typ) => ({ typ }))), IN);
  });

  it("with extensions that must be understood and are not is refused", async () => {
    const crits = [["exp"], [], "exp", ["b64"], ["b64", "b64"], [""], ["alg"], [1], {}, null];
    await expectAll(byHeader(...crits.map((crit) => ({ crit, exp: 1 }))), OUT);
    await expectAll(byHeader({ b64: false, crit: ["b64"] }, { b64: "", crit: ["b64"] }), OUT);
    // The payload as it is, which RFC 7797 allows a JWS and not a JWT.
    for (const payload of ["0", "null", "true", `${EXP}`]) {
      const input = `${part({ alg: "HS256", b64: false, crit: ["b64"] })}.${payload}`;
      const signature = createHmac("sha256", SECRET).update(input).digest("base64url");
      expect(await target.bearer(`${input}.${signature}`), payload).toBe(OUT);
    }
  });

  it("with a member twice means the last (RFC 7515, section 4)", async () => {
    await expectAll(byHeader('{"alg":"HS256","alg":"none"}', '{"alg":"HS256","\\u0061lg":"RS256"}'), OUT);
    await expectAll(byHeader('{"alg":"none","alg":"HS256"}'), IN);
  });

  it("that is no object is refused", async () => {
    const texts = ["", "null", "[]", '"HS256"', "1", "{", '{"alg":"HS256"', '{"alg":"HS256"}}', "\0", "[".repeat(3000)];
    await expectAll(byHeader(...texts, '{"__proto__":{"alg":"HS256"}}', '{"constructor":{"alg":"HS256"}}'), OUT);
  });
});

describe("the form", () => {
  it("of anything but three parts is none: JWE, JSON, nested", async () => {
    const [head, body, signature] = hmacToken().split(".") as [string, string, string];
    const json = { payload: body, protected: head, signature };
    await expectAll(
      {
        JWE: `${part({ alg: "dir", enc: "A256GCM" })}..${part("iv")}.${body}.${signature}`,
        "five parts": `${head}.${body}.${signature}.${body}.${signature}`,
        "two parts": `${head}.${body}`,
        "flattened JSON": part(json),
        "general JSON": part({ payload: body, signatures: [{ protected: head, signature }] }),
        nested: hmacToken({ cty: "JWT" }, hmacToken()),
        "nested, quoted": hmacToken({ cty: "JWT" }, JSON.stringify(hmacToken())),
        "SD-JWT": `${head}.${body}.${signature}~`,
      },
      OUT,
    );
  });

  it("of base64url is kept to: no padding, no blanks, no other alphabet", async () => {
    const token = hmacToken({ n: 1 }, { ...CLAIMS, text: "??>>~~" });
    const [head, body, signature] = token.split(".") as [string, string, string];
    expect(token).toMatch(/[-_]/);
    await expectAll(
      {
        "padded signature": `${token}=`,
        "padded header": `${head}=.${body}.${signature}`,
        "standard alphabet": token.replaceAll("-", "+").replaceAll("_", "/"),
        "percent-encoded": token.replaceAll(".", "%2E"),
        "a blank": `${head}. ${body}.${signature}`,
        "a tab": `${head}.\t${body}.${signature}`,
        "a NBSP": `${token}\u00a0`,
        "a quote": `"${token}"`,
        "another dot": `${head}\u00b7${body}\u00b7${signature}`,
      },
      OUT,
    );
  });

  it("of a signature is whole, and its bits are those that were signed", async () => {
    const [head, body, signature] = hmacToken().split(".") as [string, string, string];
    const bytes = Buffer.from(signature, "base64url");
    const signed = (given: Uint8Array) => `${head}.${body}.${Buffer.from(given).toString("base64url")}`;
    const flips = Array.from({ length: 256 }, (_, bit) => {
      const flipped = Uint8Array.from(bytes);
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
      return [`bit ${bit}`, signed(flipped)];
    });
    const lengths = [1, 16, 31].map((length) => [`${length} bytes`, signed(bytes.subarray(0, length))]);
    await expectAll(Object.fromEntries([...flips, ...lengths]), OUT);
    await expectAll(
      { longer: signed(Buffer.concat([bytes, bytes])), "one more": signed(Buffer.from([...bytes, 0])) },
      OUT,
    );
    await expectAll({ empty: `${head}.${body}.`, zeros: signed(new Uint8Array(32)) }, OUT);
  });

  it("with other bits at the end of a part changes nothing that was signed", async () => {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const other = (text: string) => text.slice(0, -1) + alphabet[alphabet.indexOf(text.slice(-1)) ^ 1];
    const [head, body, signature] = hmacToken({}, { ...CLAIMS, n: 12 }).split(".") as [string, string, string];
    expect(Buffer.from(other(body), "base64url")).toEqual(Buffer.from(body, "base64url"));
    expect(await target.bearer(`${head}.${other(body)}.${signature}`)).toBe(OUT);
    // It is the same signature: who has it has the token.
    expect(await target.bearer(`${head}.${body}.${other(signature)}`)).toBe(IN);
  });
});

describe("claims", () => {
  it("with an exp that is no time yet to come are refused", async () => {
    const texts = [
      "0",
      "-1",
      "-1e308",
      "1e309",
      "-1e309",
      "null",
      "true",
      '"Infinity"',
      '"NaN"',
      "[9e9]",
      "{}",
      '"9e9"',
    ];
    await expectAll(byClaims(...texts.map((exp) => `{"exp":${exp}}`)), OUT);
    await expectAll(
      byClaims('{"exp":NaN}', '{"exp":Infinity}', '{"exp":0x7fffffff}', '{"Exp":9e9}', '{"exp ":9e9}'),
      OUT,
    );
    await expectAll(byClaims({ exp: NOW - 5 }, { exp: NOW - 5.001 }, { exp: -EXP }), OUT);
    // An issuer may say that it never ends.
    await expectAll(byClaims('{"exp":1e308}', '{"exp":9007199254740993}', { exp: NOW + 0.5 }, { exp: EXP * 1000 }), IN);
  });

  it("with an nbf that is no time gone by are refused; iat says nothing", async () => {
    const times = [
      "1e309",
      "1e308",
      `${NOW + 6}`,
      `${NOW + 5.001}`,
      '"0"',
      "null",
      "[]",
      "{}",
      "false",
      `${NOW * 1000}`,
    ];
    await expectAll(byClaims(...times.map((nbf) => `{"exp":${EXP},"nbf":${nbf}}`)), OUT);
    await expectAll(byClaims(...["0", "-1", "-1e308", `${NOW + 4.9}`].map((nbf) => `{"exp":${EXP},"nbf":${nbf}}`)), IN);
    const odd = ["1e308", "-1", '"now"', "null", "[]"];
    await expectAll(byClaims(...odd.map((iat) => `{"exp":${EXP},"iat":${iat}}`)), IN);
  });

  it("with a member twice mean the last, prototypes mean nothing", async () => {
    await expectAll(byClaims(`{"exp":${EXP},"exp":1}`, `{"exp":${EXP},"\\u0065xp":1}`), OUT);
    await expectAll(byClaims(`{"exp":1,"exp":${EXP}}`), IN);
    await expectAll(byClaims(`{"__proto__":{"exp":${EXP}}}`, `{"constructor":{"prototype":{"exp":${EXP}}}}`), OUT);
  });

  it("that are deep, or a token of nearly 16 KB, are read; a larger one is 431", async () => {
    const deep = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
    await expectAll(byClaims(`{"exp":${EXP},"x":${deep(5000)}}`, { ...CLAIMS, x: "x".repeat(11_000) }), IN);
    for (const scope of [deep(5000), deep(5000).replace("[]", '["kv:admin"]'), `[${deep(5000)},"kv:read"]`]) {
      await expectAll(byClaims(`{"exp":${EXP},"scope":${scope}}`), OUT);
    }
    await expectAll(byClaims(deep(5000), `{"exp":${deep(5000)}}`), OUT);
    await expectAll(byClaims({ ...CLAIMS, x: "x".repeat(13_000) }), 431);
  });
});

describe("the scope claim", () => {
  /** What a token may: to read, and to write. */
  const may = async (scope: unknown) => {
    const line = `Authorization: Bearer ${hmacToken({}, { ...CLAIMS, scope })}`;
    const put = ["Content-Type: application/json", "Content-Length: 11"];
    const written = await target.send("PUT /v1/kv/a", line, ...put, "", '{"value":1}');
    return [await target.status(line), written];
  };

  it.each([
    ["kv:raed"],
    ["kv:*"],
    ["kv:"],
    ["KV:READ"],
    ["kv:Admin"],
    ["kv:reаd"],
    ["kv:read,openid"],
    ["kv:read\tkv:openid"],
    ["kv:read\u00a0openid"],
    ["kv:read\0"],
    ["openid kv:reader"],
    [[["kv:read"]]],
    [["kv:read", 7]],
    [{}],
    [7],
    [null],
    [false],
    [["kv:all"]],
    [{ "kv:read": true }],
    [{ scopes: ["kv:read"] }],
  ])("%j limits in words that are not ours, or in none: it lets nobody in", async (scope) => {
    expect(await may(scope)).toEqual([OUT, OUT]);
  });

  it.each([["kv:read"], ["kv:read kv:read"], ["kv:read kv:everything"], [["kv:read"]], [["openid kv:read"]]])(
    "%j reads",
    async (scope) => {
      expect(await may(scope)).toEqual([IN, 403]);
    },
  );

  it.each([["kv:write"], ["openid"], [""], [[]], ["k v:read"], ["ｋｖ：read"]])(
    "%j does not speak of this service, or lets write",
    async (scope) => {
      expect(await may(scope)).toEqual([IN, 200]);
    },
  );
});
