/** The engines that can be started here, each on a free port in a folder of its own, as its tests start it. */
import { join } from "node:path";
import { CREDENTIALS, missing as missingDynamodb, REGION, startDynamodb } from "../../test/engines/dynamodb-server.ts";
import { missing as missingMysql, startMysql } from "../../test/engines/mysql-server.ts";
import { missing as missingPostgres, startPostgres } from "../../test/engines/postgres-server.ts";
import { missing as missingRedis, startRedis } from "../../test/engines/redis-server.ts";
import { type KvOptions, type Service, startKv } from "../harness/service.ts";
import type { DriverTarget } from "./driver.ts";
import { startService } from "./service.ts";

export interface BenchEngine extends AsyncDisposable {
  name: string;
  /** What the driver alone connects to. */
  target: DriverTarget;
  /** Another instance of the service over it. */
  serve(label: string): Promise<Service>;
  /** As an administrator, where there is one. */
  admin?(...args: string[]): Promise<unknown>;
  port?: number;
}

export interface EngineStart {
  name: string;
  missing: string | null;
  start(folder: string): Promise<BenchEngine>;
}

/** The built command over an engine, with a folder of its own for its log. */
export async function serveUrl(folder: string, label: string, env: KvOptions["env"] = {}): Promise<Service> {
  return { ...(await startKv({ folder: join(folder, label), env })), label };
}

export const dynamodbEnv = (endpoint: string) => ({
  KV_DB: `dynamodb://workertown_kv?region=${REGION}&endpoint=${encodeURIComponent(endpoint)}`,
  AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
  AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
});

export const ENGINES: readonly EngineStart[] = [
  {
    name: "PostgreSQL",
    missing: missingPostgres,
    async start(folder) {
      const engine = await startPostgres();
      return {
        name: "PostgreSQL",
        target: { engine: "postgres", url: engine.url },
        serve: (label) => serveUrl(folder, label, { KV_DB: engine.url }),
        [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
      };
    },
  },
  {
    name: "MariaDB",
    missing: missingMysql,
    async start(folder) {
      const engine = await startMysql();
      return {
        name: "MariaDB",
        target: { engine: "mysql", url: engine.url },
        serve: (label) => serveUrl(folder, label, { KV_DB: engine.url }),
        [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
      };
    },
  },
  {
    name: "Redis",
    missing: missingRedis,
    async start(folder) {
      const engine = await startRedis();
      return {
        name: "Redis",
        target: { engine: "redis", url: engine.url },
        port: engine.nodes[0]?.port ?? 0,
        admin: engine.admin,
        serve: (label) => serveUrl(folder, label, { KV_DB: engine.url }),
        [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
      };
    },
  },
  {
    name: "libSQL file",
    missing: null,
    async start(folder) {
      const url = `file:${join(folder, "libsql.db")}`;
      return {
        name: "libSQL file",
        target: { engine: "libsql", url },
        // The command takes no URL of a file for libSQL.
        serve: (label) => startService(folder, label, { engine: "libsql", url }),
        [Symbol.asyncDispose]: async () => {},
      };
    },
  },
  {
    name: "DynamoDB (dynalite)",
    missing: missingDynamodb,
    async start(folder) {
      const engine = await startDynamodb();
      return {
        name: "DynamoDB (dynalite)",
        target: { engine: "dynamodb", url: engine.endpoint },
        serve: (label) => serveUrl(folder, label, dynamodbEnv(engine.endpoint)),
        [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
      };
    },
  },
  {
    name: "SQLite",
    missing: null,
    async start(folder) {
      const file = join(folder, "compared.sqlite");
      return {
        name: "SQLite",
        target: { engine: "sqlite", url: file },
        serve: (label) => serveUrl(folder, label, { KV_DB: file }),
        [Symbol.asyncDispose]: async () => {},
      };
    },
  },
];
