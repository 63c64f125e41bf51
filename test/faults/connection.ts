/** One HTTP/1.1 connection that is kept alive and knows, where there is no answer, what became of it. */
import { connect, type Socket } from "node:net";
import { KEY } from "../support.ts";

export interface Answered {
  status: number;
  /** Names in lower case. */
  headers: Record<string, string>;
  text: string;
}

/**
 * Why there is no answer: nobody listens, the connection ended before the first byte of one, it ended in the middle, or we
 * ended it ourselves.
 */
export type Unanswered = "refused" | "untouched" | "cut" | "left";

export interface RequestParts {
  headers?: Record<string, string>;
  /** JSON text. */
  body?: string;
}

export interface Connection {
  /** One at a time. A connection that has ended is replaced by a new one. */
  ask(method: string, path: string, parts?: RequestParts): Promise<Answered | Unanswered>;
  /** How many requests the present connection has carried, this one counted. */
  readonly carried: number;
  /** What the last connection that failed said. */
  readonly reason: string;
  /** Ends the connection without waiting for an answer. */
  leave(): void;
}

export function openConnection(url: string): Connection {
  const { hostname, port } = new URL(url);
  let socket: Socket | null = null;
  let received = Buffer.alloc(0);
  let carried = 0;
  let reason = "";
  let settle = (_outcome: Answered | Unanswered) => {};

  function open(): Socket {
    const opened = connect({ port: Number(port), host: hostname, noDelay: true });
    received = Buffer.alloc(0);
    carried = 0;
    opened.on("data", (chunk) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      const answer = answerIn(received);
      if (answer === null) return;
      received = received.subarray(answer.length);
      if (answer.headers.connection === "close" && socket === opened) socket = null;
      settle(answer);
    });
    opened.on("error", (error: NodeJS.ErrnoException) => {
      reason = `${error.syscall} ${error.code}`;
      if (error.code === "ECONNREFUSED") settle("refused");
    });
    opened.on("close", () => {
      if (socket !== opened) return;
      socket = null;
      settle(received.length === 0 ? "untouched" : "cut");
    });
    return opened;
  }

  function ask(method: string, path: string, { headers = {}, body }: RequestParts = {}) {
    socket ??= open();
    carried += 1;
    const json = body === undefined ? {} : { "Content-Type": "application/json" };
    const length = body === undefined ? {} : { "Content-Length": Buffer.byteLength(body) };
    const fields = Object.entries({ Host: `${hostname}:${port}`, Authorization: `Bearer ${KEY}`, ...json, ...length });
    const lines = [...fields, ...Object.entries(headers)].map(([name, value]) => `${name}: ${value}\r\n`);
    const sent = socket;
    return new Promise<Answered | Unanswered>((resolve) => {
      settle = resolve;
      sent.write(`${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n${body ?? ""}`);
    });
  }

  return {
    ask,
    get carried() {
      return carried;
    },
    get reason() {
      return reason;
    },
    leave() {
      socket?.destroy();
      socket = null;
      settle("left");
    },
  };
}

/** The first whole answer and how many bytes it takes, or `null`. */
function answerIn(bytes: Buffer): (Answered & { length: number }) | null {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return null;
  const [line = "", ...fields] = bytes.toString("latin1", 0, end).split("\r\n");
  const headers = Object.fromEntries(fields.map((field) => splitField(field)));
  const status = Number(line.split(" ")[1]);
  if (status !== 304 && headers["content-length"] === undefined) throw new Error(`Expected a length: ${line}`);
  const length = end + 4 + (status === 304 ? 0 : Number(headers["content-length"]));
  if (bytes.length < length) return null;
  return { status, headers, text: bytes.toString("utf8", end + 4, length), length };
}

function splitField(field: string): [string, string] {
  const colon = field.indexOf(":");
  return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()];
}
