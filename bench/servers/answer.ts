/** What the two baselines share. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Captured } from "./captured.ts";

/** The service's own, which is in each of its answers (`Keep-Alive: timeout=65`). */
export const KEEP_ALIVE_MS = 65_000;

export interface Model {
  status: number;
  headers: Readonly<Record<string, string>>;
}

/** Captured headers as an object, with the length of this body where they tell one. */
export function modelOf({ status, headers }: Omit<Captured, "body">, body?: string | Buffer): Model {
  const length = (name: string) => body !== undefined && /^content-length$/i.test(name);
  const pairs = headers.map(([name, value]) => [name, length(name) ? String(Buffer.byteLength(body ?? "")) : value]);
  return { status, headers: Object.fromEntries(pairs) };
}

/** How the length is spelled among these headers, if it is there. */
export function lengthName({ headers }: Model): string | undefined {
  return Object.keys(headers).find((name) => /^content-length$/i.test(name));
}

export function readBody(request: IncomingMessage, done: (body: Buffer) => void): void {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => done(Buffer.concat(chunks)));
}

/** Answers a write with the value that came: `length` is how the model spells that header. */
export function answerWrite(
  response: ServerResponse,
  { status, headers }: Model,
  length: string | undefined,
  pieces: readonly Buffer[],
): void {
  const body = Buffer.concat(pieces);
  response.writeHead(status, length === undefined ? headers : { ...headers, [length]: body.length }).end(body);
}
