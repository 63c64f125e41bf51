/** The published attacks on JWTs that an identity provider's keys verify, by the server itself and by the app. */
import { constants, createHmac, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import type { JWK } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CLAIMS, type Idp, startIdp } from "../auth/support.ts";
import { each, IN, OUT, part, startTarget, type Target, verdicts } from "./support.ts";

interface Pair {
  publicKey: KeyObject;
  privateKey: KeyObject;
}
const jwkOf = ({ publicKey }: Pair, members: object = {}) =>
  ({ ...publicKey.export({ format: "jwk" }), ...members }) as JWK;
const rsaPair = (modulusLength = 2048) => generateKeyPairSync("rsa", { modulusLength });
const ecPair = (namedCurve: string) => generateKeyPairSync("ec", { namedCurve });

const rsa = rsaPair();
const ec = ecPair("P-256");
const ed = generateKeyPairSync("ed25519");
const stranger = rsaPair();

type Signer = (input: Buffer) => Uint8Array;
const rs256: (pair: Pair) => Signer = (pair) => (input) => sign("sha256", input, pair.privateKey);
const es256: (pair: Pair) => Signer = (pair) => (input) =>
  sign("sha256", input, { key: pair.privateKey, dsaEncoding: "ieee-p1363" });

function tokenOf(header: object, signer: Signer, claims: object = CLAIMS): string {
  const input = `${part(header)}.${part(claims)}`;
  return `${input}.${Buffer.from(signer(Buffer.from(input))).toString("base64url")}`;
}

/** A service that trusts these keys. */
async function startTrusting(...keys: JWK[]): Promise<Target & { idp: Idp }> {
  const idp = await startIdp(...keys);
  const target = await startTarget({ jwt: { jwks: { url: idp.url } }, apiKey: false, basic: false });
  const dispose = async () => {
    await target[Symbol.asyncDispose]();
    await idp[Symbol.asyncDispose]();
  };
  return { ...target, idp, [Symbol.asyncDispose]: dispose };
}

let target: Awaited<ReturnType<typeof startTrusting>>;
beforeAll(async () => {
  target = await startTrusting(jwkOf(rsa, { kid: "rsa" }), jwkOf(ec, { kid: "ec" }), jwkOf(ed, { kid: "ed" }));
});
afterAll(() => target[Symbol.asyncDispose]());

const expectAll = async (tokens: Record<string, string>, verdict: number) =>
  expect(await verdicts(target, tokens)).toEqual(each(tokens, verdict));

it("honest tokens are let in", async () => {
  const tokens = {
    RS256: tokenOf({ alg: "RS256", kid: "rsa" }, rs256(rsa)),
    ES256: tokenOf({ alg: "ES256", kid: "ec" }, es256(ec)),
    EdDSA: tokenOf({ alg: "EdDSA", kid: "ed" }, (input) => sign(null, input, ed.privateKey)),
    unnamed: tokenOf({ alg: "RS256" }, rs256(rsa)),
  };
  await expectAll(tokens, IN);
  expect(target.idp.hits).toHaveLength(1);
});

it("a public key is no secret, in whatever form (HS/RS confusion)", async () => {
  const tokens: Record<string, string> = {};
  for (const [kid, { publicKey }] of Object.entries({ rsa, ec, ed })) {
    const pem = publicKey.export({ type: "spki", format: "pem" }).toString();
    const jwk = jwkOf({ publicKey } as Pair, { kid });
    const forms: Record<string, string | Buffer> = {
      PEM: pem,
      "PEM without its last line break": pem.trimEnd(),
      "PEM with CRLF": pem.replaceAll("\n", "\r\n"),
      "PEM in one line": pem.replaceAll("\n", ""),
      DER: publicKey.export({ type: "spki", format: "der" }),
      "JWK text": JSON.stringify(jwk),
      "set text": JSON.stringify({ keys: target.idp.keys }),
      member: jwk.n ?? jwk.x ?? "",
      "member's bytes": Buffer.from(jwk.n ?? jwk.x ?? "", "base64url"),
      kid,
      nothing: "",
    };
    for (const [form, secret] of Object.entries(forms)) {
      for (const [alg, digest] of Object.entries({ HS256: "sha256", HS512: "sha512" })) {
        tokens[`${kid} ${form} ${alg}`] = tokenOf({ alg, kid }, (input) =>
          createHmac(digest, secret).update(input).digest(),
        );
        tokens[`${kid} ${form} ${alg} unnamed`] = tokenOf({ alg }, (input) =>
          createHmac(digest, secret).update(input).digest(),
        );
      }
    }
  }
  await expectAll(tokens, OUT);
});

