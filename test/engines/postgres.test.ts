import { inspect } from "node:util";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StorageAdapter, WriteOperation } from "../../src/storage/adapter.ts";
import { type PostgresPoolLike, type PostgresQuery, postgresStorage } from "../../src/storage/postgres.ts";
import { failureOf } from "../../src/storage/postgres-errors.ts";
import { MIGRATIONS, migrateDatabase } from "../../src/storage/postgres-migrate.ts";
import { callersPool, ownPool, postgresConnections } from "../../src/storage/postgres-pool.ts";
import { freshNamespace, testEngine } from "./engine.ts";
import { missing, type Postgres, startPostgres } from "./postgres-server.ts";

testEngine({ name: "postgres", missing, start: startPostgres });

const encoder = new TextEncoder();
const now = 1_800_000_000_000;
let versions = 0;
const entry = (text: string, given: { expiresAt?: number; version?: string; metadata?: string } = {}) => ({
  value: encoder.encode(text),
  metadata: given.metadata ?? null,
  expiresAt: given.expiresAt ?? null,
  version: given.version ?? `v${versions++}`,
});
const put = (key: string, text = "1", given: Parameters<typeof entry>[1] = {}): WriteOperation => ({
  kind: "put",
  key,
  entry: entry(text, given),
});
const create = (key: string, text = "1"): WriteOperation => ({ ...put(key, text), condition: { ifNoneMatch: "*" } });
const keysTo = (count: number, prefix = "k") => Array.from({ length: count }, (_, index) => `${prefix}${index}`);
const textOf = async (adapter: StorageAdapter, key: string) => {
  const found = await adapter.get(key);
  return found && new TextDecoder().decode(found.value);
};

describe("postgres: options", () => {
  it.each([
    [{}, "url"],
    [{ url: "postgres://u:hidden@h/d", pool: {} as PostgresPoolLike }, "url"],
    [{ url: "mysql://u:hidden@h/d" }, "url"],
    [{ url: "postgres://u:hidden@h:port/d" }, "url"],
    [{ url: "postgres://u:hidden@h/d", connections: 1 }, "connections"],
    [{ url: "postgres://u:hidden@h/d", connections: 2.5 }, "connections"],
    [{ url: "postgres://u:hidden@h/d", namespace: "" }, "namespace"],
    [{ url: "postgres://u:hidden@h/d", namespace: "a\0" }, "namespace"],
    [{ url: "postgres://u:hidden@h/d", namespace: "é".repeat(128) }, "namespace"],
  ])("%o is refused by its path, without what may be secret", (options, path) => {
    const error = (() => {
      try {
        postgresStorage(options);
      } catch (thrown) {
        return thrown;
      }
    })();
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).toMatch(new RegExp(`^${path}: Expected `));
    expect(inspect(error)).not.toContain("hidden");
  });

  it("takes a URL that names a socket", async () => {
    const adapter = postgresStorage({ url: "postgresql://kv@/kv?host=/nowhere" });
    await expect(adapter.get("k")).rejects.toMatchObject({ code: "unavailable" });
    await adapter.close?.();
  });
});

describe("postgres: errors", () => {
  const server = (code: string) => Object.assign(new Error("message"), { code, severity: "ERROR" });

  it.each(["08006", "28P01", "25006", "25P03", "3D000", "40P01", "53300", "55P03", "57014", "57P01", "58030", "XX000"])(
    "%s is unavailable",
    (code) => expect(failureOf(server(code), false)).toMatchObject({ code: "unavailable", cause: { code } }),
  );

  it("a full disk is storage_full, and a fault of ours stays what it is", () => {
    expect(failureOf(server("53100"), true)).toMatchObject({ code: "storage_full" });
    for (const code of ["42P01", "22021", "21000", "25P02"]) {
      const error = server(code);
      expect(failureOf(error, true)).toBe(error);
    }
  });

  it("only where the answer to a commit is missing, its outcome is unknown", () => {
    const unknown = "; the outcome of the write is unknown";
    const message = (error: unknown, commits: boolean) => (failureOf(error, commits) as Error).message;
    for (const lost of [server("57P01"), server("08006"), new Error("Connection terminated"), { code: "EPIPE" }]) {
      expect(message(lost, true)).toContain(unknown);
      expect(message(lost, false)).not.toContain(unknown);
    }
    expect(message(server("57014"), true)).not.toContain(unknown);
  });
});

