/**
 * Answers the requests that come most, a read or a write of one key, from Node's own request and response, which saves most
 * of what a web Request and Response cost. It is made of the same parts as the routes, and hands everything that is not plain
 * to the app; a test holds both to the same answers.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { addressOf } from "#runtime";
import { includesScope } from "./auth/principal.ts";
import type { Hold } from "./core/budget.ts";
import { type Condition, isUnchanged, type StoredEntry } from "./core/entry.ts";
import { KvError } from "./core/errors.ts";
import { checkKey, decodeKey, quote } from "./core/key.ts";
import { STREAM_BYTES } from "./core/limits.ts";
import { type KvApp, PARTS } from "./kv.ts";
import { type Body, bodyOf, send } from "./node-answer.ts";
import { readBody } from "./node-body.ts";
import { rememberedCallers } from "./node-callers.ts";
import { fieldsOf, type PlainFields } from "./node-fields.ts";
import { accessEntry, report, requestIdOf } from "./report.ts";
import { newEntry, putBody } from "./routes/body.ts";
import { parseCondition } from "./routes/conditions.ts";
import { etag, problemParts, READ_HEADERS, SAFE_HEADERS } from "./routes/respond.ts";
import { PUT_BODY, type PutBody, parse } from "./routes/schema.ts";
import type { Instance } from "./service.ts";

type Listener = (request: IncomingMessage, response: ServerResponse) => void;

/** What any parser of URLs takes as it stands, but for `.` and `..` as segments. */
const PLAIN_TARGET = /^[\w\-~!$&'()*+,;=:@%/.]+$/;
const DOT_SEGMENT = /\/(?:\.|%2e)/i;

const fieldsFrom = (headers: Readonly<Record<string, string>>) =>
  Object.entries(headers).flatMap(([name, value]) => [name.toLowerCase(), value]);
const WRITE_FIELDS = fieldsFrom(SAFE_HEADERS);
const READ_FIELDS = fieldsFrom({ ...SAFE_HEADERS, ...READ_HEADERS });

interface Exchange {
  response: ServerResponse;
  method: "GET" | "HEAD" | "PUT";
  requestId: string;
  began: number;
  /** For the operator's `onError`, which wants a web request. */
  webRequest(): Request;
}

/** A listener that answers what is plain and gives the rest to `otherwise`. */
export function fastListener(app: KvApp, otherwise: Listener): Listener {
  const { config, service } = app[PARTS];
  const { access, basePath, endpoints } = config;
  const isBound = access.ip !== undefined || access.rateLimit !== undefined;
  if (endpoints.kv === false || config.cors !== false || isBound || hasCallbacks(config.auth)) return otherwise;
  const base = basePath + endpoints.kv;
  const prefix = `${base}/`;
  const route = `${base}/:key`;
  const callers = rememberedCallers();

  function answer(exchange: Exchange, status: number, fields: string[], body: Body): void {
    const { response, method, requestId, began } = exchange;
    fields.push("x-request-id", requestId);
    // What is still to come of the body is not the next request.
    if (method === "PUT" && !response.req.complete) fields.push("connection", "close");
    send(response, status, fields, method === "HEAD" ? null : body);
    config.logger(accessEntry({ method, route, status, requestId, began }));
  }

  function answerEntry(exchange: Exchange, stored: StoredEntry): void {
    const safe = exchange.method === "PUT" ? WRITE_FIELDS : READ_FIELDS;
    answer(exchange, 200, [...safe, "content-type", "application/json", "etag", etag(stored.version)], bodyOf(stored));
  }

  function answerError(exchange: Exchange, thrown: unknown): void {
    const { method, requestId, webRequest } = exchange;
    const error = report(config, thrown, { method, requestId, webRequest });
    const { status, headers, text } = problemParts(error, requestId);
    const { "X-Request-Id": _, ...own } = headers;
    answer(exchange, status, fieldsFrom(own), Buffer.from(text));
  }

  function get(
    exchange: Exchange,
    { store }: Instance,
    { key, condition }: Target,
    hold: Hold,
  ): undefined | Promise<void> {
    const answerFound = (stored: StoredEntry | null) => {
      if (stored === null) throw new KvError("not_found", `No value under key ${quote(key)}`);
      if (isUnchanged(condition, stored)) answer(exchange, 304, [...READ_FIELDS, "etag", etag(stored.version)], null);
      else {
        if (stored.value.length > STREAM_BYTES) hold(stored.value.length);
        answerEntry(exchange, stored);
      }
    };
    const found = store.get(key);
    if (found instanceof Promise) return found.then(answerFound);
    answerFound(found);
    return undefined;
  }

  async function put(
    exchange: Exchange,
    { store }: Instance,
    { key, condition }: Target,
    request: IncomingMessage,
    hold: Hold,
  ): Promise<void> {
    hold(Number(request.headers["content-length"]));
    const { bytes, body, spans } = await readBody(request, putBody(store.limits));
    const text = (index: unknown) => {
      const [start, end] = spans[index as number] ?? [];
      return bytes.subarray(start, end);
    };
    answerEntry(exchange, await store.put(key, newEntry(parse<PutBody>(PUT_BODY, body), text), condition));
  }

  function serve(request: IncomingMessage, response: ServerResponse, fields: PlainFields, instance: Instance): void {
    const method = request.method as Exchange["method"];
    const target = targetOf((request.url as string).slice(prefix.length), fields, instance);
    if (target === null) {
      otherwise(request, response);
      return;
    }
    const webRequest = () => webRequestOf(request);
    const exchange = {
      response,
      method,
      requestId: requestIdOf(fields["x-request-id"]),
      began: performance.now(),
      webRequest,
    };
    const { hold, end } = service.begin({ outgoing: response });
    const fail = (error: unknown) => answerError(exchange, error);
    if (method === "PUT") {
      void put(exchange, instance, target, request, hold).catch(fail).finally(end);
      return;
    }
    let pending: Promise<void> | undefined;
    try {
      pending = get(exchange, instance, target, hold);
    } catch (error) {
      fail(error);
    }
    if (pending === undefined) end();
    else void pending.catch(fail).finally(end);
  }

  return function fast(request, response) {
    const { method, url = "" } = request;
    const writes = method === "PUT";
    if (!writes && method !== "GET" && method !== "HEAD") return otherwise(request, response);
    if (!url.startsWith(prefix) || !PLAIN_TARGET.test(url) || DOT_SEGMENT.test(url))
      return otherwise(request, response);
    const fields = fieldsOf(request.rawHeaders);
    if (fields === null || !(writes ? isPlainPut(fields) : hasNoBody(fields))) return otherwise(request, response);
    const instance = service.current(undefined);
    if (instance === undefined || Number(fields["content-length"]) > putBody(instance.store.limits).maxBytes) {
      return otherwise(request, response);
    }
    const scope = writes ? "write" : "read";
    const credential = callers.digestOf(fields);
    const known = callers.find(instance, credential);
    if (known !== undefined) {
      if (includesScope(known.scope, scope)) serve(request, response, fields, instance);
      else otherwise(request, response);
      return;
    }
    const address = () => addressOf(webRequestOf(request), { incoming: request }, access.trustProxy);
    const guesses = instance.access.guesses(address);
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
        serve(request, response, fields, instance);
      })
      .catch(() => otherwise(request, response));
  };
}

