/**
 * Answers the requests that come most, reads and writes of one key, lists and batches, from Node's own request and response,
 * which saves most of what a web Request and Response cost. It is made of the same parts as the routes, and hands everything
 * that is not plain to the app; a test holds both to the same answers.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Access } from "./access/access.ts";
import { clientAddress } from "./access/forwarded.ts";
import { isIn } from "./access/ip.ts";
import { includesScope, nameOf } from "./auth/principal.ts";
import { type KvApp, PARTS } from "./kv.ts";
import { drained } from "./node-body.ts";
import { rememberedCallers } from "./node-callers.ts";
import { batchWork, listWork } from "./node-collection.ts";
import { entryWork } from "./node-entry.ts";
import { type Arrival, Exchange, hasBody, type Work } from "./node-exchange.ts";
import { fieldsOf, type PlainFields } from "./node-fields.ts";
import type { TextResponse } from "./node-response.ts";
import { putBody } from "./routes/body.ts";

type Listener = (request: IncomingMessage, response: ServerResponse) => void;

/** What any parser of URLs takes as it stands, but for `.` and `..` as segments. */
const PLAIN_TARGET = /^[\w\-~!$&'()*+,;=:@%/.]+$/;
const DOT_SEGMENT = /\/(?:\.|%2e)/i;
const PLAIN_QUERY = /^[\w\-~!$&()*+,;=:@%/.?]*$/;

/** A larger batch is not read in one piece. */
const BATCH_BODY_BYTES = 1_048_576;

/** A listener that answers what is plain and gives the rest to `otherwise`. */
export function fastListener(app: KvApp, otherwise: Listener): Listener {
  const { config, service } = app[PARTS];
  const { access, basePath, endpoints } = config;
  if (endpoints.kv === false || config.cors !== false || hasCallbacks(config.auth)) return otherwise;
  const base = basePath + endpoints.kv;
  const prefix = `${base}/`;
  const entryRoute = `${base}/:key`;
  const callers = rememberedCallers();

  function addressOf({ socket, headers }: IncomingMessage): bigint | null {
    const get = (name: string) => (headers[name.toLowerCase()] as string | undefined) ?? null;
    return clientAddress(socket.remoteAddress, { get }, access.trustProxy);
  }

  /** Whether a request is to one of the routes here and any parser of URLs would see the same in its target. */
  function isPlain(method: string | undefined, url: string): boolean {
    if (url.startsWith(prefix)) return method !== "POST" && PLAIN_TARGET.test(url) && !DOT_SEGMENT.test(url);
    if (method === "POST") return url === base;
    return method === "GET" && url.startsWith(base) && PLAIN_QUERY.test(queryOf(url) ?? "#");
  }

  /** The parameters of a list, `undefined` where the path goes on. */
  function queryOf(url: string): string | undefined {
    if (url.length === base.length) return "";
    return url[base.length] === "?" ? url.slice(base.length + 1) : undefined;
  }

  /** What is to be done, or `null` where that is to be refused: nothing of the request has been read then. */
  function workOf(arrival: Arrival, url: string): Work | null {
    try {
      if (url.startsWith(prefix)) return entryWork(url.slice(prefix.length), arrival);
      return arrival.request.method === "POST" ? batchWork(arrival) : listWork(queryOf(url) ?? "", arrival);
    } catch {
      return null;
    }
  }

  function serve(arrival: Arrival): void {
    const url = arrival.request.url as string;
    const work = workOf(arrival, url);
    if (work === null) {
      otherwise(arrival.request, arrival.response);
      return;
    }
    const { hold, end } = service.begin({ outgoing: arrival.response });
    const exchange = new Exchange(config, url.startsWith(prefix) ? entryRoute : base, arrival, hold);
    let pending: Promise<void> | undefined;
    try {
      pending = bounded(arrival, exchange, work);
    } catch (error) {
      exchange.refuse(error);
    }
    if (pending === undefined) end();
    else void pending.catch((error) => refuse(arrival.request, exchange, error)).then(end, end);
  }

  return function fast(request, response) {
    const { method, url = "" } = request;
    if (!METHODS.has(method as string) || !isPlain(method, url)) return otherwise(request, response);
    if (access.ip !== undefined && !isIn(access.ip, addressOf(request))) return otherwise(request, response);
    const fields = fieldsOf(request.rawHeaders);
    if (fields === null || !(hasBody(method) ? hasPlainBody(fields) : hasNoBody(fields))) {
      return otherwise(request, response);
    }
    const instance = service.current(undefined);
    if (instance === undefined) return otherwise(request, response);
    const maxBytes = method === "PUT" ? putBody(instance.store.limits).maxBytes : BATCH_BODY_BYTES;
    if (Number(fields["content-length"]) > maxBytes) return otherwise(request, response);
    // What a batch holds says whether it needs "write".
    const scope = method === "PUT" ? "write" : "read";
    const credential = callers.digestOf(request.socket, fields);
    const known = callers.find(instance, credential);
    if (known !== undefined) {
      if (includesScope(known.scope, scope))
        serve({ request, response: response as TextResponse, fields, instance, principal: known });
      else otherwise(request, response);
      return;
    }
    const guesses = instance.access.guesses(() => addressOf(request));
    void instance.authenticator
      // There are no callbacks, and the strategies themselves look at nothing but these two fields.
      .authenticate(
        { headers: { get: (name: string) => fields[name.toLowerCase() as keyof PlainFields] ?? null } } as never,
        {},
        // One that failed is counted by the app, which answers it.
        guesses && { check: guesses.check, failed: () => {} },
      )
      .then((principal) => {
        if (principal === null || !includesScope(principal.scope, scope)) return otherwise(request, response);
        callers.remember(instance, credential, principal);
        serve({ request, response: response as TextResponse, fields, instance, principal });
      })
      .catch(() => otherwise(request, response));
  };
}

/** A body that nobody has begun to read is on its way all the same: the client would not see the answer. */
async function refuse(request: IncomingMessage, exchange: Exchange, error: unknown): Promise<void> {
  if (hasBody(request.method) && request.readableFlowing === null) await drained(request);
  exchange.refuse(error);
}

/** The work, once the caller may do one more. */
function bounded(arrival: Arrival, exchange: Exchange, work: Work): ReturnType<Work> {
  const { count } = arrival.instance.access;
  return count === undefined ? work(exchange) : countedWork(count, arrival, exchange, work);
}

async function countedWork(
  count: NonNullable<Access["count"]>,
  { principal }: Arrival,
  exchange: Exchange,
  work: Work,
): Promise<void> {
  try {
    exchange.tell(await count("principal", nameOf(principal)));
  } catch (error) {
    exchange.route = undefined;
    throw error;
  }
  await work(exchange);
}

const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "PUT", "POST"]);

function hasCallbacks({ apiKey, basic, jwt, authenticateRequest }: KvApp[typeof PARTS]["config"]["auth"]): boolean {
  const strategies = [apiKey, basic, jwt].map((strategy) => strategy || {});
  return (
    authenticateRequest !== undefined ||
    strategies.some(({ getCredentials, verifyCredentials }) => (getCredentials ?? verifyCredentials) !== undefined)
  );
}

function hasNoBody(fields: PlainFields): boolean {
  const { expect, "content-length": length, "transfer-encoding": coding } = fields;
  return length === undefined && coding === undefined && expect === undefined;
}

function hasPlainBody(fields: PlainFields): boolean {
  return (
    fields["content-type"] === "application/json" &&
    /^\d+$/.test(fields["content-length"] ?? "") &&
    fields["transfer-encoding"] === undefined &&
    fields["content-encoding"] === undefined &&
    fields.expect === undefined &&
    fields.prefer === undefined
  );
}
