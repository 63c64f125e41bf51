/** The only place where an answer is made. */
import type { Context } from "hono";
import type { StatusCode } from "hono/utils/http-status";
import { concat, encoder, lengthOf } from "../core/bytes.ts";
import type { StoredEntry } from "../core/entry.ts";
import type { KvError } from "../core/errors.ts";
import { STREAM_BYTES } from "../core/limits.ts";

/** JSON text, as a string or in UTF-8. */
export type Piece = string | Uint8Array;

type Headers = Readonly<Record<string, string>>;
type Content = string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;

/** On every answer: it is what it says it is, nobody else keeps it, and links in it tell nobody where they were found. */
export const SAFE_HEADERS = {
  "Cache-Control": "no-store",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
} as const;

/** For a read: the caller may keep it and ask whether it still holds. */
export const READ_HEADERS = { "Cache-Control": "private, no-cache" } as const;

/** How every success begins. */
export const ENTRY_OPEN = '{"status":200,"success":true,"data":';
const RETRY_AFTER_SECONDS = "1";
export const NDJSON_TYPE = "application/x-ndjson";
export const JSON_TYPE = "application/json";
export const PROBLEM_TYPE = "application/problem+json";

/** `{"status":200,"success":true,"data":…}` */
export function data(c: Context, value: unknown): Response {
  return text(c, [JSON.stringify(value)]);
}

/** The envelope around a stored entry, its value's text untouched. */
export function entry(c: Context, stored: StoredEntry, headers: Headers = {}): Response {
  return text(c, [stored.value, attributes(stored)], { ETag: etag(stored.version), ...headers }, Infinity);
}

/** `data` given as JSON text in pieces; an answer of more than `wholeBytes` is not copied into one piece. */
export function text(c: Context, pieces: readonly Piece[], headers: Headers = {}, wholeBytes = STREAM_BYTES): Response {
  const bytes = envelope(pieces);
  const length = lengthOf(bytes);
  // What was written has happened: its answer is counted and not refused.
  if (length > STREAM_BYTES) c.var.hold(length, c.req.method === "GET" ? 1 : Infinity);
  const body = length > wholeBytes ? stream(bytes) : concat(bytes);
  return answer(c, 200, body, { "Content-Type": JSON_TYPE, ...headers });
}

/** Every answer is made here, so that none is without what all of them have. */
function answer(c: Context, status: StatusCode, body: Content | null, headers: Headers): Response {
  return c.newResponse(body, status, { ...SAFE_HEADERS, ...headers });
}

/** The bytes of a success around its data. */
export function envelope(pieces: readonly Piece[]): Uint8Array[] {
  const bytes: Uint8Array[] = [];
  let run = ENTRY_OPEN;
  for (const piece of pieces) {
    if (typeof piece === "string") run += piece;
    else {
      bytes.push(encoder.encode(run), piece);
      run = "";
    }
  }
  bytes.push(encoder.encode(`${run}}`));
  return bytes;
}

function stream(pieces: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  const groups = inGroups(pieces);
  return new ReadableStream({
    pull(controller) {
      const { done, value } = groups.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
}

/** What a large answer is sent in. */
export function* inGroups(pieces: readonly Uint8Array[]): Generator<Uint8Array, void> {
  for (let next = 0; next < pieces.length; ) {
    const start = next;
    let length = 0;
    while (next < pieces.length && length < STREAM_BYTES) length += pieces[next++]?.length ?? 0;
    yield concat(pieces.slice(start, next));
  }
}

/** Newline-delimited JSON, made as it is read; `done` is called when it has ended, however it did. */
export function ndjson(c: Context, lines: AsyncGenerator<Uint8Array>, headers: Headers, done: () => void): Response {
  let gone = false;
  const end = async () => {
    gone = true;
    await lines.return(undefined);
    done();
  };
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done: ended, value } = await lines.next();
          if (gone) return;
          if (!ended) return controller.enqueue(value);
          controller.close();
        } catch (error) {
          breakOff(c);
          c.get("report")(error);
          controller.error(new Error("The answer broke off"));
        }
        await end();
      },
      cancel: end,
    },
    { highWaterMark: 0 },
  );
  return answer(c, 200, body, { "Content-Type": NDJSON_TYPE, ...headers });
}

/** Ends the connection where Node's adapter would end the answer, which must not look complete. */
function breakOff(c: Context): void {
  (c.env as { outgoing?: { destroy(): void } } | undefined)?.outgoing?.destroy();
}

/** An answer without a body. */
export function empty(c: Context, status: 204 | 304, headers: Headers): Response {
  return answer(c, status, null, headers);
}

/** A document that is not an envelope. */
export function document(c: Context, value: unknown): Response {
  return answer(c, 200, JSON.stringify(value), { "Content-Type": JSON_TYPE });
}

/** Text of a type of its own. */
export function plain(c: Context, type: string, content: string): Response {
  return answer(c, 200, content, { "Content-Type": type });
}

/** The envelope of an answer that is not a success, at once a problem document (RFC 9457). */
export function problem(c: Context, error: KvError): Response {
  const { status, headers, text } = problemParts(error, c.get("requestId") ?? crypto.randomUUID());
  return answer(c, status as StatusCode, text, headers);
}

/** What {@link problem} is made of, for a server that answers without a context. */
export function problemParts(error: KvError, requestId: string) {
  const headers = {
    ...SAFE_HEADERS,
    "Content-Type": PROBLEM_TYPE,
    "X-Request-Id": requestId,
    ...(error.code === "unavailable" && { "Retry-After": RETRY_AFTER_SECONDS }),
    ...error.headers,
  };
  return { status: error.status, headers, text: problemText(error, requestId) };
}

/** The text of {@link problem}, for a server that must answer without a request. */
export function problemText(error: KvError, requestId: string): string {
  return JSON.stringify({
    ...refusal(error),
    title: error.title,
    instance: requestId,
    issues: error.issues,
    failed: error.failed,
  });
}

/** What every refusal says, that of an operation in a batch too. */
export function refusal(error: KvError) {
  return { status: error.status, success: false, data: null, error: error.code, detail: error.message };
}

/** A strong entity tag (RFC 9110, section 8.8.3). */
export function etag(version: string): string {
  return `"${version}"`;
}

/** The members of an entry that stand beside its value, each with a comma before it; empty where it has none. */
export function attributes({ metadata, expiresAt }: Pick<StoredEntry, "metadata" | "expiresAt">): string {
  return `${metadata === null ? "" : `,"metadata":${metadata}`}${expiresAt === null ? "" : `,"expiration":${expiresAt / 1000}`}`;
}
