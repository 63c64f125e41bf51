import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

/** So many requests of one connection are served in one turn of the event loop; then the others have theirs. */
const IN_ONE_TURN = 64;

interface Line {
  /** The answer to the last request that came. */
  last: ServerResponse;
  /** How many requests have been served. */
  served: number;
}

/**
 * Serves requests that were sent without waiting for answers in their order (RFC 9112, section 9.3.2), however many come on a
 * connection: no more of them are read before the last one has its turn.
 */
export function inOrder(respond: (request: IncomingMessage, response: ServerResponse) => void) {
  const lines = new WeakMap<Duplex, Line>();

  /** Node reads on after each request of the piece that it has, so not before that is over. */
  function pause(line: Line, response: ServerResponse): () => void {
    const { socket } = response.req;
    let waits = true;
    process.nextTick(() => waits && socket.pause());
    return () => {
      waits = false;
      if (line.last === response) socket.resume();
    };
  }

  function serve(line: Line, request: IncomingMessage, response: ServerResponse): void {
    line.served += 1;
    if (line.served % IN_ONE_TURN !== 0) {
      respond(request, response);
      return;
    }
    const resume = pause(line, response);
    setImmediate(() => {
      resume();
      respond(request, response);
    });
  }

  return {
    /** The answer to the last request that came on a connection. */
    answerOf: (socket: Duplex) => lines.get(socket)?.last,

    answer(request: IncomingMessage, response: ServerResponse): void {
      const { socket } = request;
      const line = lines.get(socket);
      if (line === undefined) {
        lines.set(socket, { last: response, served: 1 });
        respond(request, response);
        return;
      }
      const before = line.last;
      line.last = response;
      if (before.writableEnded) {
        serve(line, request, response);
        return;
      }
      const resume = pause(line, response);
      before.once("close", () => {
        resume();
        serve(line, request, response);
      });
    },
  };
}
