import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { lengthOf } from "./core/bytes.ts";
import type { StoredEntry } from "./core/entry.ts";
import { STREAM_BYTES } from "./core/limits.ts";
import { reasonOf, type TextResponse } from "./node-response.ts";
import { attributes, ENTRY_OPEN, envelope, inGroups, type Piece } from "./routes/respond.ts";

/** A longer value is not copied on its way out. */
const COPIED_BYTES = 16_384;

/** `latin1`: its characters are the bytes, and it is written at once with the header; of what is large the parts, uncopied. */
export type AnswerBody =
  | { latin1: string }
  | { groups: Iterable<Uint8Array>; length: number }
  | readonly Uint8Array[]
  | Uint8Array;

/** `null`: none. */
export type Body = AnswerBody | null;

/** Header fields that many answers have in common: names and values in turn, and as they are sent. */
export interface Head {
  readonly fields: readonly string[];
  readonly text: string;
}

/** What is answered, but for what each request has of its own. */
export interface Answer {
  readonly status: number;
  readonly head: Head;
  /** The fields of this one, names and values in turn. */
  readonly own: readonly string[];
  readonly body: Body;
  /** All its fields and its body as they are sent, where that is short. */
  readonly text: string | null;
}

/** What Node checks of the fields that it writes itself (RFC 9110, section 5.5). */
const FIELD_VALUE = /^[\t\x20-\x7e]*$/;

export function headOf(fields: readonly string[]): Head {
  return { fields, text: linesOf(fields) };
}

/** Fields as lines; names and values in turn. */
export function linesOf(fields: readonly string[]): string {
  let lines = "";
  for (let at = 0; at < fields.length; at += 2) lines += `${fields[at]}: ${fields[at + 1]}\r\n`;
  return lines;
}

/** The answer with this body, whose length it tells where it is known. */
export function answerOf(status: number, head: Head, fields: readonly string[], body: Body): Answer {
  const length = body === null ? null : lengthOfBody(body);
  const own = length === null ? fields : [...fields, "content-length", String(length)];
  return { status, head, own, body, text: status === 304 || body !== null ? textOf(head, own, body) : null };
}

function lengthOfBody(body: AnswerBody): number | null {
  if ("latin1" in body) return body.latin1.length;
  if ("groups" in body) return null;
  return body instanceof Uint8Array ? body.length : lengthOf(body);
}

function textOf(head: Head, own: readonly string[], body: Body): string | null {
  if (body !== null && !("latin1" in body)) return null;
  for (let at = 1; at < own.length; at += 2) if (!FIELD_VALUE.test(own[at] as string)) return null;
  return `${head.text}${linesOf(own)}\r\n${body?.latin1 ?? ""}`;
}

/** A stored entry in its envelope. */
export function entryBody(stored: StoredEntry): AnswerBody {
  const tail = Buffer.from(`${attributes(stored)}}`);
  // Before its value is looked at, which would be put together then.
  if (stored.parts !== undefined) return [Buffer.from(ENTRY_OPEN), ...stored.parts, tail];
  const { value } = stored;
  if (value.length > COPIED_BYTES) return [Buffer.from(ENTRY_OPEN), value, tail];
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
  return { latin1: ENTRY_OPEN + bytes.toString("latin1") + tail.toString("latin1") };
}

/** The envelope around data that is given as JSON text in pieces, each written where it is to stand unless it is large. */
export function dataBody(data: readonly Piece[]): AnswerBody {
  const pieces = [ENTRY_OPEN, ...data, "}"];
  const length = pieces.reduce((sum, piece) => sum + Buffer.byteLength(piece), 0);
  if (length > STREAM_BYTES) return { groups: inGroups(envelope(data)), length };
  const body = Buffer.allocUnsafeSlow(length);
  let at = 0;
  for (const piece of pieces) {
    if (typeof piece === "string") at += body.write(piece, at);
    else {
      body.set(piece, at);
      at += piece.length;
    }
  }
  return body;
}

/** Sends an answer; throws where a field of it cannot be sent. */
export function send(response: TextResponse, { status, head, own, body, text }: Answer, more: readonly string[]): void {
  if (text !== null && response.takesText) {
    response.sendText(status, linesOf(more) + text);
    return;
  }
  // Spelled out: that of an answer which failed halfway would stay.
  response.writeHead(status, reasonOf(status), [...head.fields, ...own, ...more]);
  if (body === null) response.end();
  else if ("latin1" in body) response.end(body.latin1, "latin1");
  else if (body instanceof Uint8Array) response.end(body);
  else if ("groups" in body) {
    // Who is gone needs no answer.
    pipeline(Readable.from(body.groups), response).catch(() => {});
  } else {
    for (const part of body) response.write(part);
    response.end();
  }
}
