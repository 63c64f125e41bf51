import { describe, expect, it } from "vitest";
import { checkKey, compareKeys, decodeKey, keyBytes, quote, utf8Length } from "../../src/core/key.ts";

const KEYS = ["a", "A", "a/b", "a_b", "é", "漢", "\uffff", "\u{10000}", "😀", "\u0000", "\ue000", "a\u0000", "ab"];

describe("utf8Length", () => {
  it("is the length of the encoded text", () => {
    for (const key of KEYS) expect(utf8Length(key), key).toBe(keyBytes(key).length);
  });
});

describe("compareKeys", () => {
  it("orders as the UTF-8 bytes do, astral characters after U+FFFF", () => {
    const byBytes = [...KEYS].sort((a, b) => Buffer.compare(keyBytes(a), keyBytes(b)));
    expect([...KEYS].sort(compareKeys)).toEqual(byBytes);
    expect(compareKeys("\uffff", "\u{10000}")).toBeLessThan(0);
    expect(compareKeys("\u{10000}", "\uffff")).toBeGreaterThan(0);
    expect([..."\uffff\u{10000}"].sort()).not.toEqual([..."\uffff\u{10000}"]);
  });
});

describe("checkKey", () => {
  it("refuses the empty key and a lone surrogate as invalid_key", () => {
    expect(() => checkKey("", 512)).toThrow(expect.objectContaining({ code: "invalid_key" }));
    expect(() => checkKey("a\ud800", 512)).toThrow(expect.objectContaining({ code: "invalid_key" }));
  });

  it("counts bytes, not characters, and names the limit", () => {
    expect(checkKey("é".repeat(256), 512)).toHaveLength(256);
    expect(() => checkKey(`${"é".repeat(256)}a`, 512)).toThrow(
      expect.objectContaining({ code: "too_large", message: "Expected a key of at most 512 bytes, got 513" }),
    );
  });
});

describe("decodeKey", () => {
  it("decodes once", () => {
    expect(decodeKey("a%252Fb")).toBe("a%2Fb");
    expect(decodeKey("a%2Fb/c+d")).toBe("a/b/c+d");
  });

  it.each(["%", "%4", "%zz", "%ff", "%c0%80", "%ed%a0%80"])("refuses %s as invalid_key", (encoded) => {
    expect(() => decodeKey(encoded)).toThrow(expect.objectContaining({ code: "invalid_key" }));
  });
});

describe("quote", () => {
  it("is a string of JSON, cut to 64 characters", () => {
    expect(quote('a"\n')).toBe('"a\\"\\n"');
    expect(quote("x".repeat(64))).toBe(`"${"x".repeat(64)}"`);
    expect(quote("x".repeat(65))).toBe(`"${"x".repeat(64)}…"`);
  });
});

describe("compareKeys of every two", () => {
  const UNITS = ["a", "\ud7ff", "\u{10000}", "\u{10ffff}", "\ue000", "\uffff", "", "ab", "b"];

  it("is what their bytes say", () => {
    for (const a of UNITS) {
      for (const b of UNITS) {
        const bytes = Buffer.compare(keyBytes(a), keyBytes(b));
        expect([a, b, Math.sign(compareKeys(a, b))]).toEqual([a, b, bytes]);
      }
    }
  });
});
