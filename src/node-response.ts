import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

// To import a module of Node's loads whatever its exports name.
const http = process.getBuiltinModule("node:http");

/**
 * A response whose answer may go out as one text: of a small one, most of what Node does is for the fields of its header and
 * for a body that comes in pieces.
 */
export interface TextResponse extends ServerResponse {
  /** Whether {@link sendText} can be used: the connection waits for this answer and stays open after it. */
  readonly takesText: boolean;
  /** Sends a whole answer in Latin-1: `text` is fields as lines, an empty line and the body. */
  sendText(status: number, text: string): void;
}

/** The words of a status (RFC 9110, section 15). */
export function reasonOf(status: number): string {
  return http.STATUS_CODES[status] ?? "";
}

/** The class for a server that keeps idle connections for so long, in milliseconds. */
export function textResponse(keepAliveTimeout: number): typeof ServerResponse {
  const startOf = starts(`Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(keepAliveTimeout / 1000)}\r\n`);

  class Response<Request extends IncomingMessage> extends http.ServerResponse<Request> implements TextResponse {
    #sent = false;
    #written = false;

    get takesText(): boolean {
      const { socket, req } = this;
      return socket?.writable === true && this.shouldKeepAlive && req.httpVersion === "1.1" && !this.headersSent;
    }

    sendText(status: number, text: string): void {
      const socket = this.socket as Socket;
      this.#sent = true;
      this.finished = true;
      this.statusCode = status;
      socket.write(startOf(status) + text, "latin1");
      // Mostly the system takes it at once. What is written after it is nothing, and tells when.
      if (socket.writableLength === 0) this.#finish(null);
      else socket.write("", (error) => this.#finish(error));
    }

    #finish(error: Error | null | undefined): void {
      if (error != null || this.socket?.destroyed !== false) return;
      this.#written = true;
      this.emit("finish");
    }

    static {
      or(Response.prototype, "headersSent", (response) => response.#sent);
      or(Response.prototype, "writableFinished", (response) => response.#written);
    }
  }
  return Response;
}

/** Lets a getter be true where `holds` is, too. */
function or<T extends ServerResponse>(prototype: T, name: keyof ServerResponse, holds: (response: T) => boolean): void {
  const { get } = Object.getOwnPropertyDescriptor(http.OutgoingMessage.prototype, name) as { get(): boolean };
  Object.defineProperty(prototype, name, {
    get(this: T) {
      return holds(this) || get.call(this);
    },
  });
}

/** How the answers of a second begin (RFC 9110, section 6.6.1), up to the fields that are `lines`. */
function starts(lines: string): (status: number) => string {
  let second = Number.NaN;
  const made = new Map<number, string>();
  return (status) => {
    const now = Math.floor(Date.now() / 1000);
    if (now !== second) made.clear();
    second = now;
    let start = made.get(status);
    if (start === undefined) {
      const date = new Date(now * 1000).toUTCString();
      start = `HTTP/1.1 ${status} ${reasonOf(status)}\r\nDate: ${date}\r\n${lines}`;
      made.set(status, start);
    }
    return start;
  };
}
