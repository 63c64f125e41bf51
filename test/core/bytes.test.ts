import { describe, expect, it } from "vitest";
import {
  base64UrlOf,
  bytesOfBase64,
  bytesOfBase64Url,
  concat,
  decoder,
  encoder,
  hexOf,
  lengthOf,
  NULL,
  sha256,
  withRoom,
} from "../../src/core/bytes.ts";

/** Every byte, so that both alphabets show all that they have. */
const ALL = Uint8Array.from({ length: 256 }, (_, index) => index);

describe("pieces", () => {
  it("are as long together as each by itself, and follow each other", () => {
    const pieces = ["a", "", "漢", "bc"].map((text) => encoder.encode(text));
    expect(lengthOf(pieces)).toBe(6);
    expect(decoder.decode(concat(pieces))).toBe("a漢bc");
    expect(concat([])).toEqual(new Uint8Array());
  });
});

describe("withRoom", () => {
  it("gives back a buffer that is large enough", () => {
    const buffer = Uint8Array.of(1, 2, 3);
    expect(withRoom(buffer, 3)).toBe(buffer);
    expect(withRoom(buffer, 0)).toBe(buffer);
  });

  it("at least doubles one that is not, and keeps what is in it", () => {
    const buffer = Uint8Array.of(1, 2, 3);
    expect(withRoom(buffer, 4)).toEqual(Uint8Array.of(1, 2, 3, 0, 0, 0));
    expect(withRoom(buffer, 8)).toEqual(Uint8Array.of(1, 2, 3, 0, 0, 0, 0, 0));
  });
});

describe("base64 and hexadecimal", () => {
  it("stand for the same bytes as Node's", () => {
    for (const length of [0, 1, 2, 3, 255, 256]) {
      const bytes = ALL.subarray(0, length);
      const base64Url = Buffer.from(bytes).toString("base64url");
      expect(base64UrlOf(bytes)).toBe(base64Url);
      expect(bytesOfBase64Url(base64Url)).toEqual(bytes);
      expect(bytesOfBase64(Buffer.from(bytes).toString("base64"))).toEqual(bytes);
      expect(hexOf(bytes)).toBe(Buffer.from(bytes).toString("hex"));
    }
    // The two characters by which the alphabets differ, more than once.
    expect(base64UrlOf(Uint8Array.of(0xfb, 0xef, 0xbe, 0xff, 0xff, 0xff))).toBe("----____");
    expect(bytesOfBase64Url("----____")).toEqual(Uint8Array.of(0xfb, 0xef, 0xbe, 0xff, 0xff, 0xff));
  });

  it("that is none is an error", () => {
    for (const text of ["a", "é", "*"]) {
      expect(() => bytesOfBase64(text), text).toThrow();
      expect(() => bytesOfBase64Url(text), text).toThrow();
    }
  });
});

it("null is the text of JSON", () => {
  expect(decoder.decode(NULL)).toBe("null");
});

it("SHA-256 is that of FIPS 180-4", async () => {
  const digest = await sha256(encoder.encode("abc"));
  expect(hexOf(digest)).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
});
