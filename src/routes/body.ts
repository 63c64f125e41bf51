import type { Context } from "hono";
import { decoder, withRoom } from "../core/bytes.ts";
import { KvError } from "../core/errors.ts";
import { createJsonScanner, type JsonScannerOptions } from "../core/json-scanner.ts";
import { BODY_OVERHEAD_BYTES, DRAIN_BYTES, DRAIN_MS, type Limits, putBytes } from "../core/limits.ts";
import { within } from "../core/within.ts";
import type { NewEntry } from "../storage/store.ts";
import { JSON_TYPE } from "./respond.ts";
import type { PutBody } from "./schema.ts";

/** A request body: its own members parsed, its values left as the text that they came in. */
export interface RequestBody {
  body: unknown;
  /** The text of the value that `body` holds as this index. */
  text(index: unknown): Uint8Array;
}

/** What a put stores: the texts that its body's members stand for. */
export function newEntry({ value, metadata, ttl, expiration }: PutBody, text: RequestBody["text"]): NewEntry {
  const metadataText = metadata === undefined ? null : decoder.decode(text(metadata));
  return { value: text(value), metadata: metadataText === "null" ? null : metadataText, ttl, expiration };
}

/** How the body of a put is read. */
export function putBody(limits: Limits): JsonScannerOptions & { maxBytes: number } {
  return {
    depth: limits.depth,
    levels: 1,
    raw: ["value", "metadata"],
    ownBytes: BODY_OVERHEAD_BYTES,
    maxBytes: putBytes(limits),
  };
}

/** Throws `unsupported_media_type` where a request's body is not JSON. */
export function checkJsonType(c: Context): void {
  checkMediaType(c, JSON_TYPES, JSON_TYPE);
}

/** Reads and checks a JSON body. Throws `too_large`, and what the scanner throws. */
export async function readBody(c: Context, options: JsonScannerOptions & { maxBytes: number }): Promise<RequestBody> {
  const { maxBytes } = options;
  const length = Number(c.req.header("Content-Length") ?? 0);
  if (length > maxBytes) throw tooLarge(maxBytes, length);

  c.var.hold(length);
  const scanner = createJsonScanner(options);
  let buffer = new Uint8Array(length);
  let size = 0;
  for await (const chunk of chunks(c)) {
    const at = size;
    size += chunk.length;
    if (size > maxBytes) throw tooLarge(maxBytes, size);
    scanner.write(chunk);
    if (size > length) c.var.hold(chunk.length);
    buffer = withRoom(buffer, size);
    buffer.set(chunk, at);
  }
  const { body, spans } = scanner.end();
  // A view where the values are most of what was read, else a copy, so that nothing small keeps a large buffer alive.
  const views = spans.reduce((sum, [start, end]) => sum + end - start, 0) > size / 2;
  return {
    body,
    text(index) {
      const text = buffer.subarray(...(spans[index as number] as [number, number]));
      return views ? text : text.slice();
    },
  };
}

const JSON_TYPES = /^(application\/json|text\/json|[\w.!#$&^-]+\/[\w.!#$&^+-]+\+json)$/;

/**
 * Only JSON in UTF-8, as it is: a browser's form can send none of these media types without a preflight. A request of two
 * lengths (RFC 9112, section 6.1) is refused by most servers before it comes here, not by workerd.
 */
export function checkMediaType(c: Context, accepted: RegExp, expected: string): void {
  if (c.req.header("Content-Length") !== undefined && c.req.header("Transfer-Encoding") !== undefined) {
    throw new KvError("invalid_request", "Expected Content-Length or Transfer-Encoding, got both");
  }
  const [type = "", ...parameters] = (c.req.header("Content-Type") ?? "").toLowerCase().split(";");
  const charset =
    parameters.map((parameter) => /^charset\s*=\s*"?([^"\s]*)"?$/.exec(parameter.trim())?.[1]).find(Boolean) ?? "utf-8";
  if (!accepted.test(type.trim())) {
    const got = type === "" ? "none" : JSON.stringify(type.trim().slice(0, 64));
    throw new KvError(
      "unsupported_media_type",
      `Expected a body of Content-Type ${expected}, got ${got}; with curl add -H 'Content-Type: ${expected}'`,
    );
  }
  if (!/^utf-?8$/.test(charset)) {
    throw new KvError("unsupported_media_type", "Expected JSON in UTF-8, got another charset");
  }
  if ((c.req.header("Content-Encoding") ?? "identity").trim().toLowerCase() !== "identity") {
    throw new KvError("unsupported_media_type", "Expected a body without Content-Encoding");
  }
}

export async function* chunks(c: Context): AsyncGenerator<Uint8Array> {
  const reader = (c.req.raw.body as ReadableStream<Uint8Array> | null)?.getReader();
  if (reader === undefined) return;
  let ended = false;
  try {
    while (true) {
      const { done, value } = await reader.read().catch((cause: unknown) => {
        throw new KvError("invalid_request", "The body ended before it was complete", { cause });
      });
      ended = done;
      if (done) return;
      yield value;
    }
  } finally {
    // A client that is still sending would not see a refusal: what is on its way is taken first.
    if (!ended)
      await within(
        DRAIN_MS,
        drain(reader).catch(() => {}),
      );
    reader.releaseLock();
  }
}

async function drain(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  for (let left = DRAIN_BYTES; left > 0; ) {
    const { done, value } = await reader.read();
    if (done) return;
    left -= value.length;
  }
}

function tooLarge(maxBytes: number, got: number): KvError {
  return new KvError("too_large", `Expected a body of at most ${maxBytes} bytes, got ${got} or more`);
}
