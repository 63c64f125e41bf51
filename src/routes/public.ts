import { routePath } from "hono/route";
import * as docs from "./docs.ts";
import { openApiDocument, type RouteGroup } from "./open-api.ts";
import { data, document } from "./respond.ts";
import { type KvContext, type Route, rawPath } from "./route.ts";

export interface PublicContext {
  /** Resolves when the service and its storage serve; rejects with `unavailable`. */
  ready(c: KvContext): Promise<void>;
  /** Every group that the instance serves, these routes included. */
  groups(): readonly RouteGroup[];
}

/** The routes of `endpoints.public`: they need no credential and say nothing about the inside. */
export function publicRoutes({ ready, groups }: PublicContext): readonly Route[] {
  return [
    { method: "GET", path: "/health", scope: null, handle: (c) => data(c, "OK"), doc: docs.health },
    {
      method: "GET",
      path: "/ready",
      scope: null,
      handle: async (c) => {
        await ready(c);
        return data(c, "OK");
      },
      doc: docs.ready,
    },
    {
      method: "GET",
      path: "/open-api.json",
      scope: null,
      handle: (c) => document(c, openApiDocument(groups(), mountOf(c, groups()))),
      doc: docs.openApi,
    },
  ];
}

/** The path that stands before the service's own, where it is mounted in another app. */
function mountOf(c: KvContext, groups: readonly RouteGroup[]): string {
  const own = groups.map(([base]) => `${base}/open-api.json`).find((path) => routePath(c).endsWith(path)) ?? "";
  const path = rawPath(c.req.raw);
  return path.endsWith(own) ? path.slice(0, path.length - own.length) : "";
}
