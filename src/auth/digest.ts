import { encoder, sha256 } from "../core/bytes.ts";

/** The SHA-256 of a text. */
export function digestOf(text: string): Promise<Uint8Array> {
  return sha256(encoder.encode(text));
}

/** Whether two digests are the same, in a time that does not depend on where they differ. */
export function isSameDigest(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length;
  for (let index = 0; index < a.length; index++) difference |= (a[index] as number) ^ (b[index] ?? 0);
  return difference === 0;
}
