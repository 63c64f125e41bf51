/** What is told of a request: to the log, to `onError`, and to the caller. */
import { KvError } from "./core/errors.ts";
import type { LogEntry } from "./log.ts";
import type { ResolvedOptions } from "./options.ts";

/** The request's own id where it can be used, or a new one. */
export function requestIdOf(given: string | undefined, make = () => crypto.randomUUID() as string): string {
  return given !== undefined && /^[\w=-]{1,64}$/.test(given) ? given : make();
}

let lastMoment = Number.NaN;
let lastTime = "";

/** ISO 8601; of many requests in one millisecond it is made once. */
function timeOf(moment: number): string {
  if (moment !== lastMoment) {
    lastMoment = moment;
    lastTime = new Date(moment).toISOString();
  }
  return lastTime;
}

let lastLine = { method: "", route: undefined as string | undefined, status: 0, message: "" };

/** The same text for what comes again, which is not put together anew. */
function messageOf(method: string, route: string | undefined, status: number): string {
  if (status !== lastLine.status || route !== lastLine.route || method !== lastLine.method) {
    lastLine = { method, route, status, message: `${method} ${route ?? "(no route)"} ${status}` };
  }
  return lastLine.message;
}

/** One line of the access log. */
export function accessEntry({
  method,
  route,
  status,
  requestId,
  began,
}: {
  method: string;
  /** The route that answered. */
  route: string | undefined;
  status: number;
  requestId: string;
  /** By the clock of `performance.now()`, which is finer than that of the day. */
  began: number;
}): LogEntry {
  const duration = Math.round((performance.now() - began) * 1000) / 1000;
  const entry: LogEntry = {
    level: "info",
    message: messageOf(method, route, status),
    time: timeOf(Math.round(Date.now() - duration)),
    requestId,
    method,
    status,
    duration,
  };
  // Not by spreading: this is made for every request.
  if (route !== undefined) entry.route = route;
  return entry;
}

/** The error as the caller may see it; what is the operator's to know goes to his log. */
export function report(
  { logger, meter, onError }: ResolvedOptions,
  thrown: unknown,
  { method, requestId, webRequest }: { method: string; requestId: string; webRequest(): Request },
): KvError {
  const error =
    thrown instanceof KvError
      ? thrown
      : new KvError("internal", "Something went wrong; the log has it", { cause: thrown });
  if (error.limit !== undefined) meter?.refused(error.limit);
  if (error.status < 500 || error.code === "unsupported") return error;
  const cause = error.cause instanceof Error ? (error.cause.stack ?? error.cause.message) : undefined;
  logger({
    level: "error",
    message: `${method} failed: ${error.code}: ${error.message}`,
    time: new Date().toISOString(),
    requestId,
    ...(cause !== undefined && { cause }),
  });
  if (error.code === "internal") onError(thrown, { requestId, request: webRequest() });
  return error;
}
