import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

/** So many requests of one connection are served in one turn of the event loop; then the others have theirs. */
const IN_ONE_TURN = 8;

interface Line {
  /** The answer to the last request that came. */
  last: ServerResponse;
  /** The answer whose turn it is. */
  current: ServerResponse;
  /** How many requests have been served that did not wait for the answer before. */
  served: number;
  /** What is to happen in place of serving the last. */
  instead?: () => void;
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

  function begin(line: Line, response: ServerResponse): void {
    const { req } = response;
    // The answer before has ended the connection: what comes after it is not done (RFC 9112, section 9.6).
    if (!req.socket.writable) return;
    line.current = response;
    if (line.instead !== undefined && line.last === response) line.instead();
    else respond(req, response);
  }

  function serve(line: Line, response: ServerResponse): void {
    line.served += 1;
    if (line.served % IN_ONE_TURN !== 0) {
      begin(line, response);
      return;
    }
    const resume = pause(line, response);
    setImmediate(() => {
      resume();
      begin(line, response);
    });
  }

  return {
    answer(request: IncomingMessage, response: ServerResponse): void {
      const line = lines.get(request.socket);
      if (line === undefined) {
        lines.set(request.socket, { last: response, current: response, served: 1 });
        respond(request, response);
        return;
      }
      const before = line.last;
      line.last = response;
      if (before.closed) {
        line.served = 1;
        begin(line, response);
        return;
      }
      const resume = pause(line, response);
      before.once("close", () => {
        resume();
        serve(line, response);
      });
    },

    /** The answer that is going out on a connection, or was the last to. */
    answerOf: (socket: Duplex) => lines.get(socket)?.current,

    /**
     * Refuses what came last on a connection, once the requests before it have their answers. Where that is the rest of a
     * request that has its answer already, the connection ends without another.
     */
    refuseLast(socket: Duplex, refuse: () => void): void {
      const line = lines.get(socket);
      if (line === undefined) {
        refuse();
        return;
      }
      const { last } = line;
      const over = last.req.complete ? refuse : () => socket.end();
      if (last.closed) over();
      else if (last.req.complete || last.writableEnded) last.once("close", over);
      else if (line.current === last) refuse();
      else line.instead = refuse;
    },
  };
}
