import * as docs from "./docs.ts";
import { data } from "./respond.ts";
import type { KvContext, Route } from "./route.ts";
import { exportEntries, importEntries } from "./transfer.ts";

/** What `/admin/info` says of the options; the rest it asks of the store. */
export interface InstanceInfo {
  version: string;
  basePath: string | false;
  endpoints: { v1: { admin: string | false; kv: string | false }; public: string | false };
}

/** The routes of `endpoints.v1.admin`. */
export function adminRoutes(info: InstanceInfo): readonly Route[] {
  return [
    {
      method: "GET",
      path: "/info",
      scope: "admin",
      handle: (c) => {
        const { engine, capabilities, limits } = c.var.store;
        return data(c, { ...info, storage: { engine, capabilities }, limits, auth: c.var.strategies });
      },
      doc: docs.info,
    },
    {
      method: "POST",
      path: "/migrate",
      scope: "admin",
      handle: async (c: KvContext) => data(c, await c.var.store.migrate()),
      doc: docs.migrate,
    },
    { method: "GET", path: "/export", scope: "admin", handle: exportEntries, doc: docs.exportAll },
    { method: "POST", path: "/import", scope: "admin", handle: importEntries, doc: docs.importAll },
  ];
}
