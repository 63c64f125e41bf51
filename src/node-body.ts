import type { IncomingMessage } from "node:http";
import { KvError } from "./core/errors.ts";
import { createJsonScanner, type JsonScannerOptions, type ScannedBody } from "./core/json-scanner.ts";
import { DRAIN_BYTES, DRAIN_MS } from "./core/limits.ts";

/** The body in one piece, checked as it arrives; rejects as the scanner does, once nothing more is on its way. */
export async function readBody(request: IncomingMessage, options: JsonScannerOptions) {
  const bytes = Buffer.allocUnsafeSlow(Number(request.headers["content-length"]));
  let at = 0;
  const scanned = await scanBody(request, options, (chunk) => {
    at += chunk.copy(bytes, at);
  });
  return { ...scanned, bytes };
}

/** Checks a body as it arrives and gives away its chunks; rejects as the scanner does, once nothing more is on its way. */
export function scanBody(
  request: IncomingMessage,
  options: JsonScannerOptions,
  keep: (chunk: Buffer) => void,
): Promise<ScannedBody> {
  return new Promise((resolve, reject) => {
    const scanner = createJsonScanner(options);
    let refused = 0;
    let refuse: (() => void) | null = null;

    function take(chunk: Buffer): void {
      if (refuse !== null) {
        refused += chunk.length;
        if (refused > DRAIN_BYTES) refuse();
        return;
      }
      try {
        scanner.write(chunk);
        keep(chunk);
      } catch (error) {
        refuse = () => reject(error);
        setTimeout(refuse, DRAIN_MS);
      }
    }

    request.on("data", take);
    request.on("end", () => {
      if (refuse !== null) return refuse();
      try {
        resolve(scanner.end());
      } catch (error) {
        reject(error);
      }
    });
    request.on("close", () => {
      if (!request.complete) reject(new KvError("invalid_request", "The body ended before it was complete"));
    });
  });
}

/** How long a client may send what nobody wants before it is cut off, in milliseconds. */
const LINGER_MS = 2000;

/** Resolves when a body that nobody wants has come, or soon: a client that is still sending would not see the refusal. */
export function drained(request: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    const late = setTimeout(resolve, LINGER_MS);
    request
      .resume()
      .once("close", resolve)
      .once("end", () => {
        clearTimeout(late);
        resolve();
      });
  });
}
