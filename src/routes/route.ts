import type { Context, Hono } from "hono";
import { routePath } from "hono/route";
import { includesScope, type Principal, type Scope } from "../auth/principal.ts";
import type { Hold } from "../core/budget.ts";
import { KvError } from "../core/errors.ts";
import { checkKey, decodeKey } from "../core/key.ts";
import type { Store } from "../storage/store.ts";
import type { OperationDoc } from "./open-api.ts";
import { empty } from "./respond.ts";

/** What the pipeline leaves for the routes in `c.var`. */
export interface KvVariables {
  requestId: string;
  /** Who calls; there is none on public routes. */
  principal: Principal;
  store: Store;
  /** The authentication strategies that are on and configured. */
  strategies: readonly string[];
  hold: Hold;
  /** Logs what went wrong after the answer had begun. */
  report(error: unknown): void;
  /** Settles when the answer has been read, where it is read from the storage as it goes out. */
  streaming?: Promise<void>;
  /** The route that answers, as it was registered, for the log. */
  route: string;
}

export interface KvHonoEnv {
  Variables: KvVariables;
}

export type KvContext = Context<KvHonoEnv>;

/** One route, as it is registered and as the OpenAPI document shows it. */
export interface Route {
  method: "GET" | "PUT" | "POST" | "DELETE";
  /** Below the path of its group; `/:key` takes all that follows. */
  path: "" | `/${string}`;
  /** What the caller's credential must allow, or `null` for a public route. */
  scope: Scope | null;
  handle(c: KvContext): Response | Promise<Response>;
  doc: OperationDoc;
}

/** Also matches a key with slashes, line breaks, or nothing in it. */
const KEY_PATTERN = ":key{[\\s\\S]*}";

/** Registers the routes of a group below `base`; every other method on their paths is answered 405, `OPTIONS` 204. */
export function register(app: Hono<KvHonoEnv>, base: string, routes: readonly Route[]): void {
  for (const [path, group] of Map.groupBy(routes, (route) => route.path)) {
    const pattern = base + path.replace(":key", KEY_PATTERN) || "/";
    for (const route of group) {
      app.on(route.method, pattern, (c) => {
        c.set("route", base + route.path);
        if (route.scope !== null) permit(c.get("principal"), route.scope);
        return route.handle(c);
      });
    }
    app.all(pattern, (c) => {
      // The first has the least of their scopes.
      if (group[0]?.scope) permit(c.get("principal"), group[0].scope);
      return otherMethod(c, group);
    });
  }
}

/** Throws where the guard has let nobody in, however the request came here, or the credential lacks the right. */
export function permit(principal: Principal | undefined, scope: Scope): void {
  if (principal === undefined) throw new KvError("unauthorized", "Expected a credential");
  if (!includesScope(principal.scope, scope)) {
    throw new KvError("forbidden", `Expected the scope "${scope}", got "${principal.scope}"`);
  }
}

function otherMethod(c: KvContext, routes: readonly Route[]): Response {
  const methods = [...routes.map(({ method }) => method), "OPTIONS"].join(", ");
  const headers = { Allow: methods.replace("GET", "GET, HEAD") };
  if (c.req.method === "OPTIONS") return empty(c, 204, headers);
  throw new KvError("method_not_allowed", `Expected one of ${headers.Allow}, got ${c.req.method}`, { headers });
}

/** The key that a request names: everything after the route's own path, percent-decoded once. Throws where it is none. */
export function keyOf(c: KvContext): string {
  // Counted in slashes, not in characters: the base path may have parameters where the service is mounted.
  const slashes = routePath(c).split(KEY_PATTERN, 1).join().split("/").length - 1;
  const key = rawPath(c.req.raw).split("/").slice(slashes).join("/");
  return checkKey(decodeKey(key), c.var.store.limits.key);
}

/** The path of a request's target as it was sent, undecoded. */
export function rawPath(request: Request): string {
  // Bun has no more than the path where a request has no usable Host.
  return /^(?:[^/]*:\/\/[^/]*)?([^?#]*)/.exec(request.url)?.[1] ?? "";
}
