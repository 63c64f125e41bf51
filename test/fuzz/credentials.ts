import { createHmac } from "node:crypto";
import type { Credentials } from "./grammar.ts";

export const KEY = "fuzz-key-0123456789abcdef";
export const USER = "ann";
export const PASSWORD = "pass:word";
export const SECRET = "s".repeat(40);

function token(secret: string): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256" })}.${part({ sub: "ann", exp: 99_999_999_999 })}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

/** None of the wrong ones holds a part of a valid one: no change makes it that. */
export const CREDENTIALS: Credentials = {
  valid: [
    `Authorization: Bearer ${KEY}`,
    `X-API-Key: ${KEY}`,
    `Authorization: Basic ${btoa(`${USER}:${PASSWORD}`)}`,
    `Authorization: Bearer ${token(SECRET)}`,
  ],
  wrong: [
    "Authorization: Bearer wrong",
    "X-API-Key: wrong",
    `Authorization: Basic ${btoa("ann:no")}`,
    `Authorization: Bearer ${token("other".repeat(10))}`,
    "Authorization: Basic",
    "Authorization: Digest a=b",
  ],
};