function hasCallbacks({ apiKey, basic, jwt, authenticateRequest }: KvApp[typeof PARTS]["config"]["auth"]): boolean {
  const strategies = [apiKey, basic, jwt].map((strategy) => strategy || {});
  return (
    authenticateRequest !== undefined ||
    strategies.some(({ getCredentials, verifyCredentials }) => (getCredentials ?? verifyCredentials) !== undefined)
  );
}

interface Target {
  key: string;
  condition: Condition | undefined;
}

/** What a request is for, or `null` where that is to be refused: nothing of it has been read then. */
function targetOf(path: string, fields: PlainFields, { store: { limits } }: Instance): Target | null {
  try {
    return { key: checkKey(decodeKey(path), limits.key), condition: conditionOf(fields) };
  } catch {
    return null;
  }
}

/** One tag as we give it. */
const OUR_TAG = /^"[\w-]+"$/;

function conditionOf({ "if-match": match, "if-none-match": noneMatch }: PlainFields): Condition | undefined {
  if (match === undefined) {
    if (noneMatch === undefined) return undefined;
    if (OUR_TAG.test(noneMatch)) return { ifNoneMatch: [noneMatch.slice(1, -1)] };
  }
  return parseCondition({ name: "If-Match", field: match }, { name: "If-None-Match", field: noneMatch });
}

function hasNoBody(fields: PlainFields): boolean {
  return fields["content-length"] === undefined && fields["transfer-encoding"] === undefined;
}

function isPlainPut(fields: PlainFields): boolean {
  return (
    fields["content-type"] === "application/json" &&
    /^\d+$/.test(fields["content-length"] ?? "") &&
    fields["transfer-encoding"] === undefined &&
    fields["content-encoding"] === undefined &&
    fields.expect === undefined &&
    fields.prefer === undefined
  );
}

function webRequestOf({ method = "GET", url = "/", headers, rawHeaders }: IncomingMessage): Request {
  const pairs = Array.from({ length: rawHeaders.length / 2 }, (_, index): [string, string] => [
    rawHeaders[index * 2] as string,
    rawHeaders[index * 2 + 1] as string,
  ]);
  return new Request(`http://${headers.host ?? "localhost"}${url}`, { method, headers: pairs });
}
