import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { lengthOf } from "./core/bytes.ts";
import type { StoredEntry } from "./core/entry.ts";
import { STREAM_BYTES } from "./core/limits.ts";
import { attributes, ENTRY_OPEN, envelope, inGroups, type Piece } from "./routes/respond.ts";

/** A longer value is not copied on its way out. */
const COPIED_BYTES = 16_384;

/** One string is written at once with the header; of what is large the parts, uncopied. */
export type AnswerBody =
  | { text: string }
  | { groups: Iterable<Uint8Array>; length: number }
  | readonly Uint8Array[]
  | Uint8Array;

/** `null`: none. */
export type Body = AnswerBody | null;

/** Where an entry keeps the body that was made of it: from a cache the same entry comes again. */
const BODY = Symbol();

export function bodyOf(stored: StoredEntry & { [BODY]?: Body }): Body {
  stored[BODY] ??= newBody(stored);
  return stored[BODY];
}

function newBody(stored: StoredEntry): Body {
  const tail = `${attributes(stored)}}`;
  if (stored.parts !== undefined) return [Buffer.from(ENTRY_OPEN), ...stored.parts, Buffer.from(tail)];
  const { value } = stored;
  if (value.length > COPIED_BYTES) return [Buffer.from(ENTRY_OPEN), value, Buffer.from(tail)];
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
  // Latin-1 keeps bytes as they are.
  if (stored.metadata === null) return { text: ENTRY_OPEN + bytes.toString("latin1") + tail };
  return Buffer.concat([Buffer.from(ENTRY_OPEN), bytes, Buffer.from(tail)]);
}

/** The envelope around data that is given as JSON text in pieces. */
export function dataBody(pieces: readonly Piece[]): AnswerBody {
  const bytes = envelope(pieces);
  const length = lengthOf(bytes);
  if (length > STREAM_BYTES) return { groups: inGroups(bytes), length };
  return bytes.length === 1 ? (bytes[0] as Uint8Array) : Buffer.concat(bytes);
}

export function send(response: ServerResponse, status: number, fields: string[], body: Body): void {
  if (body === null) {
    response.writeHead(status, fields).end();
  } else if ("text" in body) {
    fields.push("content-length", String(body.text.length));
    response.writeHead(status, fields).end(body.text, "latin1");
  } else if ("groups" in body) {
    response.writeHead(status, fields);
    // Who is gone needs no answer.
    pipeline(Readable.from(body.groups), response).catch(() => {});
  } else if (body instanceof Uint8Array) {
    fields.push("content-length", String(body.length));
    response.writeHead(status, fields).end(body);
  } else {
    fields.push("content-length", String(body.reduce((length, part) => length + part.length, 0)));
    response.writeHead(status, fields);
    for (const part of body) response.write(part);
    response.end();
  }
}
