/**
 * What the driver of an engine does by itself: the statement of a get or a put of ours, over and over, in a process of its
 * own, with as many calls under way as the service has connections, and without HTTP.
 *
 *   node bench/engines/driver.ts '{"engine":…,"url":…}'      told by messages what to do
 */
import { type ChildProcess, fork } from "node:child_process";
import { DatabaseSync } from "node:sqlite";
import { entryOf, type Item, itemOf, layoutOf } from "../../src/storage/dynamodb-item.ts";
import { type Parameter, type Statement, selectOne, upsert } from "../../src/storage/mysql-sql.ts";
import { postgresSql } from "../../src/storage/postgres-sql.ts";
import { WRITE } from "../../src/storage/redis-lua.ts";
import { shaOf, writeArguments } from "../../src/storage/redis-wire.ts";
import { CREDENTIALS, REGION } from "../../test/engines/dynamodb-server.ts";
import { ITEM, jsonOf, nameOf } from "../harness/data.ts";
import { KIB } from "../harness/settings.ts";

export interface DriverTarget {
  engine: "postgres" | "mysql" | "redis" | "libsql" | "dynamodb" | "sqlite";
  url: string;
}

export interface DriverLoad {
  kind: "get" | "put";
  seconds: number;
  /** How many keys there are. */
  count: number;
}

export interface Driver extends AsyncDisposable {
  /** How many statements a second were answered. */
  load(load: DriverLoad): Promise<number>;
}

export const CALLERS = 64;
/** As the service's pools. */
const CONNECTIONS = 10;

