import type { IncomingMessage, ServerResponse } from "node:http";

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
  const keepAlive = `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(keepAliveTimeout / 1000)}\r\n`;

  class Response<Request extends IncomingMessage> extends http.ServerResponse<Request> implements TextResponse {
    #sent = false;
    #written = false;

    get takesText(): boolean {
      const { socket, req } = this;
      return socket?.writable === true && this.shouldKeepAlive && req.httpVersion === "1.1" && !this.headersSent;
    }

    sendText(status: number, text: string): void {
      this.#sent = true;
      this.finished = true;
      this.statusCode = status;
      const line = `HTTP/1.1 ${status} ${reasonOf(status)}\r\n`;
      this.socket?.write(line + dateLine() + keepAlive + text, "latin1", (error) => {
        if (error != null) return;
        this.#written = true;
        this.emit("finish");
      });
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

let second = Number.NaN;
let date = "";

/** Made once a second (RFC 9110, section 6.6.1). */
function dateLine(): string {
  const now = Math.floor(Date.now() / 1000);
  if (now !== second) {
    second = now;
    date = `Date: ${new Date(now * 1000).toUTCString()}\r\n`;
  }
  return date;
}
