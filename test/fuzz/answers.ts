/** Reads what came back on a connection and holds it to the contract. */
import { isKvErrorCode, statusOf } from "../../src/core/errors.ts";
import { type Input, LAST } from "./input.ts";

interface Answer {
  status: number;
  /** By their names in lower case; a field that comes twice has both values. */
  fields: Map<string, string[]>;
  body: Buffer;
  bodiless: boolean;
}

export interface Received {
  bytes: Buffer;
  /** Whether the connection broke, so that what was on its way may be lost. */
  broken: boolean;
  /** Whether the client has ended its half before the server did. */
  halfClosed: boolean;
}

/** What is wrong with the answers to an input, or an empty string. */
export function faultOf(input: Input, { bytes, broken, halfClosed }: Received): string {
  if (input.leaves) return "";
  const mayBeHead = Buffer.concat(input.pieces).includes("HEAD");
  const answers: Answer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const parsed = parse(bytes, at, mayBeHead);
    if (typeof parsed === "string") return broken ? "" : parsed;
    const { answer, end } = parsed;
    at = end;
    // An interim answer is none yet (RFC 9110, section 15.2).
    if (answer.status === 100) continue;
    const wrong = wrongWith(answer, input);
    if (wrong !== "") return `${wrong}: ${describe(answer)}`;
    answers.push(answer);
  }
  if (answers.length === 0) return broken || halfClosed ? "" : "The connection was ended without an answer";
  // Node drops what follows a request for an upgrade that is not wanted, where both come in one piece.
  const mayBeCut = broken || halfClosed || Buffer.concat(input.pieces).includes("Upgrade");
  return orderFault(answers, input, mayBeCut);
}

function parse(bytes: Buffer, at: number, mayBeHead: boolean): { answer: Answer; end: number } | string {
  const headEnd = bytes.indexOf("\r\n\r\n", at);
  if (headEnd === -1) return "The header of an answer is not whole";
  const [line = "", ...lines] = bytes.toString("latin1", at, headEnd).split("\r\n");
  const status = Number(/^HTTP\/1\.1 (\d{3}) [ -~]*$/.exec(line)?.[1]);
  if (!(status >= 100)) return `Not a status line: ${JSON.stringify(line.slice(0, 100))}`;
  const fields = new Map<string, string[]>();
  for (const field of lines) {
    const [, name, value] = /^([\w-]+): ([\t -~\x80-\xff]*)$/.exec(field) ?? [];
    if (name === undefined || value === undefined) return `Not a field: ${JSON.stringify(field)}`;
    fields.set(name.toLowerCase(), [...(fields.get(name.toLowerCase()) ?? []), value]);
  }
  const start = headEnd + 4;
  const nothing = start === bytes.length || bytes.subarray(start, start + 9).toString("latin1") === "HTTP/1.1 ";
  const answer = { status, fields, body: Buffer.alloc(0), bodiless: nothing };
  if (status < 200 || status === 204 || status === 304) return { answer, end: start };
  if (fields.has("transfer-encoding")) {
    if (nothing && mayBeHead) return { answer, end: start };
    return chunked(bytes, start, answer);
  }
  const lengths = fields.get("content-length") ?? [];
  // RFC 9110, section 9.3.2: it may be left out where it is not known without making the body.
  if (lengths.length === 0 && nothing && mayBeHead) return { answer, end: start };
  // What an HTTP/1.0 client gets of unknown length ends with the connection.
  if (lengths.length === 0 && closes(answer)) {
    return { answer: { ...answer, body: bytes.subarray(start), bodiless: false }, end: bytes.length };
  }
  if (lengths.length !== 1 || !/^\d+$/.test(lengths[0] ?? "")) return `Not one length: ${line}`;
  const length = Number(lengths[0]);
  if (nothing && mayBeHead) return { answer, end: start };
  const end = start + length;
  if (end > bytes.length) return `${end - bytes.length} bytes of ${length} are missing: ${line}`;
  return { answer: { ...answer, body: bytes.subarray(start, end), bodiless: false }, end };
}

