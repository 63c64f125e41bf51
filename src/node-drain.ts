/** The end of an HTTP server that cuts no answer off and leaves no request undone that was on its way. */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { Server as NetServer, type Socket } from "node:net";

/** How long what is in flight may take once the server is closing. */
export const GRACE_MS = 10_000;

/** A connection must have been silent for so long: a request may be on its way. */
const SILENCE_MS = 100;

/** With the answer that the connection is giving, as Node's server keeps it. */
type HttpSocket = Socket & { _httpMessage?: ServerResponse | null };

/**
 * Ends a server when what this returns is called, which resolves when its last connection has ended. It listens no more,
 * answers say from then on that they are their connection's last (RFC 9112, section 9.6), connections that are silent are
 * ended, and what is still open after 10 s is cut.
 */
export function drainOf(server: Server): () => Promise<void> {
  const sockets = new Set<HttpSocket>();
  server.on("connection", (socket: HttpSocket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });

  /** What each silent connection had brought when it was last looked at, in bytes. */
  const brought = new Map<HttpSocket, number>();

  function endSilent(): void {
    for (const socket of sockets) {
      if (socket._httpMessage) brought.delete(socket);
      else if (brought.get(socket) === socket.bytesRead) socket.destroy();
      else brought.set(socket, socket.bytesRead);
    }
  }

  return async function drain() {
    for (const { _httpMessage: answer } of sockets) if (answer) makeLast(answer);
    const last = (_request: IncomingMessage, answer: ServerResponse) => makeLast(answer);
    for (const event of ["request", "checkContinue", "checkExpectation"]) server.prependListener(event, last);
    // The close() of node:http itself ends at once what is idle, and what is written but not sent yet.
    const ended = new Promise<void>((resolve) => NetServer.prototype.close.call(server, () => resolve()));
    endSilent();
    // After what has arrived has been read: a timer that is late comes before that.
    const silence = setInterval(() => setImmediate(endSilent), SILENCE_MS);
    const late = setTimeout(() => server.closeAllConnections(), GRACE_MS);
    await ended;
    clearInterval(silence);
    clearTimeout(late);
    server.close();
  };
}

function makeLast(answer: ServerResponse): void {
  if (!answer.headersSent) answer.shouldKeepAlive = false;
}
