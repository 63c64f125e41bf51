/**
 * The cursor of a list, as clients see it: the adapter's own cursor and the prefix that it was given for, with a checksum,
 * so that an accidental change is refused. It grants nothing, holds no state of the service and survives a restart.
 */
import { base64UrlOf, bytesOfBase64Url, decoder, encoder } from "../core/bytes.ts";
import { invalid } from "../core/errors.ts";

/** The opaque text of an adapter's cursor. */
export function encodeCursor(cursor: string, prefix: string): string {
  return base64UrlOf(encoder.encode(JSON.stringify([cursor, prefix, checksum(cursor + prefix)])));
}

/** The adapter's cursor again; throws `invalid_request` where the text was changed or was given for another prefix. */
export function decodeCursor(text: string, prefix: string): string {
  const opened = open(text);
  if (opened === undefined || opened[1] !== prefix || encodeCursor(...opened) !== text) {
    throw invalid("cursor", "Expected a cursor as an earlier page of this prefix and storage engine gave it");
  }
  return opened[0];
}

function open(text: string): [cursor: string, prefix: string] | undefined {
  try {
    const bytes = bytesOfBase64Url(text);
    const [cursor, prefix]: unknown[] = JSON.parse(decoder.decode(bytes));
    // What is no string, and what is no UTF-8, is another text when it is encoded again.
    return [`${cursor}`, `${prefix}`];
  } catch {
    return undefined;
  }
}

/** FNV-1a, 32 bits: for accidents, not for attackers. */
function checksum(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of encoder.encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash;
}