export async function startDriver(target: DriverTarget): Promise<Driver> {
  const child: ChildProcess = fork(import.meta.filename, [JSON.stringify(target)], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const ended = new Promise<void>((done) => child.once("exit", () => done()));
  const dead = ended.then((): never => {
    throw new Error(`The driver of ${target.engine} has ended`);
  });
  dead.catch(() => {});
  const said = () =>
    Promise.race([dead, new Promise<{ rate: number }>((done) => child.once("message", (said) => done(said as never)))]);
  await said();
  return {
    async load(load) {
      const answer = said();
      child.send(load);
      return (await answer).rate;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** One get of a key, which must be there, and one put. */
interface Calls {
  get(key: string): Promise<unknown>;
  put(key: string): Promise<unknown>;
}

const VALUE = Buffer.from(jsonOf(0, KIB));
const entry = () => ({ value: VALUE, metadata: null, expiresAt: null, version: "by-the-driver" });

const CALLS: Readonly<Record<DriverTarget["engine"], (url: string) => Promise<Calls>>> = {
  async postgres(url) {
    const { Pool } = await import("pg");
    const pool = new Pool({ connectionString: url, max: CONNECTIONS });
    const sql = postgresSql("default", { keys: (keys) => keys, text: (value) => value, texts: (values) => values });
    const send = ({ name = "", text, values = [] }: ReturnType<typeof sql.get>) => pool.query({ name, text, values });
    return {
      get: async (key) => (await send(sql.get(key))).rows[0].value.length,
      put: (key) => send(sql.put(key, entry(), Date.now())),
    };
  },

  async mysql(url) {
    const { createPool } = await import("mysql2/promise");
    const pool = createPool({ uri: url, connectionLimit: CONNECTIONS });
    pool.pool.on("connection", (connection) => {
      connection.query("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
    });
    const namespace = Buffer.from("default");
    const bytes = (value: Parameter) => (value instanceof Uint8Array ? Buffer.from(value) : value);
    const send = async ({ sql, values }: Statement) => (await pool.execute(sql, values.map(bytes)))[0];
    return {
      get: async (key) =>
        ((await send(selectOne(namespace, Buffer.from(key)))) as { value: Buffer }[])[0]?.value.length,
      put: (key) => send(upsert(namespace, [{ key, entry: entry(), now: Date.now() }])),
    };
  },

  async redis(url) {
    const { createClient } = await import("redis");
    const client = createClient({ url });
    await client.connect();
    const commands = client.withCommandOptions({ typeMapping: { 36: Buffer } });
    const base = "workertown_kv:{default}:";
    const start = `${base}entry:`.length + 1;
    const sha = await shaOf(WRITE);
    return {
      async get(key) {
        const found = await commands.hmGet(`${base}entry:${key}`, ["version", "metadata", "expires_at", "value"]);
        return found[3]?.length;
      },
      put(key) {
        const operations = [{ kind: "put", key, entry: entry() }] as const;
        const args = writeArguments(operations, { now: Date.now(), atomic: false }, start);
        const keys = [`${base}index`, `${base}expiries`, `${base}entry:${key}`];
        return commands.evalSha(sha, { keys, arguments: args as string[] });
      },
    };
  },

  async libsql(url) {
    const { createClient } = await import("@libsql/client");
    const client = createClient({ url, timeout: 5000 });
    const hex = (key: string) => Buffer.from(key).toString("hex").toUpperCase();
    return {
      async get(key) {
        const { rows } = await client.execute({
          sql: SQLITE_GET.replace("?2", "unhex(?2)"),
          args: ["default", hex(key)],
        });
        return Buffer.from(rows[0]?.value as string).length;
      },
      put: (key) =>
        client.execute({
          sql: SQLITE_PUT.replace("?2", "unhex(?2)"),
          args: ["default", hex(key), Date.now(), null, null, "by-the-driver", VALUE.toString()],
        }),
    };
  },

  async dynamodb(endpoint) {
    const { AwsClient } = await import("aws4fetch");
    const client = new AwsClient({ ...CREDENTIALS, region: REGION, service: "dynamodb" });
    const { keyOf, table } = layoutOf("workertown_kv", "default", 1);
    async function send(action: string, input: object): Promise<{ Item?: Item }> {
      const headers = { "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": `DynamoDB_20120810.${action}` };
      const init = { method: "POST", headers, body: JSON.stringify(input) };
      const signed = await client.sign(endpoint, init);
      const answer = await fetch(endpoint, { ...init, headers: signed.headers });
      if (!answer.ok) throw new Error(`${action} answered ${answer.status}: ${await answer.text()}`);
      return (await answer.json()) as { Item?: Item };
    }
    return {
      async get(key) {
        const { Item } = await send("GetItem", { TableName: table, Key: keyOf(key), ConsistentRead: true });
        return Item && entryOf(Item).value?.length;
      },
      put: (key) => send("PutItem", { TableName: table, Item: itemOf(keyOf(key), entry(), Date.now()) }),
    };
  },

  async sqlite(file) {
    const database = new DatabaseSync(file);
    database.exec("PRAGMA busy_timeout = 5000; PRAGMA synchronous = FULL");
    const get = database.prepare(SQLITE_GET);
    const put = database.prepare(SQLITE_PUT);
    return {
      get: async (key) => (get.get("default", Buffer.from(key)) as { value: string }).value.length,
      put: async (key) =>
        put.run("default", Buffer.from(key), Date.now(), null, null, "by-the-driver", VALUE.toString()),
    };
  },
};

const SQLITE_GET = `SELECT metadata, expires_at AS expiresAt, version, value FROM workertown_kv
  WHERE namespace = ?1 AND name = ?2`;
const SQLITE_PUT = `INSERT INTO workertown_kv (namespace, name, metadata, expires_at, version, updated_at, value)
  VALUES (?1, ?2, ?4, ?5, ?6, ?3, ?7)
  ON CONFLICT (namespace, name) DO UPDATE SET metadata = excluded.metadata, expires_at = excluded.expires_at,
  version = excluded.version, updated_at = excluded.updated_at, value = excluded.value`;

/** Where others write the same rows at once a server may undo one of them. */
const DEADLOCK = /Deadlock found/;

async function rateOf({ get, put }: Calls, { kind, seconds, count }: DriverLoad): Promise<number> {
  const random = (prefix: string) => nameOf(prefix, Math.floor(Math.random() * count));
  async function step(): Promise<void> {
    if (kind === "put") await put(random("put-"));
    else if ((await get(random(ITEM))) !== KIB) throw new Error("A get was not answered with the value");
  }
  let done = 0;
  const begun = performance.now();
  const end = begun + seconds * 1000;
  const caller = async () => {
    while (performance.now() < end) {
      await step().catch((error: Error) => {
        if (!DEADLOCK.test(error.message)) throw error;
      });
      done++;
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  return (done / (performance.now() - begun)) * 1000;
}

if (import.meta.main) {
  const { engine, url } = JSON.parse(process.argv[2] ?? "{}") as DriverTarget;
  const calls = await CALLS[engine](url);
  process.on("disconnect", () => process.exit());
  process.on("message", async (load: DriverLoad) => process.send?.({ rate: await rateOf(calls, load) }));
  process.send?.({ rate: 0 });
}
