/** HTTP/1.1 on Node, so that whatever refuses a request does it in the service's envelope. */
import { randomUUID } from "node:crypto";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { KvError } from "./core/errors.ts";
import type { KvApp } from "./kv.ts";
import { fastListener } from "./node-fast.ts";
import { inOrder } from "./node-order.ts";
import { textResponse } from "./node-response.ts";
import { endUnread } from "./node-unread.ts";
import { problemText, SAFE_HEADERS } from "./routes/respond.ts";

// To import a module of Node's loads whatever its exports name: with `node:http` undici, which is 4 MiB.
const { createServer } = process.getBuiltinModule("node:http");

type Listener = (request: IncomingMessage, response: ServerResponse) => void;

/** The most that the line and the header of a request may take, in bytes. */
const HEADER_BYTES = 16_384;

/** How long the refusal of a CONNECT may take on its way. */
const CONNECT_MS = 500;

/** A server that is not listening yet. With `fast: false` every request goes through the app. */
export function createHttpServer(app: KvApp, { fast = true } = {}): Server {
  const { headersTimeout, bodyTimeout, idleTimeout } = app.timeouts;
  let listener: Listener | undefined;
  const byApp = async (request: IncomingMessage, response: ServerResponse) => {
    const fault = faultOf(request);
    if (fault !== null) return answerProblem(response, fault);
    listener ??= await webListener(app);
    listener(request, response);
  };
  const respond = fast ? fastListener(app, byApp) : byApp;
  const { answer, answerOf, refuseLast } = inOrder(respond);

  const keepAliveTimeout = Math.ceil(idleTimeout * 1000);
  const server = createServer(
    {
      ServerResponse: textResponse(keepAliveTimeout),
      maxHeaderSize: HEADER_BYTES,
      requireHostHeader: false,
      optimizeEmptyRequests: true,
      headersTimeout: Math.ceil(headersTimeout * 1000),
      requestTimeout: Math.ceil(bodyTimeout * 1000),
      keepAliveTimeout,
      connectionsCheckingInterval: 1000,
    },
    answer,
  );
  // All fields that fit are seen: one that is dropped may be the condition of a write.
  server.maxHeadersCount = 0;
  endUnread(server, answerOf, app.timeouts);
  server.on("checkContinue", (request, response) => {
    continueWhenRead(request, response);
    answer(request, response);
  });
  // RFC 9110, section 10.1.1: an expectation that is not known may be ignored.
  server.on("checkExpectation", answer);
  server.on("connect", (_request, socket) => {
    // Node has let go of this socket: nobody else hears its errors or ends it.
    socket.on("error", () => {});
    refuseLast(socket, () => {
      setTimeout(() => socket.destroy(), CONNECT_MS).unref();
      refuse(socket, new KvError("method_not_allowed", "CONNECT is not served", { headers: { Allow: METHODS } }));
    });
  });
  server.on("clientError", (fault: NodeJS.ErrnoException, socket) => {
    refuseLast(socket, () => {
      const begun = answerOf(socket);
      const halfway = begun?.headersSent === true && !begun.writableFinished;
      if (fault.code === "ECONNRESET" || !socket.writable || halfway) socket.destroy();
      else refuse(socket, parserError(fault.code));
    });
  });
  return server;
}

/** What answers by web requests, which many a service never needs: it is loaded by the first. */
async function webListener({ fetch }: KvApp): Promise<Listener> {
  const { getRequestListener } = await import("@hono/node-server");
  return getRequestListener(fetch, {
    overrideGlobalObjects: false,
    // What HTTP/1.0 may leave out; the service does not look at it.
    hostname: "localhost",
    errorHandler: () =>
      problemResponse(new KvError("invalid_request", "Expected a Host and a target that make an URL")),
  });
}

const METHODS = "GET, HEAD, PUT, POST, DELETE, OPTIONS";

/** What the parser lets pass and HTTP does not (RFC 9112, section 3.2). */
function faultOf({ httpVersion, headers, rawHeaders, url }: IncomingMessage): KvError | null {
  if (headers.host === undefined && httpVersion === "1.1") {
    return new KvError("invalid_request", "Expected a Host field, which HTTP/1.1 demands");
  }
  const hosts = rawHeaders.filter((name, index) => index % 2 === 0 && name.length === 4 && /host/i.test(name));
  if (hosts.length > 1) return new KvError("invalid_request", "Expected one Host field, got several");
  if ((headers["transfer-encoding"] ?? "chunked").toLowerCase() !== "chunked") {
    return new KvError("invalid_request", "Expected the transfer coding chunked alone");
  }
  if (url === "*") return new KvError("no_such_route", 'There is no route "*"; see /open-api.json for those there are');
  return null;
}

/**
 * Answers `Expect: 100-continue` when the body is asked for, so that a refusal comes before it is sent. Then the connection
 * ends: whether the body comes after all is not known.
 */
function continueWhenRead(request: IncomingMessage, response: ServerResponse): void {
  const { _read } = request;
  response.setHeader("Connection", "close");
  request._read = function read(size) {
    request._read = _read;
    if (!response.headersSent) {
      response.removeHeader("Connection");
      response.writeContinue();
    }
    _read.call(request, size);
  };
}

function parserError(code: string | undefined): KvError {
  if (code === "HPE_HEADER_OVERFLOW") {
    return new KvError("headers_too_large", `Expected a request line and headers of at most ${HEADER_BYTES} bytes`);
  }
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return new KvError("request_timeout", "The request came too slowly");
  if (code === "HPE_INVALID_METHOD") return new KvError("invalid_request", `Expected a method such as ${METHODS}`);
  return new KvError("invalid_request", "Expected an HTTP/1.1 request");
}

function headersOf(requestId: string) {
  return { ...SAFE_HEADERS, "Content-Type": "application/problem+json", "X-Request-Id": requestId };
}

function answerProblem(response: ServerResponse, error: KvError): void {
  const requestId = randomUUID();
  const body = problemText(error, requestId);
  const length = { "Content-Length": Buffer.byteLength(body) };
  response.writeHead(error.status, { ...headersOf(requestId), ...length }).end(body);
}

function problemResponse(error: KvError): Response {
  const requestId = randomUUID();
  return new Response(problemText(error, requestId), { status: error.status, headers: headersOf(requestId) });
}

/** Answers on the bare socket, where there is no request, and ends the connection. */
function refuse(socket: Duplex, error: KvError): void {
  const requestId = randomUUID();
  const body = problemText(error, requestId);
  const length = { "Content-Length": Buffer.byteLength(body), Connection: "close" };
  const fields = Object.entries({ ...headersOf(requestId), ...error.headers, ...length });
  const head = [`HTTP/1.1 ${error.status} ${error.title}`, ...fields.map(([name, value]) => `${name}: ${value}`)];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
}
