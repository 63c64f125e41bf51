/** Answers of the service, taken down so that a baseline can give the same. */
import { readFileSync } from "node:fs";
import { Agent, request } from "node:http";

export interface Captured {
  status: number;
  /** In their order, without those that `node:http` adds by itself. */
  headers: [name: string, value: string][];
  body: Buffer;
}

export interface CaptureOptions {
  method?: string;
  headers?: Readonly<Record<string, string>>;
  body?: string | Uint8Array;
}

/** How a file keeps them, each under what is asked: the method and the target, and the tag of `If-None-Match`. */
export type CapturedFile = Record<string, Omit<Captured, "body"> & { body: string }>;

/** How every success of the service begins, and how the body of a write does. */
export const OPEN = Buffer.from('{"status":200,"success":true,"data":');
export const PUT_OPEN = '{"value":';

const ADDED = new Set(["date", "connection", "keep-alive", "transfer-encoding"]);
const agent = new Agent({ keepAlive: true });

export function capture(url: string, { method = "GET", headers = {}, body }: CaptureOptions = {}): Promise<Captured> {
  const length = body === undefined ? {} : { "Content-Length": Buffer.byteLength(body) };
  return new Promise((done, fail) => {
    const sent = request(url, { method, headers: { ...headers, ...length }, agent }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on("data", (chunk: Buffer) => chunks.push(chunk));
      answer.once("error", fail);
      answer.once("end", () => {
        const pairs = Array.from({ length: answer.rawHeaders.length / 2 }, (_, at) => {
          return [answer.rawHeaders[at * 2] ?? "", answer.rawHeaders[at * 2 + 1] ?? ""] as [string, string];
        });
        const kept = pairs.filter(([name]) => !ADDED.has(name.toLowerCase()));
        done({ status: answer.statusCode ?? 0, headers: kept, body: Buffer.concat(chunks) });
      });
    });
    sent.once("error", fail);
    sent.end(body);
  });
}

export function serialised(answers: ReadonlyMap<string, Captured>): string {
  const entries = [...answers].map(([asked, answer]) => [asked, { ...answer, body: answer.body.toString("base64") }]);
  return JSON.stringify(Object.fromEntries(entries));
}

export function readCaptured(file: string): Map<string, Captured> {
  const text = JSON.parse(readFileSync(file, "utf8")) as CapturedFile;
  return new Map(
    Object.entries(text).map(([asked, answer]) => [asked, { ...answer, body: Buffer.from(answer.body, "base64") }]),
  );
}
