/** The log of the command: a line an entry, as text or as JSON. */
import type { LogEntry } from "../log.ts";

export const LOG_FORMATS = ["text", "json"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** How long an access line waits for others to be written with it. Errors and warnings go out at once. */
const LOG_MS = 20;
let format: LogFormat = "text";
let lines = "";

/** From now on; before it is known, it is text. */
export function setLogFormat(chosen: LogFormat): void {
  format = chosen;
}

export function log(entry: LogEntry): void {
  const line = format === "json" ? jsonOf(entry) : textOf(entry);
  if (entry.level !== "info") {
    process.stderr.write(line);
    return;
  }
  if (lines === "") setTimeout(flushLog, LOG_MS);
  lines += line;
}

export function flushLog(): void {
  // Which it mostly is, and which is written twice as fast.
  process.stdout.write(lines, isAscii(lines) ? "latin1" : "utf8");
  lines = "";
}

function isAscii(text: string): boolean {
  return !/[^\0-\x7f]/.test(text);
}

/** One object and one line, whatever is in it. */
function jsonOf({ time, level, message, ...rest }: LogEntry): string {
  return `${JSON.stringify({ time, level, message, ...rest })}\n`;
}

/** How the last line began: those of one millisecond mostly begin alike. */
let start = { time: "", message: "", text: "" };

function startOf({ time, level, message }: LogEntry): string {
  if (time !== start.time || message !== start.message) start = { time, message, text: `${time} ${level} ${message}` };
  return start.text;
}

function textOf(entry: LogEntry): string {
  const { requestId, duration, cause } = entry;
  let line = startOf(entry);
  if (duration !== undefined) line += ` ${duration} ms`;
  if (requestId !== undefined) line += ` [${requestId}]`;
  return line + (cause === undefined ? "\n" : `\n${cause}\n`);
}

const now = () => new Date().toISOString();

export function warn(message: string): void {
  log({ level: "warn", message, time: now() });
}

/** What the command says of itself, in one piece. In text it is for people, and without the time. */
export function say(messages: readonly string[]): void {
  const lineOf = (message: string) =>
    format === "json" ? jsonOf({ level: "info", message, time: now() }) : `${message}\n`;
  process.stdout.write(messages.map(lineOf).join(""));
}

/** Why the command ends, as one line. */
export function fail(message: string): void {
  process.stderr.write(format === "json" ? jsonOf({ level: "error", message, time: now() }) : `${message}\n`);
}
