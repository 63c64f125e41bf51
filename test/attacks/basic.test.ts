/** Attacks on Basic and on the fields that carry credentials, by the server itself and by the app. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BasicCredentials } from "../../src/auth/basic.ts";
import { basicOf } from "../auth/support.ts";
import { IN, OUT, startTarget, type Target } from "./support.ts";

const USER = { username: "ada", password: "correct horse" };
const GOOD = basicOf(USER.username, USER.password);

let target: Target;
beforeAll(async () => {
  target = await startTarget({ basic: USER, apiKey: false, jwt: false });
});
afterAll(() => target[Symbol.asyncDispose]());

/** Base64 of a text as Latin-1, so that it can be any bytes. */
const base64 = (text: string) => Buffer.from(text, "latin1").toString("base64");
const utf8 = (text: string) => Buffer.from(text).toString("latin1");
const basic = (credential: string) => target.status(`Authorization: Basic ${credential}`);

it("the right user name and password are let in", async () => {
  expect(await target.status(`Authorization: ${GOOD}`)).toBe(IN);
});

describe("refused:", () => {
  it.each([
    ["NUL after the password", base64("ada:correct horse\0")],
    ["NUL after the password and more", base64("ada:correct horse\0x")],
    ["NUL after the user name", base64("ada\0:correct horse")],
    ["NUL in place of the colon", base64("ada\0correct horse")],
    ["NUL before all", base64("\0ada:correct horse")],
    ["NUL alone", base64("\0")],
    ["a line break after the password", base64("ada:correct horse\n")],
    ["a blank before", base64(" ada:correct horse")],
    ["no colon", base64("adacorrect horse")],
    ["a colon alone", base64(":")],
    ["nothing", ""],
    ["no user name", base64(":correct horse")],
    ["no password", base64("ada:")],
    ["undefined", base64("undefined:undefined")],
    ["null", base64("null:null")],
    ["other letters alike", base64(utf8("аdа:correct horse"))],
    ["a colon alike", base64(utf8("ada\uff1acorrect horse"))],
    ["a zero-width space", base64(utf8("ada\u200b:correct horse"))],
    ["a byte order mark", base64(utf8("\ufeffada:correct horse"))],
    ["UTF-16", Buffer.from("ada:correct horse", "utf16le").toString("base64")],
    ["overlong UTF-8", base64("ad\xc1\xa1:correct horse")],
    ["a surrogate in UTF-8", base64("ada:\xed\xa0\x80")],
    ["a byte that is no UTF-8", base64("ada:correct horse\xff")],
    ["base64 twice", base64(base64("ada:correct horse"))],
    ["the alphabet for URLs", Buffer.from("ada:??>>").toString("base64url")],
    ["base64 with a blank", `${base64("ada:correct horse").slice(0, 8)} ${base64("ada:correct horse").slice(8)}`],
    ["base64 with a comma", base64("ada:correct horse").replace("Y", "Y,")],
    ["padding in the middle", `YWRhOg==${base64("correct horse")}`],
    ["too much padding", `${base64("ada:correct horse")}===`],
    ["two colons", base64("ada::correct horse")],
    ["15 KB", base64(`ada:${"correct horse".repeat(800)}`)],
    ["15 KB of user name", base64(`${"ada".repeat(3500)}:correct horse`)],
    ["15 KB of colons", base64(":".repeat(11_000))],
  ])("%s", async (_, credential) => {
    expect(await basic(credential)).toBe(OUT);
  });

  it("a name or a password that is composed otherwise (NFC, NFD)", async () => {
    const [nfc, nfd] = ["jürgen:größe".normalize("NFC"), "jürgen:größe".normalize("NFD")];
    const [username = "", password = ""] = nfc.split(":");
    await using service = await startTarget({ basic: { username, password }, apiKey: false, jwt: false });
    const status = (pair: string) => service.status(`Authorization: Basic ${Buffer.from(pair).toString("base64")}`);
    expect([await status(nfc), await status(nfd), await status(nfc.toUpperCase())]).toEqual([IN, OUT, OUT]);
  });

  it("a credential over what a header may hold, with 431", async () => {
    expect(await basic(base64(`ada:${"x".repeat(13_000)}`))).toBe(431);
  });
});

it("other spellings of the same bytes mean the same user name and password", async () => {
  const text = base64("ada:correct horse");
  expect(text).toMatch(/=$/);
  const bare = text.replace(/=+$/, "");
  expect(await basic(bare)).toBe(IN);
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const loose = bare.slice(0, -1) + alphabet[alphabet.indexOf(bare.slice(-1)) ^ 1] + text.slice(bare.length);
  expect(Buffer.from(loose, "base64").toString()).toBe("ada:correct horse");
  expect(await basic(loose)).toBe(IN);
});

it("verifyCredentials is never asked about control characters, which other systems cut at", async () => {
  const asked: BasicCredentials[] = [];
  const verifyCredentials = (given: BasicCredentials) => asked.push(given) > 0;
  await using service = await startTarget({ basic: { verifyCredentials }, apiKey: false, jwt: false });
  for (const text of [
    "admin\0:x",
    "ada:x\0",
    "ada\r\n:x",
    "ada:\x7f",
    "a\tb:c",
    "ada:\x1b[2J",
    "ada:\xc2\x85",
    "\xff:",
    "",
  ]) {
    expect(await service.status(`Authorization: Basic ${base64(text)}`), JSON.stringify(text)).toBe(OUT);
  }
  expect(asked).toEqual([]);
  expect(await service.status(`Authorization: ${GOOD}`)).toBe(IN);
  expect(asked).toEqual([USER, USER]);
});
