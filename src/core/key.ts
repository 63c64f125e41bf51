import { encoder } from "./bytes.ts";
import { KvError } from "./errors.ts";

/** The length of a string in bytes of UTF-8. */
export function utf8Length(text: string): number {
  return encoder.encode(text).length;
}

/** The key itself where it is one; throws `invalid_key` (empty, a lone surrogate) or `too_large` (over `maxBytes`). */
export function checkKey(key: string, maxBytes: number): string {
  if (key === "") throw new KvError("invalid_key", "Expected a key of at least one byte, got an empty one");
  if (!key.isWellFormed()) {
    throw new KvError("invalid_key", `Expected a key without lone surrogates, got ${quote(key)}`);
  }
  // A UTF-16 unit is at most three bytes.
  const bytes = key.length * 3 > maxBytes ? utf8Length(key) : 0;
  if (bytes > maxBytes) throw new KvError("too_large", `Expected a key of at most ${maxBytes} bytes, got ${bytes}`);
  return key;
}

/** The key that a percent-encoded path names, decoded once (RFC 3986, section 2.1); throws `invalid_key`. */
export function decodeKey(encoded: string): string {
  if (!encoded.includes("%")) return encoded;
  try {
    return decodeURIComponent(encoded);
  } catch {
    throw new KvError(
      "invalid_key",
      `Expected percent-encoded UTF-8, got ${quote(encoded)}; "%" itself is written %25`,
    );
  }
}

/** A string in JSON's quotes, cut to 64 characters, for messages. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}…` : text);
}

/** A key in UTF-8: the form whose byte order is the order of a list. */
export function keyBytes(key: string): Uint8Array {
  return encoder.encode(key);
}

/** Below zero where `a` comes before `b` in the byte order of UTF-8, which is the order of their code points. */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index++) {
    const left = a.charCodeAt(index);
    const right = b.charCodeAt(index);
    if (left === right) continue;
    // UTF-16 sorts surrogates (astral characters) below U+E000..U+FFFF; UTF-8 sorts them above.
    const leftAstral = left >= 0xd800 && left < 0xe000;
    const rightAstral = right >= 0xd800 && right < 0xe000;
    return leftAstral === rightAstral ? left - right : leftAstral ? 1 : -1;
  }
  return a.length - b.length;
}
