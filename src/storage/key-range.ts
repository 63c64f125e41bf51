import { keyBytes } from "../core/key.ts";
import type { ListQuery } from "./adapter.ts";

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** From the prefix or the first key after the cursor, to the end of the prefix: no byte of UTF-8 is 0xFF. */
export function boundsOf({
  prefix,
  cursor,
}: Pick<ListQuery, "prefix" | "cursor">): [lower: Uint8Array, upper: Uint8Array] {
  const start = keyBytes(prefix);
  const upper = new Uint8Array(start.length + 1).fill(0xff);
  upper.set(start);
  // No key is before "\0", and empty bytes would be bound as NULL by some drivers.
  return [keyBytes(cursor === null ? prefix || "\0" : `${cursor}\0`), upper];
}

/** The key that bytes at rest stand for. */
export function keyOfBytes(bytes: Uint8Array | ArrayBuffer): string {
  return decoder.decode(bytes);
}
