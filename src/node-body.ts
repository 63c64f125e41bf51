import type { IncomingMessage } from "node:http";
import { KvError } from "./core/errors.ts";
import { createJsonScanner, type JsonScannerOptions, type ScannedBody } from "./core/json-scanner.ts";
import { DRAIN_BYTES, DRAIN_MS } from "./core/limits.ts";

/** The body in one piece, checked as it arrives; rejects as the scanner does, once nothing more is on its way. */
export function readBody(request: IncomingMessage, options: JsonScannerOptions) {
  return new Promise<ScannedBody & { bytes: Uint8Array }>((resolve, reject) => {
    const scanner = createJsonScanner(options);
    const bytes = Buffer.allocUnsafeSlow(Number(request.headers["content-length"]));
    let at = 0;
    let refuse: (() => void) | null = null;

    function take(chunk: Buffer): void {
      at += chunk.length;
      if (refuse !== null) {
        if (at > DRAIN_BYTES) refuse();
        return;
      }
      try {
        scanner.write(chunk);
        chunk.copy(bytes, at - chunk.length);
      } catch (error) {
        at = 0;
        refuse = () => reject(error);
        setTimeout(refuse, DRAIN_MS);
      }
    }

    request.on("data", take);
    request.on("end", () => {
      if (refuse !== null) return refuse();
      try {
        resolve({ ...scanner.end(), bytes });
      } catch (error) {
        reject(error);
      }
    });
    request.on("close", () => {
      if (!request.complete) reject(new KvError("invalid_request", "The body ended before it was complete"));
    });
  });
}

/** Resolves when a body that nobody wants has come, or soon: a client that is still sending would not see the refusal. */
export function drained(request: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    const late = setTimeout(resolve, DRAIN_MS);
    request
      .resume()
      .once("close", resolve)
      .once("end", () => {
        clearTimeout(late);
        resolve();
      });
  });
}
