/** Attacks on the fields that carry credentials, by the server itself and by the app. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { basicOf } from "../auth/support.ts";
import { hmacToken, IN, OUT, SECRET, startTarget, type Target } from "./support.ts";

const KEY = "canary-key-0123456789abcdef";
const READER = "reader-key-0123456789abcdef";
const BASIC = basicOf("ada", "correct horse");

let target: Target;
beforeAll(async () => {
  target = await startTarget({
    apiKey: { apiKey: [KEY, { key: READER, scope: "read" }] },
    basic: { username: "ada", password: "correct horse" },
    jwt: { secret: SECRET },
  });
});
afterAll(() => target[Symbol.asyncDispose]());

const utf8 = (text: string) => Buffer.from(text).toString("latin1");
const lines = (...fields: string[]) => fields;

describe("let in: one credential, however HTTP lets it be written", () => {
  it.each([
    ["a scheme in other letters", lines(`authorization: bEaReR ${KEY}`)],
    ["blanks around the field", lines(`Authorization: \t  Bearer ${KEY} \t `)],
    ["two blanks after the scheme", lines(`Authorization: Bearer  ${KEY}`)],
    ["no blank after the colon", lines(`Authorization:Bearer ${KEY}`)],
    ["Basic in capitals", lines(`AUTHORIZATION: ${BASIC.replace("Basic", "BASIC")}`)],
    ["X-API-Key", lines(`x-API-key:${KEY}`)],
  ])("%s", async (_, fields) => {
    expect(await target.status(...fields)).toBe(IN);
  });
});

describe("refused:", () => {
  it.each([
    ["a tab after the scheme", lines(`Authorization: Bearer\t${KEY}`)],
    ["a NBSP after the scheme", lines(`Authorization: Bearer\u00a0${KEY}`)],
    ["a NBSP before the scheme", lines(`Authorization: \u00a0Bearer ${KEY}`)],
    ["a NBSP after the key", lines(`Authorization: Bearer ${KEY}\u00a0`)],
    ["a NBSP before X-API-Key", lines(`X-API-Key: \u00a0${KEY}`)],
    ["a NBSP alone beside the key", lines("Authorization: \u00a0", `X-API-Key: ${KEY}`)],
    ["an en space", lines(utf8(`Authorization: Bearer\u2002${KEY}`))],
    ["a full-width scheme", lines(utf8(`Authorization: Ｂｅａｒｅｒ ${KEY}`))],
    ["a Cyrillic letter in the scheme", lines(utf8(`Authorization: Веarer ${KEY}`))],
    ["a dotless i in Basic", lines(utf8(`Authorization: ${BASIC.replace("Basic", "Basıc")}`))],
    ["a long s in Basic", lines(utf8(`Authorization: ${BASIC.replace("Basic", "Baſic")}`))],
    ["a Cyrillic letter in the key", lines(utf8(`Authorization: Bearer ${KEY.replace("a", "а")}`))],
    ["a key in capitals", lines(`Authorization: Bearer ${KEY.toUpperCase()}`)],
    ["a key in quotes", lines(`Authorization: Bearer "${KEY}"`)],
    ["a key that is percent-encoded", lines(`Authorization: Bearer ${KEY.replaceAll("-", "%2D")}`)],
    ["a key and a comma", lines(`Authorization: Bearer ${KEY},`)],
    ["a comma and a key", lines(`Authorization: ,Bearer ${KEY}`)],
    ["two keys with a comma", lines(`Authorization: Bearer ${KEY},Bearer ${KEY}`)],
    ["two keys with a blank", lines(`Authorization: Bearer ${KEY} ${KEY}`)],
    ["two keys in X-API-Key", lines(`X-API-Key: ${KEY},${KEY}`)],
    ["parameters", lines(`Authorization: Bearer token="${KEY}"`)],
    ["two fields", lines(`Authorization: Bearer ${KEY}`, `Authorization: Bearer ${KEY}`)],
    ["two fields in other letters", lines(`Authorization: Bearer ${KEY}`, "AUTHORIZATION: Bearer x")],
    ["a wrong field before", lines("Authorization: Bearer x", `Authorization: Bearer ${KEY}`)],
    ["two fields of two schemes", lines(`Authorization: ${BASIC}`, `Authorization: Bearer ${KEY}`)],
    ["two X-API-Key", lines(`X-API-Key: ${KEY}`, `X-API-Key: ${KEY}`)],
    ["a right and a wrong X-API-Key", lines(`X-API-Key: ${KEY}`, "X-API-Key: x")],
    ["an empty X-API-Key", lines("X-API-Key:")],
    ["a blank X-API-Key", lines("X-API-Key:   \t ")],
    ["both empty", lines("Authorization:", "X-API-Key:")],
    ["a scheme alone", lines("Authorization: Bearer")],
    ["a key beside a malformed field", lines(`Authorization: Bearer ${KEY} x`, `X-API-Key: ${KEY}`)],
    ["a key beside two fields", lines("Authorization: Bearer a", "Authorization: Bearer b", `X-API-Key: ${KEY}`)],
    ["a key of the length of a header", lines(`Authorization: Bearer ${KEY.repeat(580)}`)],
  ])("%s", async (_, fields) => {
    expect(await target.status(...fields)).toBe(OUT);
  });

  it.each([
    ["a cookie", lines(`Cookie: Authorization=Bearer ${KEY}; apiKey=${KEY}; X-API-Key=${KEY}; token=${hmacToken()}`)],
    ["Proxy-Authorization", lines(`Proxy-Authorization: Bearer ${KEY}`)],
    ["X-Authorization", lines(`X-Authorization: Bearer ${KEY}`)],
    ["the underscores of CGI", lines(`X_API_Key: ${KEY}`, `HTTP_AUTHORIZATION: Bearer ${KEY}`)],
    ["Api-Key", lines(`Api-Key: ${KEY}`, `apikey: ${KEY}`, `X-Auth-Token: ${KEY}`)],
    ["X-Forwarded-User", lines("X-Forwarded-User: ada", "X-Remote-User: ada", "X-Forwarded-Access-Token: x")],
    ["a trailer that is announced", lines("Trailer: Authorization", "TE: trailers")],
    ["Connection that names it", lines("X-API-Key: x", "Connection: X-API-Key, close")],
  ])("a credential in %s", async (_, fields) => {
    expect(await target.status(...fields)).toBe(OUT);
  });

  it("a credential in the target: in the query, as user information, in a fragment", async () => {
    const token = hmacToken();
    for (const name of ["access_token", "apiKey", "api_key", "key", "token", "Authorization", "X-API-Key"]) {
      for (const value of [KEY, `Bearer%20${KEY}`, token]) {
        expect(await target.send(`GET /v1/kv/none?${name}=${value}`), `${name}=${value}`).toBe(OUT);
      }
    }
    for (const head of [`GET /v1/kv/none;key=${KEY}`, `GET http://ada:${KEY}@kv.example/v1/kv/none`]) {
      expect(await target.send(head), head).not.toBe(IN);
    }
  });

  it.each([
    ["folded over two lines", lines("Authorization: Bearer", ` ${KEY}`)],
    ["folded with a tab", lines("Authorization:", `\tBearer ${KEY}`)],
    ["a name with a blank before the colon", lines(`Authorization : Bearer ${KEY}`)],
    ["a name with a blank before it", lines("X-First: 1", ` Authorization: Bearer ${KEY}`)],
    ["a NUL", lines(`Authorization: Bearer ${KEY}\0`)],
    ["a NUL in the name", lines(`Author\0ization: Bearer ${KEY}`)],
    ["a carriage return", lines(`X-First: 1\rAuthorization: Bearer ${KEY}`)],
    ["a vertical tab", lines(`Authorization: Bearer\v${KEY}`)],
  ])("a field that is %s", async (_, fields) => {
    expect([OUT, 400]).toContain(await target.status(...fields));
  });
});

describe("several credentials in one request", () => {
  /** What it may: to read, and to write. */
  const may = async (...fields: string[]) => {
    const put = ["Content-Type: application/json", "Content-Length: 11", "", '{"value":1}'];
    return [await target.status(...fields), await target.send("PUT /v1/kv/a", ...fields, ...put)];
  };
  const bearer = (credential: string) => `Authorization: Bearer ${credential}`;
  const reads = [IN, 403];
  const writes = [IN, 200];

  it.each([
    ["a key before X-API-Key", lines(bearer(READER), `X-API-Key: ${KEY}`), reads],
    ["a key before X-API-Key, the other way", lines(bearer(KEY), `X-API-Key: ${READER}`), writes],
    ["X-API-Key where the key is none", lines(bearer("x"), `X-API-Key: ${READER}`), reads],
    ["X-API-Key before Basic", lines(`Authorization: ${BASIC}`, `X-API-Key: ${READER}`), reads],
    ["X-API-Key before a JWT", lines(bearer(hmacToken()), `X-API-Key: ${READER}`), reads],
    ["a JWT where X-API-Key is none", lines(bearer(hmacToken()), "X-API-Key: x"), writes],
    ["Basic where X-API-Key is empty", lines(`Authorization: ${BASIC}`, "X-API-Key:"), writes],
  ])("mean %s", async (_, fields, expected) => {
    expect(await may(...fields)).toEqual(expected);
  });
});
