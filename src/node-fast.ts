/**
 * Answers the requests that come most, a read or a write of one key, from Node's own request and response, which saves most
 * of what a web Request and Response cost. It is made of the same parts as the routes, and hands everything that is not plain
 * to the app; a test holds both to the same answers.
 */
import { hash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { includesScope, type Principal } from "./auth/principal.ts";
import { type Condition, isUnchanged, type StoredEntry } from "./core/entry.ts";
import { KvError } from "./core/errors.ts";
import { createJsonScanner } from "./core/json-scanner.ts";
import { checkKey, decodeKey, quote } from "./core/key.ts";
import { BODY_OVERHEAD_BYTES } from "./core/limits.ts";
import { type KvApp, PARTS } from "./kv.ts";
import { fieldsOf, type PlainFields } from "./node-fields.ts";
import { accessEntry, report, requestIdOf } from "./report.ts";
import { newEntry } from "./routes/body.ts";
import { parseCondition } from "./routes/conditions.ts";
import { attributes, ENTRY_OPEN, etag, problemParts } from "./routes/respond.ts";
import { PUT_BODY, type PutBody, parse } from "./routes/schema.ts";
import type { Instance } from "./service.ts";

type Listener = (request: IncomingMessage, response: ServerResponse) => void;

/** A longer body is read by the app, as it arrives. */
const BODY_BYTES = 65_536;
/** A longer value is not copied on its way out. */
const COPIED_BYTES = 16_384;
/** How long a credential that was accepted is not checked again, and how many are remembered. */
const REMEMBERED_MS = 60_000;
const REMEMBERED = 1000;

/** What any parser of URLs takes as it stands, but for `.` and `..` as segments. */
const PLAIN_TARGET = /^[\w\-~!$&'()*+,;=:@%/.]+$/;
const DOT_SEGMENT = /\/(?:\.|%2e)/i;

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
  const { basePath, endpoints } = config;
  if (endpoints.kv === false || config.cors !== false || hasCallbacks(config.auth)) return otherwise;
  const base = basePath + endpoints.kv;
  const prefix = `${base}/`;
  const route = `${base}/:key`;
  const callers = rememberedCallers();

  function answer(exchange: Exchange, status: number, fields: string[], body: Body): void {
    const { response, method, requestId, began } = exchange;
    fields.push("x-request-id", requestId);
    send(response, status, fields, method === "HEAD" ? null : body);
    config.logger(accessEntry({ method, route, status, requestId, began }));
  }

  function answerEntry(exchange: Exchange, stored: StoredEntry): void {
    answer(exchange, 200, ["content-type", "application/json", "etag", etag(stored.version)], bodyOf(stored));
  }

  function answerError(exchange: Exchange, thrown: unknown): void {
    const { method, requestId, webRequest } = exchange;
    const error = report(config, thrown, { method, requestId, webRequest });
    const { status, headers, text } = problemParts(error, requestId);
    const { "X-Request-Id": _, ...own } = headers;
    const fields = Object.entries(own).flatMap(([name, value]) => [name.toLowerCase(), value]);
    answer(exchange, status, fields, Buffer.from(text));
  }

  /** What is wrong with a key or a condition comes from here too. */
  function get(exchange: Exchange, { store }: Instance, path: string, fields: PlainFields): undefined | Promise<void> {
    const key = checkKey(decodeKey(path), store.limits.key);
    const condition = conditionOf(fields);
    const found = store.get(key);
    const answerFound = (stored: StoredEntry | null) => {
      if (stored === null) throw new KvError("not_found", `No value under key ${quote(key)}`);
      if (isUnchanged(condition, stored)) answer(exchange, 304, ["etag", etag(stored.version)], null);
      else answerEntry(exchange, stored);
    };
    if (found instanceof Promise) return found.then(answerFound);
    answerFound(found);
    return undefined;
  }

  async function put(exchange: Exchange, { store }: Instance, path: string, fields: PlainFields, bytes: Uint8Array) {
    const key = checkKey(decodeKey(path), store.limits.key);
    const condition = conditionOf(fields);
    const scanner = createJsonScanner({
      depth: store.limits.depth,
      levels: 1,
      raw: ["value", "metadata"],
      ownBytes: BODY_OVERHEAD_BYTES,
    });
    scanner.write(bytes);
    const { body, spans } = scanner.end();
    const text = (index: unknown) => {
      const [start, end] = spans[index as number] ?? [];
      return bytes.subarray(start, end);
    };
    answerEntry(exchange, await store.put(key, newEntry(parse<PutBody>(PUT_BODY, body), text), condition));
  }

  function serve(request: IncomingMessage, response: ServerResponse, fields: PlainFields, instance: Instance): void {
    const method = request.method as Exchange["method"];
    const path = (request.url as string).slice(prefix.length);
    const webRequest = () => webRequestOf(request);
    const exchange = {
      response,
      method,
      requestId: requestIdOf(fields["x-request-id"]),
      began: Date.now(),
      webRequest,
    };
    const end = service.begin();
    const fail = (error: unknown) => answerError(exchange, error);
    if (method === "PUT") {
      readBody(request, Number(fields["content-length"]), (bytes) => {
        if (bytes === null) return end();
        void put(exchange, instance, path, fields, bytes).catch(fail).finally(end);
      });
      return;
    }
    let pending: Promise<void> | undefined;
    try {
      pending = get(exchange, instance, path, fields);
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
    if (instance === undefined) return otherwise(request, response);
    const scope = writes ? "write" : "read";
    const credential = callers.digestOf(fields);
    const known = callers.find(instance, credential);
    if (known !== undefined) {
      if (includesScope(known.scope, scope)) serve(request, response, fields, instance);
      else otherwise(request, response);
      return;
    }
    void instance.authenticator
      // There are no callbacks, and the strategies themselves look at nothing but these two fields.
      .authenticate(
        { headers: { get: (name: string) => fields[name.toLowerCase() as keyof PlainFields] ?? null } } as never,
        {},
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

/** Who was let in by which credential: kept by its SHA-256, for a minute, a JWT no longer than it lives. */
function rememberedCallers() {
  let owner: Instance | undefined;
  const known = new Map<string, { principal: Principal; until: number }>();
  return {
    digestOf({ authorization = "", "x-api-key": key }: PlainFields): string {
      return hash("sha256", key === undefined ? authorization : `${authorization}\n${key}`, "base64");
    },
    find(instance: Instance, digest: string): Principal | undefined {
      if (instance !== owner) return undefined;
      const found = known.get(digest);
      if (found === undefined || found.until > instance.now()) return found?.principal;
      known.delete(digest);
      return undefined;
    },
    remember(instance: Instance, digest: string, principal: Principal): void {
      if (instance !== owner) known.clear();
      owner = instance;
      const expiry = Number(principal.claims?.exp ?? Number.POSITIVE_INFINITY) * 1000;
      known.set(digest, { principal, until: Math.min(instance.now() + REMEMBERED_MS, expiry) });
      if (known.size > REMEMBERED) known.delete(known.keys().next().value as string);
    },
  };
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
    Number(fields["content-length"]) <= BODY_BYTES &&
    fields["transfer-encoding"] === undefined &&
    fields["content-encoding"] === undefined &&
    fields.expect === undefined &&
    fields.prefer === undefined
  );
}

/** The body in one piece, or `null` where the client went away. */
function readBody(request: IncomingMessage, length: number, done: (bytes: Uint8Array | null) => void): void {
  let only: Buffer | undefined;
  let bytes: Buffer | undefined;
  let at = 0;
  request.on("data", (chunk: Buffer) => {
    if (chunk.length === length) {
      only = chunk;
    } else {
      bytes ??= Buffer.allocUnsafeSlow(length);
      at += chunk.copy(bytes, at);
    }
  });
  request.on("end", () => done(only ?? bytes?.subarray(0, at) ?? new Uint8Array(0)));
  request.on("close", () => {
    if (!request.complete) done(null);
  });
}

/** One string is written at once with the header; of what is large the parts, uncopied. */
type Body = { text: string } | readonly Uint8Array[] | Uint8Array | null;

/** Entries that come from a cache are the same objects again. */
const bodies = new WeakMap<StoredEntry, Body>();

function bodyOf(stored: StoredEntry): Body {
  const known = bodies.get(stored);
  if (known !== undefined) return known;
  const body = newBody(stored);
  if (stored.value.length <= COPIED_BYTES) bodies.set(stored, body);
  return body;
}

function newBody(stored: StoredEntry): Body {
  const { value } = stored;
  const tail = `${attributes(stored)}}`;
  if (value.length > COPIED_BYTES) return [Buffer.from(ENTRY_OPEN), value, Buffer.from(tail)];
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
  // Latin-1 keeps bytes as they are.
  if (stored.metadata === null) return { text: ENTRY_OPEN + bytes.toString("latin1") + tail };
  return Buffer.concat([Buffer.from(ENTRY_OPEN), bytes, Buffer.from(tail)]);
}

function send(response: ServerResponse, status: number, fields: string[], body: Body): void {
  if (body === null) {
    response.writeHead(status, fields).end();
  } else if ("text" in body) {
    fields.push("content-length", String(body.text.length));
    response.writeHead(status, fields).end(body.text, "latin1");
  } else if (body instanceof Uint8Array) {
    fields.push("content-length", String(body.length));
    response.writeHead(status, fields).end(body);
  } else {
    fields.push("content-length", String(body.reduce((length, part) => length + part.length, 0)));
    response.writeHead(status, fields);
    for (const part of body) response.write(part);
    response.end();
  }
}

function webRequestOf({ method = "GET", url = "/", headers, rawHeaders }: IncomingMessage): Request {
  const pairs = Array.from({ length: rawHeaders.length / 2 }, (_, index): [string, string] => [
    rawHeaders[index * 2] as string,
    rawHeaders[index * 2 + 1] as string,
  ]);
  return new Request(`http://${headers.host ?? "localhost"}${url}`, { method, headers: pairs });
}
