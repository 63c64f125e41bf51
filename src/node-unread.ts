import type { Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { STREAM_BYTES } from "./core/limits.ts";
import type { Timeouts } from "./options.ts";

/** How often connections are looked at. */
const CHECK_MS = 1000;

/** What is watched of an answer that is going out. */
interface Watched {
  response: ServerResponse;
  /** What the connection had written when this was, in milliseconds. */
  bytes: number;
  since: number;
}

/**
 * Ends the connections of clients that do not read: where nothing of an answer has been taken for `idleTimeout`, and where in
 * `bodyTimeout` neither the rest of it nor a megabyte has, so that a trickle does not keep it for ever. Ends idle ones too.
 */
export function endUnread(
  server: Server,
  answerOf: (socket: Socket) => ServerResponse | undefined,
  { bodyTimeout, idleTimeout }: Timeouts,
): void {
  const sockets = new Map<Socket, Watched | undefined>();

  function look(socket: Socket, watched: Watched | undefined): void {
    const response = answerOf(socket);
    const now = performance.now();
    if (response?.headersSent !== true || response.writableFinished) {
      if (watched !== undefined) sockets.set(socket, undefined);
    } else if (watched?.response !== response) {
      // What the system takes of an answer counts as activity. The server takes the timer back when the answer is out: one
      // for every connection would cost each request something.
      socket.setTimeout(Math.ceil(idleTimeout * 1000));
      sockets.set(socket, { response, bytes: socket.bytesWritten, since: now });
    } else if (socket.bytesWritten - watched.bytes >= STREAM_BYTES) {
      sockets.set(socket, { response, bytes: socket.bytesWritten, since: now });
    } else if (now - watched.since > bodyTimeout * 1000) {
      socket.destroy();
    }
  }

  const timer = setInterval(() => {
    for (const [socket, watched] of sockets) look(socket, watched);
  }, CHECK_MS).unref();
  server.on("close", () => clearInterval(timer));
  server.on("connection", (socket) => {
    sockets.set(socket, undefined);
    socket.once("close", () => sockets.delete(socket));
  });
  // Before an answer the other timeouts hold.
  server.on("timeout", (socket: Socket) => {
    if (answerOf(socket)?.headersSent === true) socket.destroy();
  });
}
