/**
 * The cursor of a list, as clients see it: the adapter's own cursor and the prefix that it was given for, with a checksum,
 * so that an accidental change is refused. It grants nothing, holds no state of the service and survives a restart.
 */
import { KvError } from "../core/errors.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The opaque text of an adapter's cursor. */
export function encodeCursor(cursor: string, prefix: string): string {
  const payload = encoder.encode(JSON.stringify([cursor, prefix]));
  const bytes = new Uint8Array(payload.length + 4);
  new DataView(bytes.buffer).setUint32(0, checksum(payload));
  bytes.set(payload, 4);
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** The adapter's cursor again; throws `invalid_request` where the text was changed or was given for another prefix. */
export function decodeCursor(text: string, prefix: string): string {
  const [cursor, givenFor] = open(text) ?? [];
  if (cursor === undefined || encodeCursor(cursor, givenFor ?? "") !== text) {
    throw refusal("Expected a cursor as an earlier page gave it, got one that was changed");
  }
  if (givenFor !== prefix)
    throw refusal("Expected a cursor of this prefix, got one of another prefix or storage engine");
  return cursor;
}

function open(text: string): [cursor: string, prefix: string] | undefined {
  try {
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const payload = Uint8Array.from(binary, (unit) => unit.charCodeAt(0)).subarray(4);
    const parsed: unknown = JSON.parse(decoder.decode(payload));
    return Array.isArray(parsed) && typeof parsed[0] === "string" && typeof parsed[1] === "string"
      ? [parsed[0], parsed[1]]
      : undefined;
  } catch {
    return undefined;
  }
}

/** FNV-1a, 32 bits: for accidents, not for attackers. */
function checksum(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

function refusal(message: string): KvError {
  return new KvError("invalid_request", `cursor: ${message}`, { issues: [{ path: "cursor", message }] });
}