function chunked(bytes: Buffer, start: number, answer: Answer): { answer: Answer; end: number } | string {
  const parts: Buffer[] = [];
  for (let at = start; ; ) {
    const lineEnd = bytes.indexOf("\r\n", at);
    const size = lineEnd === -1 ? Number.NaN : Number.parseInt(bytes.toString("latin1", at, lineEnd), 16);
    if (Number.isNaN(size) || lineEnd + 4 + size > bytes.length) return "The chunks of an answer are not whole";
    at = lineEnd + 2 + size;
    parts.push(bytes.subarray(lineEnd + 2, at));
    if (bytes.toString("latin1", at, at + 2) !== "\r\n") return "A chunk of an answer has another length";
    at += 2;
    if (size === 0) return { answer: { ...answer, body: Buffer.concat(parts), bodiless: false }, end: at };
  }
}

/** Statuses of 500 and more that an engine of this process may give. */
const MAY_FAIL: readonly string[] = ["unsupported", "unavailable"];

function wrongWith({ status, fields, body, bodiless }: Answer, { authorized }: Input): string {
  const ids = fields.get("x-request-id") ?? [];
  if (ids.length !== 1) return `${ids.length} request ids`;
  if (fields.has("server") || fields.has("x-powered-by")) return "It says what it is made of";
  if (status === 204 || status === 304) return status === 204 || fields.has("etag") ? "" : "304 without a tag";
  const [type = ""] = fields.get("content-type") ?? [];
  if (status >= 500 && bodiless) return status === 503 ? "" : "A fault of the server";
  if (status >= 400) {
    if (type !== "application/problem+json") return "Not a problem";
    if (bodiless) return "";
    return problemFault(status, body, ids[0] ?? "", fields);
  }
  if (status !== 200) return "Another status";
  if (type === "application/x-ndjson") return authorized ? "" : "Let in without a credential";
  if (type !== "application/json") return "Another type";
  if (bodiless) return "";
  const answer = jsonOf(body);
  if (answer === undefined) return "Not JSON";
  if (answer.openapi !== undefined) return "";
  if (answer.status !== 200 || answer.success !== true || !("data" in answer)) return "Not an envelope";
  return authorized || answer.data === "OK" ? "" : "Let in without a credential";
}

function problemFault(status: number, body: Buffer, id: string, fields: Answer["fields"]): string {
  const { error, success, data, title, detail, instance, ...rest } = jsonOf(body) ?? {};
  if (rest.status !== status || success !== false || data !== null) return "Not an envelope";
  if (!isKvErrorCode(error) || statusOf(error) !== status) return "An unknown code";
  if (typeof title !== "string" || typeof detail !== "string" || instance !== id) return "Members are missing";
  if (status >= 500 && !MAY_FAIL.includes(error)) return "A fault of the server";
  if (status === 503 && !fields.has("retry-after")) return "503 without Retry-After";
  if (status === 401 && !fields.has("www-authenticate")) return "401 without WWW-Authenticate";
  if (status === 405 && !fields.has("allow")) return "405 without Allow";
  return "";
}

function jsonOf(body: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body.toString("utf8"));
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** One answer a request, in their order; what an answer that ends the connection leaves out comes to nothing. */
function orderFault(answers: readonly Answer[], { sent, clean, sound }: Input, mayBeCut: boolean): string {
  const ids = sent.map(({ id }) => id);
  const places = answers
    .map(({ fields }) => ids.indexOf(fields.get("x-request-id")?.[0] ?? ""))
    .filter((at) => at >= 0);
  for (const [index, place] of places.entries()) {
    // The changed input may hold a request twice, or in another order.
    if (clean && index > 0 && place <= (places[index - 1] ?? 0)) return "Answers in another order";
  }
  if (answers.length > 1 && answers.slice(0, -1).some(closes)) return "An answer after one that ends the connection";
  if (!clean) return "";
  for (const { fields, bodiless } of answers) {
    const request = sent.find(({ id }) => id === fields.get("x-request-id")?.[0]);
    const length = Number(fields.get("content-length")?.[0] ?? 0);
    if (request && length > 0 && bodiless !== (request.method === "HEAD")) return `${request.method}: a body, or none`;
  }
  if (mayBeCut || !sound) return "";
  const ended = places.at(-1) === ids.indexOf(LAST) || closes(answers.at(-1) as Answer);
  return ended ? "" : "Requests without an answer";
}

function closes({ fields }: Answer): boolean {
  return fields.get("connection")?.some((value) => /close/i.test(value)) ?? false;
}

function describe({ status, fields, body }: Answer): string {
  return `${status} ${JSON.stringify([...fields])} ${body.toString("latin1").slice(0, 300)}`;
}
