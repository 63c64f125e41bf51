/** The log of the command: a line an entry, as text or as JSON. */
import type { LogEntry } from "../log.ts";

export const LOG_FORMATS = ["text", "json"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** How long an access line waits for others to be written with it. Errors and warnings go out at once. */
const LOG_MS = 20;
/** How many bytes wait at most. */
const LOG_BYTES = 65_536;
let format: LogFormat = "text";
/** What waits, as bytes: to put together as many strings would cost more than all else about a line. */
let waiting = Buffer.alloc(0);
let length = 0;

/** From now on; before it is known, it is text. */
export function setLogFormat(chosen: LogFormat): void {
  format = chosen;
}

export function log(entry: LogEntry): void {
  if (entry.level !== "info") {
    let line = "";
    write(entry, (piece) => {
      line += piece;
    });
    process.stderr.write(line);
    return;
  }
  if (length === 0) setTimeout(flushLog, LOG_MS);
  write(entry, add);
}

function add(text: string): void {
  // A character is three bytes at most.
  if (length + text.length * 3 > LOG_BYTES) flushLog();
  if (text.length * 3 > LOG_BYTES) {
    process.stdout.write(text);
    return;
  }
  if (waiting.length === 0) waiting = Buffer.allocUnsafeSlow(LOG_BYTES);
  const start = length;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit > 0x7f) {
      length = start + waiting.write(text, start);
      return;
    }
    waiting[length++] = unit;
  }
}

export function flushLog(): void {
  if (length === 0) return;
  // A copy: where output is not written at once, the next lines would be in it.
  process.stdout.write(Buffer.from(waiting.subarray(0, length)));
  length = 0;
}

/** One object and one line, whatever is in it. */
function jsonOf({ time, level, message, ...rest }: LogEntry): string {
  return `${JSON.stringify({ time, level, message, ...rest })}\n`;
}

/** How the last line began: those of one millisecond mostly begin alike. */
let lastStart = { time: "", message: "", text: "" };

function startOf({ time, level, message }: LogEntry): string {
  if (time !== lastStart.time || message !== lastStart.message)
    lastStart = { time, message, text: `${time} ${level} ${message}` };
  return lastStart.text;
}

/** Gives a line to `put`, in pieces. */
function write(entry: LogEntry, put: (piece: string) => void): void {
  if (format === "json") {
    put(jsonOf(entry));
    return;
  }
  const { requestId, duration, cause } = entry;
  put(startOf(entry));
  if (duration !== undefined) {
    put(" ");
    put(String(duration));
    put(" ms");
  }
  if (requestId !== undefined) {
    put(" [");
    put(requestId);
    put("]");
  }
  put(cause === undefined ? "\n" : `\n${cause}\n`);
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