describe("kid", () => {
  const kids = [
    ...["../../../../../dev/null", "/dev/null", "file:///dev/null", "rsa/../rsa", "C:\\nul", "|id", "$(id)", "`id`"],
    ...["' OR '1'='1", "x' UNION SELECT 'k'--", 'rsa"', "rsa;--", "{{7*7}}", "%00", "rsa\0", "rsa\n", "rsa ", " rsa"],
    ...["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "length", "0", "RSA", "Rsa", "rsа"],
    ...["", 0, 1, true, false, [], ["rsa"], {}, { kid: "rsa" }, "rsa".repeat(2000), "http://127.0.0.1:1/jwks"],
  ];

  it("is a name and nothing else, whoever signed", async () => {
    for (const kid of kids) {
      for (const signer of [rs256(rsa), rs256(stranger), () => new Uint8Array(256)]) {
        expect(await target.bearer(tokenOf({ alg: "RS256", kid }, signer)), JSON.stringify(kid)).toBe(OUT);
      }
    }
    expect(target.idp.hits).toHaveLength(1);
  });

  it("may be any name that the provider gives", async () => {
    for (const kid of ["__proto__", "constructor", "../x", ""]) {
      await using given = await startTrusting(jwkOf(rsa, { kid }));
      expect(await given.bearer(tokenOf({ alg: "RS256", kid }, rs256(rsa))), kid).toBe(IN);
      expect(await given.bearer(tokenOf({ alg: "RS256", kid }, rs256(stranger))), kid).toBe(OUT);
    }
  });
});

it("the header does not bring its own key or the way to it", async () => {
  await using theirs = await startIdp(jwkOf(stranger, { kid: "rsa" }));
  const own = {
    jwk: jwkOf(stranger),
    jku: theirs.url,
    x5u: theirs.url,
    x5c: ["MIIB"],
    x5t: "AAAA",
    "x5t#S256": "AAAA",
  };
  const tokens = Object.entries(own).flatMap(([name, value]) =>
    [undefined, "rsa", "other"].map((kid) => [
      `${name} ${kid}`,
      tokenOf({ alg: "RS256", [name]: value, ...(kid && { kid }) }, rs256(stranger)),
    ]),
  );
  await expectAll(Object.fromEntries(tokens), OUT);
  expect(theirs.hits).toEqual([]);
});

describe("an ECDSA signature", () => {
  /** The order of P-256. */
  const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const bytesOf = (value: bigint) => Buffer.from(value.toString(16).padStart(64, "0"), "hex");
  const numberOf = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
  const raw = (r: bigint, s: bigint) => () => Buffer.concat([bytesOf(r), bytesOf(s)]);
  const header = { alg: "ES256", kid: "ec" };

  it("of nothing verifies nothing (CVE-2022-21449, psychic signatures)", async () => {
    const values = [0n, 1n, N - 1n, N, N + 1n, (1n << 256n) - 1n];
    const tokens = values.flatMap((r) => values.map((s) => [`${r} ${s}`, tokenOf(header, raw(r, s))]));
    await expectAll(Object.fromEntries(tokens), OUT);
  });

  it("is 64 bytes: DER, shorter and longer ones are none", async () => {
    const good = es256(ec);
    const tokens = {
      DER: tokenOf(header, (input) => sign("sha256", input, ec.privateKey)),
      63: tokenOf(header, (input) => good(input).subarray(0, 63)),
      65: tokenOf(header, (input) => Buffer.concat([good(input), Buffer.alloc(1)])),
      "zero before": tokenOf(header, (input) => Buffer.concat([Buffer.alloc(1), good(input)])),
      128: tokenOf(header, (input) => Buffer.concat([good(input), good(input)])),
      half: tokenOf(header, (input) => good(input).subarray(0, 32)),
    };
    await expectAll(tokens, OUT);
  });

  it("has a twin (r, n - s), which says the same", async () => {
    const twin: Signer = (input) => {
      const good = es256(ec)(input);
      return Buffer.concat([good.subarray(0, 32), bytesOf(N - numberOf(good.subarray(32)))]);
    };
    expect(await target.bearer(tokenOf(header, twin))).toBe(IN);
    const other = tokenOf(header, es256(ec), { ...CLAIMS, sub: "eve" }).split(".");
    expect(await target.bearer([...tokenOf(header, twin).split(".").slice(0, 2), other[2]].join("."))).toBe(OUT);
  });
});

it("an RSA signature is as long as its key, and of the padding that alg says", async () => {
  const header = { alg: "RS256", kid: "rsa" };
  const pss = { key: rsa.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
  const good = rs256(rsa);
  const tokens = {
    zeros: tokenOf(header, () => new Uint8Array(256)),
    ones: tokenOf(header, () => new Uint8Array(256).fill(255)),
    one: tokenOf(header, () => Uint8Array.from({ length: 256 }, (_, index) => Number(index === 255))),
    "zero before": tokenOf(header, (input) => Buffer.concat([Buffer.alloc(1), good(input)])),
    "zero after": tokenOf(header, (input) => Buffer.concat([good(input), Buffer.alloc(1)])),
    shorter: tokenOf(header, (input) => good(input).subarray(0, 255)),
    "PSS as PKCS #1": tokenOf(header, (input) => sign("sha256", input, pss)),
    "PKCS #1 as PSS": tokenOf({ ...header, alg: "PS256" }, good),
    "SHA-1": tokenOf(header, (input) => sign("sha1", input, rsa.privateKey)),
    "SHA-512": tokenOf(header, (input) => sign("sha512", input, rsa.privateKey)),
  };
  await expectAll(tokens, OUT);
  expect(await target.bearer(tokenOf({ ...header, alg: "PS256" }, (input) => sign("sha256", input, pss)))).toBe(IN);
});

it("an Ed25519 signature of nothing verifies nothing", async () => {
  const header = { alg: "EdDSA", kid: "ed" };
  const neutral = Uint8Array.from({ length: 64 }, (_, index) => Number(index === 0));
  const good = (input: Buffer) => sign(null, input, ed.privateKey);
  await expectAll(
    {
      zeros: tokenOf(header, () => new Uint8Array(64)),
      neutral: tokenOf(header, () => neutral),
      63: tokenOf(header, (input) => good(input).subarray(0, 63)),
      65: tokenOf(header, (input) => Buffer.concat([good(input), Buffer.alloc(1)])),
    },
    OUT,
  );
});

describe("a published key that must not verify", () => {
  const weak = rsaPair(1024);
  const other = ecPair("P-256");
  const p384 = ecPair("P-384");
  const k256 = ecPair("secp256k1");
  const ed448 = generateKeyPairSync("ed448");
  const oct = { kty: "oct", k: part("0".repeat(32)), kid: "k" };
  const hmac: Signer = (input) => createHmac("sha256", "0".repeat(32)).update(input).digest();
  const secret = (pair: Pair) => ({ ...pair.privateKey.export({ format: "jwk" }), kid: "k" }) as JWK;

  it.each<[string, JWK, object, Signer]>([
    ["RSA of 1024 bits", jwkOf(weak, { kid: "k" }), { alg: "RS256" }, rs256(weak)],
    ["P-384 as ES256", jwkOf(p384, { kid: "k" }), { alg: "ES256" }, es256(p384)],
    ["P-256 as ES384", jwkOf(ec, { kid: "k" }), { alg: "ES384" }, es256(ec)],
    ["secp256k1 as ES256", jwkOf(k256, { kid: "k" }), { alg: "ES256" }, es256(k256)],
    ["secp256k1 as ES256K", jwkOf(k256, { kid: "k" }), { alg: "ES256K" }, es256(k256)],
    ["Ed448", jwkOf(ed448, { kid: "k" }), { alg: "EdDSA" }, (input) => sign(null, input, ed448.privateKey)],
    ["a secret (oct)", oct, { alg: "HS256" }, hmac],
    ["a secret for any alg", oct, { alg: "RS256" }, hmac],
    ["a secret that says RSA", { ...oct, ...jwkOf(rsa), kid: "k" }, { alg: "HS256" }, hmac],
    ["a private key", secret(rsa), { alg: "RS256" }, rs256(rsa)],
    ["one for encryption", jwkOf(rsa, { kid: "k", use: "enc" }), { alg: "RS256" }, rs256(rsa)],
    ["one that may only sign", jwkOf(rsa, { kid: "k", key_ops: ["sign"] }), { alg: "RS256" }, rs256(rsa)],
    ["one that may do nothing", jwkOf(rsa, { kid: "k", key_ops: [] }), { alg: "RS256" }, rs256(rsa)],
    ["one for another alg", jwkOf(rsa, { kid: "k", alg: "RSA-OAEP" }), { alg: "RS256" }, rs256(rsa)],
    ["RSA with the exponent 1", jwkOf(rsa, { kid: "k", e: "AQ" }), { alg: "RS256" }, () => new Uint8Array(256)],
    ["RSA with an even exponent", jwkOf(rsa, { kid: "k", e: "Ag" }), { alg: "RS256" }, () => new Uint8Array(256)],
    ["a point off the curve", jwkOf(ec, { kid: "k", x: part("x".repeat(32)) }), { alg: "ES256" }, es256(other)],
    [
      "the point of no order",
      jwkOf(ed, { kid: "k", x: part("\0".repeat(32)) }),
      { alg: "EdDSA" },
      () => new Uint8Array(64),
    ],
  ])("%s", async (_, jwk, header, signer) => {
    await using given = await startTrusting(jwk, jwkOf(ec, { kid: "ec" }));
    for (const named of [{ kid: "k" }, {}]) {
      expect(await given.bearer(tokenOf({ ...header, ...named }, signer)), JSON.stringify(named)).toBe(OUT);
    }
    expect(await given.bearer(tokenOf({ alg: "ES256", kid: "ec" }, es256(ec)))).toBe(IN);
  });
});

it("a key is not taken for another kind's because alg says so", async () => {
  const signers = { RS256: rs256(rsa), ES256: es256(ec), EdDSA: (input: Buffer) => sign(null, input, ed.privateKey) };
  const own: Record<string, string> = { RS256: "rsa", ES256: "ec", EdDSA: "ed" };
  for (const alg of [...Object.keys(own), "PS256", "RS512", "ES384", "ES512"]) {
    for (const [signed, signer] of Object.entries(signers)) {
      for (const kid of Object.values(own)) {
        const verdict = alg === signed && own[alg] === kid ? IN : OUT;
        expect(await target.bearer(tokenOf({ alg, kid }, signer)), `${alg} ${signed} ${kid}`).toBe(verdict);
      }
    }
  }
});
