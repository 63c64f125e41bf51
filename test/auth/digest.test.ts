import { expect, it } from "vitest";
import { digestOf, isSameDigest } from "../../src/auth/digest.ts";

it("a digest is the same as itself alone: not with one bit that differs, longer or shorter", async () => {
  const digest = await digestOf("key");
  expect(isSameDigest(digest, Uint8Array.from(digest))).toBe(true);
  for (let bit = 0; bit < digest.length * 8; bit++) {
    const other = Uint8Array.from(digest);
    other[bit >> 3] = (other[bit >> 3] as number) ^ (1 << (bit & 7));
    expect(isSameDigest(digest, other), `bit ${bit}`).toBe(false);
  }
  const longer = Uint8Array.from([...digest, 0]);
  expect([isSameDigest(digest, longer), isSameDigest(longer, digest)]).toEqual([false, false]);
});
