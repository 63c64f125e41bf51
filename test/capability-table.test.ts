/** The table of capabilities in docs/storage.md is what the adapters say of themselves. `UPDATE=1` writes it anew. */
import { readFileSync, writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import type { StorageAdapter, StorageCapabilities } from "../src/storage/adapter.ts";
import { d1Storage } from "../src/storage/d1.ts";
import { durableObjectStorage } from "../src/storage/durable-object.ts";
import { dynamodbStorage } from "../src/storage/dynamodb.ts";
import { libsqlStorage } from "../src/storage/libsql.ts";
import { memoryStorage } from "../src/storage/memory.ts";
import { mysqlStorage } from "../src/storage/mysql.ts";
import { neonStorage } from "../src/storage/neon.ts";
import { planetscaleStorage } from "../src/storage/planetscale.ts";
import { postgresStorage } from "../src/storage/postgres.ts";
import { redisStorage } from "../src/storage/redis.ts";
import { sqliteStorage } from "../src/storage/sqlite.ts";
import { upstashStorage } from "../src/storage/upstash.ts";
import { workersKvStorage } from "../src/storage/workers-kv.ts";

const PAGE = "docs/storage.md";
const [BEGIN, END] = ["<!-- capabilities: made by test/capability-table.test.ts -->", "<!-- end of capabilities -->"];

/** None of them connects before it is asked for something. */
const ENGINES: Readonly<Record<string, StorageAdapter>> = {
  SQLite: sqliteStorage({ path: ":memory:" }),
  PostgreSQL: postgresStorage({ url: "postgres://localhost/kv" }),
  "MySQL, MariaDB": mysqlStorage({ url: "mysql://localhost/kv" }),
  "Redis, Cluster": redisStorage({ url: "redis://localhost" }),
  "Redis Cluster, `shards` over 1": redisStorage({ url: "redis+cluster://localhost", shards: 8 }),
  "libSQL, a file": libsqlStorage({ url: "file:kv.db" }),
  "libSQL, a server": libsqlStorage({ url: "libsql://localhost" }),
  DynamoDB: dynamodbStorage({
    table: "my-kv",
    region: "eu-central-1",
    credentials: { accessKeyId: "a", secretAccessKey: "b" },
  }),
  "Upstash Redis": upstashStorage({ url: "https://localhost", token: "t" }),
  Neon: neonStorage({ url: "postgres://user:password@localhost/kv" }),
  PlanetScale: planetscaleStorage({ url: "https://user:password@localhost" }),
  "Workers KV": workersKvStorage({} as never),
  "Durable Object": durableObjectStorage({ idFromName: () => ({}), get: () => ({}) } as never),
  D1: d1Storage({ prepare: () => ({}), batch: () => ({}) } as never),
  memory: memoryStorage(),
};

const yes = (holds: boolean) => (holds ? "yes" : "**no**");
const count = (given: number) => (given > 1e12 ? "any" : given.toLocaleString("en"));

function size(bytes: number): string {
  if (bytes > 1e12) return "no limit";
  if (bytes % 1_048_576 === 0) return `${bytes / 1_048_576} MiB`;
  return bytes % 1024 === 0 && bytes >= 65_536 ? `${bytes / 1024} KiB` : count(bytes);
}

function atomicOf({ atomic }: StorageCapabilities): string {
  if (atomic === false) return "**no**";
  if (atomic.operations > 1e12) return "any number";
  return `${count(atomic.operations)} / ${size(atomic.bytes)}`;
}

function table(): string {
  const head = [
    "engine",
    "consistency",
    "conditional",
    "atomic",
    "ordered",
    "snapshot",
    "reportsDelete",
    "maxKey",
    "maxValue",
    "maxMetadata",
  ];
  const rows = Object.entries(ENGINES).map(([name, { capabilities }]) => [
    name,
    capabilities.consistency === "strong" ? "strong" : "**eventual**",
    yes(capabilities.conditional),
    atomicOf(capabilities),
    yes(capabilities.ordered),
    capabilities.snapshot || name === "SQLite" ? "yes" : "no",
    yes(capabilities.reportsDelete),
    ...[capabilities.maxKey, capabilities.maxValue, capabilities.maxMetadata].map(size),
  ]);
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), `|${head.map(() => "---").join("|")}|`, ...rows.map(line)].join("\n");
}

it("docs/storage.md has the capabilities that the adapters state", () => {
  const page = readFileSync(PAGE, "utf8");
  const [before, rest = ""] = page.split(BEGIN);
  const [, after] = rest.split(END);
  const wanted = `${before}${BEGIN}\n\n${table()}\n\n${END}${after}`;
  if (process.env.UPDATE) writeFileSync(PAGE, wanted);
  expect(page).toBe(wanted);
});
