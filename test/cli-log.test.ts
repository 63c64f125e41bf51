/** What the command's log writes, by a process that does nothing else. */
import { execFileSync } from "node:child_process";
import { resolve } from "node:path";
import { expect, it } from "vitest";
import type { LogEntry } from "../src/log.ts";

const LOG = resolve("src/cli/log.ts");

function written(entries: readonly LogEntry[]): string {
  const code = `import { readFileSync } from "node:fs";
    import { flushLog, log } from ${JSON.stringify(LOG)};
    for (const entry of JSON.parse(readFileSync(0))) log(entry);
    flushLog();`;
  const options = { input: JSON.stringify(entries), maxBuffer: 100_000_000 };
  return execFileSync(process.execPath, ["--input-type=module", "-e", code], options).toString();
}

const time = "2026-11-24T00:00:00.000Z";
const line = (message: string, requestId: string): LogEntry => ({
  ...{ level: "info", message, time, requestId, method: "GET", status: 200, duration: 0.123 },
});

it("has every line in its order, whatever its letters and however many there are", () => {
  const messages = [
    "GET /v1/kv/:key 200",
    "GET /größe/😀/:key 200",
    "GET /v1/kv/:key 200",
    `GET /${"é".repeat(9000)} 200`,
  ];
  const entries = Array.from({ length: 2000 }, (_, index) => line(messages[index % 4] as string, `id-${index}`));
  expect(written(entries)).toBe(
    entries.map(({ message, requestId }) => `${time} info ${message} 0.123 ms [${requestId}]\n`).join(""),
  );
});

it("has a line that is longer than all that waits", () => {
  const entries = [line("first", "a"), line("x".repeat(100_000), "b"), line("last", "c")];
  expect(written(entries)).toBe(
    entries.map(({ message, requestId }) => `${time} info ${message} 0.123 ms [${requestId}]\n`).join(""),
  );
});
