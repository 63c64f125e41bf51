/** Node, Bun and Deno: all of them have `process` and `node:sqlite`. */
import { clientAddress, type TrustedProxies } from "../access/forwarded.ts";
import { type Env, variable } from "../core/env.ts";
import { metricsOf } from "../metrics/measure.ts";
import type { StorageAdapter } from "../storage/adapter.ts";
import { sqliteStorage } from "../storage/sqlite.ts";
import type { Measure, RuntimeFactory } from "./runtime.ts";

/** Whether one process serves all, so that it may count by itself. */
export const COUNTS_IN_MEMORY: boolean = true;

export { createBudget } from "../core/budget.ts";
export { startSweeper } from "../storage/sweeper.ts";

/** The variables of the process. */
export function readEnv(_bindings?: unknown): Env {
  return process.env;
}

/** What a request comes with: on Node by `@hono/node-server`, in `Bun.serve`, in `Deno.serve`. */
interface Connection {
  incoming?: { socket: { remoteAddress?: string } };
  requestIP?(request: Request): { address: string } | null;
  remoteAddr?: { hostname?: string };
}

/** The address of who calls: the socket's, or the one that trusted proxies vouch for. */
export function addressOf(request: Request, bindings: unknown, trusted: TrustedProxies): bigint | null {
  const connection = (bindings ?? {}) as Connection;
  const { incoming, remoteAddr } = connection;
  const own = incoming?.socket.remoteAddress ?? connection.requestIP?.(request)?.address ?? remoteAddr?.hostname;
  return clientAddress(own, request.headers, trusted);
}

/**
 * What `database` names: an SQLite file, `kv.sqlite` by default, `:memory:`, or the URL of an engine. Throws a `TypeError`
 * that quotes no more of a URL than its scheme.
 */
export const defaultRuntime: RuntimeFactory = async ({ database, warn }, env) => {
  const given = variable(env, database, warn) ?? "kv.sqlite";
  const [, scheme] = /^([^/]*):\/\//.exec(given) ?? [];
  if (scheme === undefined) return { storage: sqliteStorage({ path: given }) };
  const open = ENGINES[scheme.toLowerCase()];
  if (open !== undefined) return { storage: await open(given, env) };
  const shown = /^[a-z][a-z0-9+.-]*$/i.test(scheme) ? `"${scheme}://…"` : "a URL";
  throw new TypeError(
    `${database}: expected a file such as ./kv.sqlite, ":memory:" or a URL of ${Object.keys(ENGINES).join(", ")}; got ${shown}, which no engine serves`,
  );
};

/** Where there is no admin, nobody could read what was counted. */
export const measure: Measure = (config) =>
  config.endpoints.admin === false ? [] : metricsOf(config, config.runtime ?? defaultRuntime);

/** The engines by the scheme of their URLs, loaded when one is named. */
const ENGINES: Readonly<Record<string, (url: string, env: Env) => Promise<StorageAdapter>>> = {
  postgres: async (url) => (await import("../storage/postgres.ts")).postgresStorage({ url }),
  postgresql: async (url) => (await import("../storage/postgres.ts")).postgresStorage({ url }),
  mysql: async (url) => (await import("../storage/mysql.ts")).mysqlStorage({ url }),
  mariadb: async (url) => (await import("../storage/mysql.ts")).mysqlStorage({ url }),
  planetscale: async (url) => (await import("../storage/planetscale.ts")).planetscaleStorage({ url }),
  redis: async (url) => (await import("../storage/redis.ts")).redisStorage({ url }),
  rediss: async (url) => (await import("../storage/redis.ts")).redisStorage({ url }),
  "redis+cluster": async (url) => (await import("../storage/redis.ts")).redisStorage({ url }),
  "rediss+cluster": async (url) => (await import("../storage/redis.ts")).redisStorage({ url }),
  libsql: async (url) => (await import("../storage/libsql.ts")).libsqlStorage({ url }),
  dynamodb: async (url, env) => {
    const { dynamodbOptions, dynamodbStorage } = await import("../storage/dynamodb.ts");
    return dynamodbStorage(dynamodbOptions(url, env));
  },
};