describe.skipIf(missing !== null)("postgres: on a server", () => {
  let server: Postgres;
  const adapters: StorageAdapter[] = [];
  let databases = 0;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(async () => {
    await Promise.all(adapters.map((adapter) => adapter.close?.()));
    await server?.[Symbol.asyncDispose]();
  });

  function open(options: Partial<Parameters<typeof postgresStorage>[0]> = {}): StorageAdapter {
    const from = options.pool === undefined ? { url: server.url } : {};
    const adapter = postgresStorage({ ...from, namespace: freshNamespace(), ...options });
    adapters.push(adapter);
    return adapter;
  }
  const freshDatabase = (options?: string) => server.database(`fresh${databases++}`, options);

  /** A pool of the caller's that keeps what is asked. */
  function watchedPool(config: pg.PoolConfig = {}): { pool: pg.Pool; queries: PostgresQuery[] } {
    const pool = new pg.Pool({ connectionString: server.url, ...config });
    const queries: PostgresQuery[] = [];
    pool.on("connect", (client) => {
      const query = client.query.bind(client) as (...given: unknown[]) => unknown;
      client.query = ((...given: [PostgresQuery]) => {
        queries.push(given[0]);
        return query(...given);
      }) as unknown as typeof client.query;
    });
    return { pool, queries };
  }

  /** Holds the rows of a namespace by a transaction of somebody else's, until it is called. */
  async function holdRows(namespace: string): Promise<() => Promise<void>> {
    const client = new pg.Client({ connectionString: server.url });
    client.on("error", () => {});
    await client.connect();
    await client.query("BEGIN");
    await client.query("SELECT FROM workertown_kv WHERE namespace = $1 FOR UPDATE", [namespace]);
    return () => client.end();
  }

  /** Until so many queries of the service wait for a lock. */
  async function untilWaiting(count: number): Promise<void> {
    const text =
      "SELECT count(*)::int AS waiting FROM pg_stat_activity WHERE usename = 'kv' AND wait_event_type = 'Lock'";
    while ((await server.admin(text))[0]?.waiting !== count) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  describe("schema", () => {
    it("is what the docs say", async () => {
      await open().migrate?.();
      const columns = await server.admin(
        `SELECT column_name || ' ' || data_type || CASE is_nullable WHEN 'NO' THEN ' NOT NULL' ELSE '' END AS column
           FROM information_schema.columns WHERE table_name = 'workertown_kv' ORDER BY ordinal_position`,
      );
      expect(columns.map(({ column }) => column)).toEqual([
        "namespace text NOT NULL",
        "name bytea NOT NULL",
        "value text NOT NULL",
        "metadata text",
        "expires_at bigint",
        "version text NOT NULL",
        "updated_at bigint NOT NULL",
      ]);
      const indexes = await server.admin(
        "SELECT indexdef FROM pg_indexes WHERE tablename = 'workertown_kv' ORDER BY 1",
      );
      expect(indexes.map(({ indexdef }) => String(indexdef).replace(/^.* USING /, ""))).toEqual([
        "btree (namespace, expires_at) WHERE (expires_at IS NOT NULL)",
        "btree (namespace, name)",
      ]);
      const [{ collation, storage } = {}] = await server.admin(
        `SELECT (SELECT attcollation::regcollation::text FROM pg_attribute WHERE attrelid = c.oid AND attname = 'namespace')
           AS collation, (SELECT attstorage FROM pg_attribute WHERE attrelid = c.oid AND attname = 'value') AS storage
           FROM pg_class c WHERE relname = 'workertown_kv'`,
      );
      expect([collation, storage]).toEqual(['"C"', "e"]);
      expect(await server.admin("SELECT * FROM workertown_kv_schema")).toEqual([
        { version: 1, name: "0001-create-table" },
      ]);
    });

    it("is made once by ten instances that start at once", async () => {
      const url = await freshDatabase();
      const ten = Array.from({ length: 10 }, () => open({ url }));
      const steps = await Promise.all(ten.map((adapter) => adapter.migrate?.()));
      expect(steps.flat()).toEqual(["0001-create-table"]);
      await Promise.all(ten.map((adapter, index) => adapter.write([put(`k${index}`)], { now, atomic: false })));
      expect(await ten[0]?.migrate?.()).toEqual([]);
    });

    it("is upgraded step by step, and refused once it is newer", async () => {
      const url = await freshDatabase();
      const adapter = open({ url, namespace: "n" });
      await adapter.write([put("k", '"kept"')], { now, atomic: false });
      const source = ownPool(url, 2, true);
      const newer = [...MIGRATIONS, { name: "0002-add", sql: "ALTER TABLE workertown_kv ADD COLUMN extra text;" }];
      try {
        const database = postgresConnections(source, true);
        const twice = [migrateDatabase(database, newer), migrateDatabase(database, newer)];
        expect((await Promise.all(twice)).flat()).toEqual(["0002-add"]);
        await expect(
          migrateDatabase(database, [...newer, { name: "0003-bad", sql: "SELECT 1 / 0;" }]),
        ).rejects.toThrow();
        expect(await migrateDatabase(database, newer)).toEqual([]);
      } finally {
        await source.close();
      }
      expect(await textOf(adapter, "k")).toBe('"kept"');
      const message =
        "The database was made by a newer version (its schema is 2, this version knows 1); update @workertown/kv";
      await expect(open({ url }).get("k")).rejects.toMatchObject({ code: "unavailable", message });
    });

    it("is upgraded under the load of an older version, which loses no write and goes on", async () => {
      const url = await freshDatabase();
      const older = [open({ url, namespace: "n" }), open({ url, namespace: "n" })];
      let running = true;
      const counts = await (async () => {
        const writers = Array.from({ length: 8 }, async (_, index) => {
          let written = 0;
          while (running) {
            const storage = older[index % 2] as StorageAdapter;
            expect(await storage.write([put(`w${index}`, `${written + 1}`)], { now, atomic: false })).toEqual([
              "written",
            ]);
            written += 1;
            expect(await textOf(storage, `w${index}`)).toBe(`${written}`);
          }
          return written;
        });
        await new Promise((resolve) => setTimeout(resolve, 200));
        const source = ownPool(url, 2, true);
        const sql = "ALTER TABLE workertown_kv ADD COLUMN extra text; UPDATE workertown_kv SET extra = 'x';";
        const newer = [...MIGRATIONS, { name: "0002-add", sql }];
        expect(await migrateDatabase(postgresConnections(source, true), newer)).toEqual(["0002-add"]);
        await source.close();
        await new Promise((resolve) => setTimeout(resolve, 200));
        running = false;
        return Promise.all(writers);
      })();
      for (const [index, written] of counts.entries()) {
        expect(written).toBeGreaterThan(10);
        expect(await textOf(older[0] as StorageAdapter, `w${index}`)).toBe(`${written}`);
      }
    });

    it("is made where the search_path says", async () => {
      const url = await freshDatabase();
      await server.admin("CREATE SCHEMA apart AUTHORIZATION kv", [], new URL(url).pathname.slice(1));
      await open({ url: `${url}?options=-c%20search_path%3Dapart` }).write([put("k")], { now, atomic: false });
      const tables = await server.admin(
        "SELECT schemaname FROM pg_tables WHERE tablename LIKE 'workertown%'",
        [],
        new URL(url).pathname.slice(1),
      );
      expect(tables.map(({ schemaname }) => schemaname)).toEqual(["apart", "apart"]);
    });

    it("needs UTF-8", async () => {
      const url = await freshDatabase("ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0");
      const message = "The database must have the encoding UTF8; it has SQL_ASCII";
      await expect(open({ url }).get("k")).rejects.toMatchObject({ code: "unavailable", message });
    });
  });

  describe("at rest", () => {
    it("keys are bytes and values the very text", async () => {
      const namespace = freshNamespace();
      const text = '{ "b" : [1.0, 1E400], "a":1, "a":"\\u0000\\ud800" }';
      await open({ namespace }).write([put("é\0/ ", text, { metadata: ' {"m": 1}' })], { now, atomic: false });
      const rows = await server.admin("SELECT * FROM workertown_kv WHERE namespace = $1", [namespace]);
      expect(rows).toMatchObject([{ value: text, metadata: ' {"m": 1}', expires_at: null, updated_at: `${now}` }]);
      expect(Buffer.from(rows[0]?.name as Uint8Array).toString()).toBe("é\0/ ");
    });

    it("the longest key has room in the index", async () => {
      const adapter = open({ namespace: "n".repeat(255) });
      // Nothing that could be compressed.
      const key = Array.from({ length: 1024 }, (_, index) => String.fromCharCode(0x80 + ((index * 7919) % 1900))).join(
        "",
      );
      expect(encoder.encode(key).length).toBe(adapter.capabilities.maxKey);
      await adapter.write([put(key)], { now, atomic: false });
      expect(await textOf(adapter, key)).toBe("1");
      await adapter.write([{ kind: "delete", key }], { now, atomic: false });
    });

    it("of a key that was only locked nothing is left", async () => {
      const namespace = freshNamespace();
      const adapter = open({ namespace });
      await adapter.write([put("there"), { kind: "delete", key: "absent" }], { now, atomic: true });
      await adapter.write([create("there"), put("other")], { now, atomic: true });
      await adapter.write([create("there"), { kind: "delete", key: "absent" }, put("new")], { now, atomic: false });
      const rows = await server.admin("SELECT name FROM workertown_kv WHERE namespace = $1", [namespace]);
      expect(rows.map(({ name }) => String(name)).sort()).toEqual(["new", "there"]);
    });
  });

  describe("round trips", () => {
    it("each call takes as few as it can", async () => {
      const { pool, queries } = watchedPool();
      const adapter = open({ pool });
      await adapter.write([put("there")], { now, atomic: false });
      const count = async (call: unknown) => {
        queries.length = 0;
        await call;
        return queries.length;
      };
      const write = (...operations: WriteOperation[]) => adapter.write(operations, { now, atomic: false });
      const atomic = (...operations: WriteOperation[]) =>
        adapter.write(operations, { now, atomic: true, valueBytes: 1000 });
      try {
        expect(await count(adapter.get("there"))).toBe(1);
        expect(await count(write(put("k")))).toBe(1);
        expect(await count(write(create("new")))).toBe(1);
        expect(await count(write({ ...put("k"), condition: { ifMatch: "*", ifNoneMatch: ["x"] } }))).toBe(1);
        expect(await count(write({ kind: "delete", key: "k" }))).toBe(1);
        expect(await count(write({ kind: "delete", key: "new", condition: { ifMatch: ["x"] } }))).toBe(1);
        expect(await count(adapter.getMany?.(keysTo(1000), 1_000_000))).toBe(1);
        const query = { prefix: "", cursor: null, limit: 1000, now };
        expect(await count(adapter.list({ ...query, valueBytes: null }))).toBe(1);
        expect(await count(adapter.list({ ...query, valueBytes: 1000 }))).toBe(1);
        expect(await count(write(...keysTo(1000).map((key) => put(key))))).toBe(1);
        expect(await count(atomic(...keysTo(1000).map((key) => put(key))))).toBe(1);
        expect(await count(atomic(...keysTo(1000).map((key): WriteOperation => ({ kind: "get", key }))))).toBe(2);
        expect(await count(atomic(...keysTo(1000, "c").map((key) => create(key))))).toBe(5);
        expect(await count(atomic(...keysTo(1000, "c").map((key) => create(key))))).toBe(4);
        const mixed = keysTo(900).map((key, index): WriteOperation => (index % 2 ? put(key) : { kind: "delete", key }));
        expect(await count(write(...mixed, create("k901")))).toBe(6);
        expect(await count(adapter.sweep?.(now, 100))).toBe(1);
      } finally {
        await pool.end();
      }
    });

    it("gets and puts of one turn share statements, and a large value does not hold the others up", async () => {
      const { pool, queries } = watchedPool();
      const adapter = open({ pool });
      const keys = keysTo(64);
      const large = `"${"x".repeat(100_000)}"`;
      try {
        await adapter.get("k");
        queries.length = 0;
        const puts = keys.map((key) =>
          adapter.write([put(key, key === "k7" ? large : `"${key}"`)], { now, atomic: false }),
        );
        expect((await Promise.all(puts)).flat()).toEqual(keys.map(() => "written"));
        expect(queries.length).toBe(2);
        queries.length = 0;
        const found = await Promise.all([...keys, "k1", "none"].map((key) => textOf(adapter, key)));
        expect(found).toEqual([...keys.map((key) => (key === "k7" ? large : `"${key}"`)), '"k1"', null]);
        expect(queries.length).toBe(2);
      } finally {
        await pool.end();
      }
    });

    it("many large values go in several statements of one transaction", async () => {
      const { pool, queries } = watchedPool();
      const adapter = open({ pool });
      await adapter.get("k");
      queries.length = 0;
      const text = `"${"x".repeat(3_000_000)}"`;
      await adapter.write(
        ["b", "a", "c", "b"].map((key) => put(key, text)),
        { now, atomic: true },
      );
      // BEGIN, two of 8 MiB at most, COMMIT.
      expect(queries.length).toBe(4);
      const found = await adapter.getMany?.(["a", "b", "c"], 7_000_000);
      expect(found?.map((one) => one?.value?.length)).toEqual([3_000_002, 3_000_002, undefined]);
      await pool.end();
    });
  });

  describe("locks", () => {
    it("a batch decides by what it has locked, also of keys that are absent", async () => {
      const namespace = freshNamespace();
      const [first, second] = [open({ namespace }), open({ namespace })];
      await first.write([put("b")], { now, atomic: false });
      const free = await holdRows(namespace);
      const waits = first.write([{ kind: "delete", key: "b" }, create("absent")], { now, atomic: true });
      await untilWaiting(1);
      const late = second.write([create("absent", "2")], { now, atomic: false });
      await untilWaiting(2);
      await second.write([{ kind: "delete", key: "absent too" }, put("c")], { now, atomic: true });
      await free();
      expect(await waits).toEqual(["deleted", "written"]);
      expect(await late).toEqual(["refused"]);
    });

    it("a write that nobody awaits any more does not undo a later one, and other keys do not wait for it", async () => {
      const namespace = freshNamespace();
      const adapter = open({ namespace });
      await adapter.write([put("k", "0")], { now, atomic: false });
      const free = await holdRows(namespace);
      const first = adapter.write([put("k", "1")], { now, atomic: false });
      await untilWaiting(1);
      const second = adapter.write([put("k", "2")], { now, atomic: false });
      const third = adapter.write([put("k", "3"), { kind: "delete", key: "other" }], { now, atomic: false });
      await adapter.write([put("free", "4")], { now, atomic: false });
      await untilWaiting(1);
      await free();
      await Promise.all([first, second, third]);
      expect(await textOf(adapter, "k")).toBe("3");
    });

    it("conflicts of isolated transactions are tried again", async () => {
      const namespace = freshNamespace();
      const url = `${server.url}?options=-c%20default_transaction_isolation%3Dserializable`;
      const two = [open({ url, namespace }), open({ url, namespace })];
      const rounds = keysTo(20).map(async (key, index) => {
        const adapter = two[index % 2] as StorageAdapter;
        await adapter.write([put("hot", `"${key}"`)], { now, atomic: false });
        return adapter.write([put("hot2"), { kind: "delete", key: `${key}none` }], { now, atomic: false });
      });
      expect((await Promise.all(rounds)).flat()).toEqual(keysTo(20).flatMap(() => ["written", "absent"]));
    });

    it("a sweep is one instance's at a time, passes over what is locked, and keeps to its namespace", async () => {
      const namespace = freshNamespace();
      const [first, second, other] = [open({ namespace }), open({ namespace }), open()];
      const gone = keysTo(10).map((key) => put(key, "1", { expiresAt: now }));
      for (const adapter of [first, other]) await adapter.write(gone, { now: now - 1, atomic: false });
      const client = new pg.Client({ connectionString: server.url });
      await client.connect();
      try {
        await client.query("BEGIN");
        await client.query("SELECT pg_advisory_xact_lock(7310391, hashtext($1))", [namespace]);
        expect(await first.sweep?.(now, 100)).toBe(0);
        expect(await other.sweep?.(now, 4)).toBe(4);
        await client.query("COMMIT; BEGIN");
        await client.query("SELECT FROM workertown_kv WHERE namespace = $1 AND name = 'k3' FOR UPDATE", [namespace]);
        expect(await first.sweep?.(now, 100)).toBe(9);
      } finally {
        await client.end();
      }
      expect(await second.sweep?.(now, 100)).toBe(1);
      expect(await other.sweep?.(now, 100)).toBe(6);
    });
  });

  describe("trouble", () => {
    it("a login that is refused is unavailable, and no error shows the password", async () => {
      const wrong = open({ url: server.url.replace(server.secret, `wrong-${server.secret}`) });
      const error = await Promise.resolve(wrong.get("k")).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: "unavailable", cause: { code: "28P01" } });
      expect(inspect(error, { depth: 10 })).not.toContain(server.secret);
    });

    it("a database that is not there, is read-only or has no connection left is unavailable", async () => {
      const absent = open({ url: server.url.replace(/kv$/, "nowhere") });
      await expect(absent.get("k")).rejects.toMatchObject({ code: "unavailable", cause: { code: "3D000" } });
      const readOnly = open({ url: `${server.url}?options=-c%20default_transaction_read_only%3Don` });
      expect(await readOnly.get("k")).toBeNull();
      const write = readOnly.write([put("k")], { now, atomic: false });
      await expect(write).rejects.toMatchObject({ code: "unavailable", cause: { code: "25006" } });
      await server.admin("ALTER ROLE kv CONNECTION LIMIT 0");
      try {
        await expect(open().get("k")).rejects.toMatchObject({ code: "unavailable", cause: { code: "53300" } });
      } finally {
        await server.admin("ALTER ROLE kv CONNECTION LIMIT -1");
      }
    });

    it("a statement that takes too long is given up by the server, and nothing has changed", async () => {
      const namespace = freshNamespace();
      const { pool } = watchedPool({ statement_timeout: 200 });
      const adapter = open({ pool, namespace });
      await adapter.write([put("k", "0")], { now, atomic: false });
      const free = await holdRows(namespace);
      const error = await Promise.resolve(adapter.write([put("k")], { now, atomic: false })).catch((thrown) => thrown);
      await free();
      expect(error).toMatchObject({ code: "unavailable", cause: { code: "57014" } });
      expect(error.message).not.toContain("unknown");
      expect(await textOf(adapter, "k")).toBe("0");
      await pool.end();
    });

    it("a write whose connection is lost has an unknown outcome, in a batch only at its commit", async () => {
      const namespace = freshNamespace();
      const adapter = open({ namespace });
      await adapter.write([put("k", "0")], { now, atomic: false });
      const free = await holdRows(namespace);
      const single = adapter.write([put("k")], { now, atomic: false });
      const batch = open({ namespace }).write([put("k"), create("l")], { now, atomic: true });
      const outcomes = Promise.allSettled([single, batch]);
      await untilWaiting(2);
      await server.cut();
      await free().catch(() => {});
      const [first, second] = (await outcomes) as PromiseRejectedResult[];
      expect(first?.reason).toMatchObject({ code: "unavailable", cause: { code: "57P01" } });
      expect(first?.reason.message).toMatch(/; the outcome of the write is unknown$/);
      expect(second?.reason).toMatchObject({ code: "unavailable" });
      expect(second?.reason.message).not.toContain("unknown");
      expect(await textOf(adapter, "k")).toBe("0");
    });

    it("the loss of connections that are idle, or that a snapshot holds, does not end the process", async () => {
      const adapter = open({ connections: 4 });
      await Promise.all(keysTo(8).map((key) => adapter.get(key)));
      const view = await adapter.snapshot?.();
      await server.cut();
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(await adapter.get("k")).toBeNull();
      const query = { prefix: "", cursor: null, limit: 10, valueBytes: null, now };
      await expect(view?.list(query)).rejects.toMatchObject({ code: "unavailable" });
      await view?.close();
    });

    it("exports leave connections to the others", async () => {
      const adapter = open({ connections: 4 });
      const views = [await adapter.snapshot?.(), await adapter.snapshot?.()];
      await expect(adapter.snapshot?.()).rejects.toMatchObject({ code: "unavailable" });
      await adapter.write([put("k"), create("l")], { now, atomic: true });
      await views[0]?.close();
      views[0] = await adapter.snapshot?.();
      for (const view of views) await view?.close();
    });
  });

  it("a pool of the caller's is shared by namespaces and stays open", async () => {
    const { pool } = watchedPool({ max: 3 });
    const [first, second] = [postgresStorage({ pool, namespace: "one" }), postgresStorage({ pool, namespace: "two" })];
    await first.write([put("k", "1")], { now, atomic: false });
    expect(await second.get("k")).toBeNull();
    await first.close?.();
    expect((await pool.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
    expect(pool.listenerCount("error")).toBe(1);
    await pool.end();
  });

  it("behind a PgBouncer no statement is prepared under a name", async () => {
    const adapter = open({ url: `${server.url}?pgbouncer=true`, connections: 2 });
    await adapter.write([put("k", "1")], { now, atomic: false });
    expect(await textOf(adapter, "k")).toBe("1");
    for (const prepare of [true, false]) {
      const { pool, queries } = watchedPool();
      await postgresConnections(callersPool(pool), prepare).run({ name: "one", text: "SELECT 1" });
      expect(queries.map(({ name }) => name)).toEqual([prepare ? "one" : undefined]);
      await pool.end();
    }
  });
});
