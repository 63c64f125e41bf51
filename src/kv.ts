import type { Context, Hono, MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { Hono as TinyHono } from "hono/tiny";
import { addressOf } from "#runtime";
import { clientOf, isIn } from "./access/ip.ts";
import { isClosed } from "./auth/authenticate.ts";
import { nameOf } from "./auth/principal.ts";
import { KvError } from "./core/errors.ts";
import { type KvOptions, type ResolvedOptions, resolveOptions, type Timeouts } from "./options.ts";
import { accessEntry, report, requestIdOf } from "./report.ts";
import { adminRoutes } from "./routes/admin.ts";
import { entryRoutes } from "./routes/entries.ts";
import type { RouteGroup } from "./routes/open-api.ts";
import { publicRoutes } from "./routes/public.ts";
import { problem } from "./routes/respond.ts";
import { type KvHonoEnv, rawPath, register } from "./routes/route.ts";
import { createService, type Service } from "./service.ts";
import { VERSION } from "./version.ts";

/** The service: a Hono app that can be served, mounted and called, and that has something to close. */
export interface KvApp extends Hono<KvHonoEnv>, AsyncDisposable {
  /** Resolves the environment and asks the storage, as the first request would; rejects with what is wrong. */
  ready(bindings?: unknown): Promise<void>;
  /** `/ready` turns 503, requests in flight finish, then the storage closes. */
  close(): Promise<void>;
  /** How long the server that runs the app is to wait for a client. */
  readonly timeouts: Readonly<Timeouts>;
  /** @internal What the app is made of, for a server that answers some requests by itself. */
  readonly [PARTS]: { config: ResolvedOptions; service: Service };
}

/** How long a start waits for the storage, which may have to make its tables first. */
const START_SECONDS = 60;

/** @internal */
export const PARTS = Symbol();

/**
 * Assembles the service. Throws a `TypeError` that quotes the option where the options are wrong; what depends on the
 * environment is resolved by `ready()` or by the first request.
 */
export function kv(options: KvOptions = {}): KvApp {
  const config = resolveOptions(options);
  if (isClosed(config.auth)) warnClosed(config);
  const service = createService(config);
  const { basePath, endpoints } = config;
  const groups: RouteGroup[] = [];
  const all = `${basePath}/*`;
  const app = new TinyHono<KvHonoEnv>({ getPath: rawPath });

  app.onError(answerError(config));
  app.notFound((c) => (isAllowed(config, c) ? noSuchRoute(c) : notAllowed(config, c)));
  app.use(all, requestLog(config), counted(service), gate(config));

  // Open: what is registered here needs no credential.
  if (endpoints.public !== false) {
    const ready = (c: Context) => askReady(service, c.env);
    groups.push([basePath + endpoints.public, publicRoutes({ ready, groups: () => groups })]);
  }
  for (const [base, routes] of groups) register(app, base, routes);

  // Closed: nothing below runs without a principal.
  app.use(all, guard(service, config));
  const closed: RouteGroup[] = [];
  if (endpoints.admin !== false)
    closed.push([basePath + endpoints.admin, [...adminRoutes(info(config)), ...service.routes]]);
  if (endpoints.kv !== false) {
    const keys = basePath + endpoints.kv;
    checkPaths(keys, [...groups, ...closed]);
    closed.push([keys, entryRoutes]);
  }
  for (const [base, routes] of closed) register(app, base, routes);
  groups.push(...closed);

  app.all(all, noSuchRoute);

  return Object.assign(app, {
    timeouts: config.timeouts,
    [PARTS]: { config, service },
    ready: (bindings?: unknown) => askStore(service, bindings, START_SECONDS),
    close: () => service.close(),
    [Symbol.asyncDispose]: () => service.close(),
  });
}

/** All that is below the path of the keys is a key: a route of another group there would hide one. */
function checkPaths(keys: string, others: readonly RouteGroup[]): void {
  for (const [base, routes] of others) {
    for (const { path } of routes) {
      if (!`${base}${path}/`.startsWith(`${keys}/`)) continue;
      throw new TypeError(`endpoints.v1.kv: expected a path without ${base}${path} below it, got "${keys || "/"}"`);
    }
  }
}

const EXPOSED = ["ETag", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id"];

function requestLog(config: ResolvedOptions): MiddlewareHandler<KvHonoEnv> {
  return async function requestLog(c, next) {
    const began = performance.now();
    const requestId = requestIdOf(c.req.header("X-Request-Id"));
    c.set("requestId", requestId);
    c.header("X-Request-Id", requestId);
    c.set("report", (error) => reportOf(config, error, c));
    await next();
    config.logger(accessEntry({ method: c.req.method, route: c.get("route"), status: c.res.status, requestId, began }));
  };
}

function counted(service: Service): MiddlewareHandler<KvHonoEnv> {
  return async function counted(c, next) {
    const { hold, end } = service.begin(c.env);
    c.set("hold", hold);
    try {
      await next();
    } finally {
      void (c.get("streaming") ?? Promise.resolve()).then(end, end);
    }
  };
}

function isAllowed({ access: { ip, trustProxy } }: ResolvedOptions, c: Context): boolean {
  return ip === undefined || isIn(ip, addressOf(c.req.raw, c.env, trustProxy));
}

/** An address that may not call learns nothing else, no preflight either. */
function gate(config: ResolvedOptions): MiddlewareHandler<KvHonoEnv> {
  const share: MiddlewareHandler =
    config.cors === false ? (_c, next) => next() : cors({ exposeHeaders: EXPOSED, ...config.cors });
  return async function gate(c, next) {
    if (isAllowed(config, c)) return share(c, next);
    const refuse = async () => {
      c.res = notAllowed(config, c);
    };
    return c.req.method === "OPTIONS" ? refuse() : share(c, refuse);
  };
}

/** Lets nobody pass without a principal, nor more often than `access.rateLimit` has it. */
function guard(service: Service, { access: { trustProxy } }: ResolvedOptions): MiddlewareHandler<KvHonoEnv> {
  return async function guard(c, next) {
    const { store, authenticator, access, env } = await open(service, c.env);
    const address = () => addressOf(c.req.raw, c.env, trustProxy);
    const principal = await authenticator.authenticate(c.req.raw, env, access.guesses(address));
    if (access.count !== undefined) {
      const counted = principal && access.count("principal", nameOf(principal));
      const told = await (counted ?? access.count("address", clientOf(address())));
      for (const [name, value] of Object.entries(told)) c.header(name, value);
    }
    if (principal === null) {
      const { headers } = c.req.raw;
      const given = headers.has("Authorization") || headers.has("X-API-Key");
      const detail = given ? "The credential was not accepted" : "Expected a credential";
      throw new KvError("unauthorized", detail, { headers: { "WWW-Authenticate": authenticator.challenge } });
    }
    c.set("principal", principal);
    c.set("store", store);
    c.set("strategies", authenticator.strategies);
    await next();
  };
}

/** An environment that is wrong is the operator's to mend: the caller learns no more than that. */
async function open(service: Service, bindings: unknown) {
  try {
    const env = service.envOf(bindings);
    return { env, ...(await service.open(env)) };
  } catch (cause) {
    if (cause instanceof KvError) throw cause;
    throw new KvError("unavailable", "The service is not configured; its log says what is missing", { cause });
  }
}

async function askStore(service: Service, bindings: unknown, seconds?: number): Promise<void> {
  const { store } = await service.open(service.envOf(bindings));
  await store.ping(seconds);
}

async function askReady(service: Service, bindings: unknown): Promise<void> {
  if (service.closing) throw new KvError("unavailable", "The service is shutting down");
  try {
    await askStore(service, bindings);
  } catch (cause) {
    throw new KvError("unavailable", "The service is not ready", { cause });
  }
}

function notAllowed({ meter }: ResolvedOptions, c: Context<KvHonoEnv>): Response {
  meter?.refused("ip");
  return problem(c, new KvError("forbidden", "This address may not call"));
}

function noSuchRoute(c: Context<KvHonoEnv>): Response {
  return problem(c, new KvError("no_such_route", "No such route; see /open-api.json for those there are"));
}

function answerError(config: ResolvedOptions) {
  return function answerError(thrown: Error, c: Context<KvHonoEnv>): Response {
    return problem(c, reportOf(config, thrown, c));
  };
}

function reportOf(config: ResolvedOptions, thrown: unknown, c: Context<KvHonoEnv>): KvError {
  return report(config, thrown, {
    method: c.req.method,
    requestId: c.get("requestId") ?? "",
    webRequest: () => c.req.raw,
  });
}

function warnClosed({ logger }: ResolvedOptions): void {
  const message = "Nobody gets in: auth has no strategy and no authenticateRequest";
  logger({ level: "warn", message, time: new Date().toISOString() });
}

const shown = (path: string | false) => (path === "" ? "/" : path);

function info({ basePath, endpoints }: ResolvedOptions) {
  return {
    version: VERSION,
    basePath: shown(basePath),
    endpoints: { v1: { admin: shown(endpoints.admin), kv: shown(endpoints.kv) }, public: shown(endpoints.public) },
  };
}
