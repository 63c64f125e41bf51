import { inspect } from "node:util";
import { createPool } from "mysql2/promise";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { keyBytes } from "../../src/core/key.ts";
import type { StorageAdapter, WriteOperation, WriteOutcome } from "../../src/storage/adapter.ts";
import { type MysqlConnectionLike, type MysqlPoolLike, mysqlStorage } from "../../src/storage/mysql.ts";
import { mysqlAdapter } from "../../src/storage/mysql-adapter.ts";
import { mysqlPool } from "../../src/storage/mysql-pool.ts";
import { MIGRATIONS } from "../../src/storage/mysql-sql.ts";
import { storedEntry } from "../../src/testing/subject.ts";
import { testEngine } from "./engine.ts";
import { type Mysql, missing, startMysql } from "./mysql-server.ts";

/** What we set for each session is otherwise by default here. For values of 25 MiB the packet is 64 MiB. */
const SETTINGS = {
  "sql-mode": "",
  "character-set-server": "latin1",
  "transaction-isolation": "SERIALIZABLE",
  autocommit: "0",
  "max-allowed-packet": "64M",
};
let started: Promise<Mysql> | undefined;
const start = () => {
  started ??= startMysql(SETTINGS);
  return started;
};

testEngine({ name: "mysql", missing, start });

const NOW = 1_800_000_000_000;
const at = (atomic: boolean, valueBytes = 0) => ({ now: NOW, atomic, valueBytes });
let versions = 0;

type Condition = WriteOperation["condition"];
type EntryOptions = Partial<Parameters<typeof storedEntry>[1]>;

function put(key: string, text: string, condition?: Condition, options: EntryOptions = {}): WriteOperation {
  return { kind: "put", key, condition, entry: storedEntry(text, { version: `v${versions++}`, ...options }) };
}

async function textOf(storage: StorageAdapter, key: string): Promise<string | null> {
  const entry = await storage.get(key);
  return entry && new TextDecoder().decode(entry.value);
}

const codeOf = (promise: unknown) =>
  Promise.resolve(promise).then(
    () => "no error",
    (error: { code?: string; message: string }) => `${error.code}: ${error.message}`,
  );

describe.skipIf(missing !== null)("mysql", () => {
  let mysql: Mysql;
  let databases = 0;

  beforeAll(async () => {
    mysql = await start();
    await mysql.admin("SET GLOBAL max_allowed_packet = 16777216");
  });
  // The server is ended by the tests above.
  afterAll(() => mysql.admin("SET GLOBAL max_allowed_packet = 67108864"));

  /** A database of its own, which nothing has touched. */
  async function emptyDatabase(): Promise<{ name: string; url: string }> {
    const name = `kv${++databases}`;
    await mysql.admin(`CREATE DATABASE ${name}`);
    await mysql.admin(`GRANT ALL ON ${name}.* TO kv@'%'`);
    return { name, url: mysql.url.replace(/\/kv$/, `/${name}`) };
  }

  async function withStorage(
    run: (storage: StorageAdapter, namespace: string) => Promise<void>,
    pool?: MysqlPoolLike,
  ): Promise<void> {
    const namespace = `own-${databases++}`;
    const storage = mysqlStorage({ ...(pool === undefined ? { url: mysql.url } : { pool }), namespace });
    try {
      await run(storage, namespace);
    } finally {
      await storage.close?.();
    }
  }

  /** A pool that notes each statement with how it was sent. */
  function noted(given: Parameters<typeof createPool>[0] = {}) {
    const pool = createPool({ uri: mysql.url, ...(given as object) });
    const statements: string[] = [];
    const source: MysqlPoolLike = {
      end: () => pool.end(),
      async getConnection() {
        const connection = await pool.getConnection();
        const send = (how: "execute" | "query"): MysqlConnectionLike["query"] => {
          return (sql, values) => {
            statements.push(`${how} ${sql.replace(/\s+/g, " ")}`);
            return how === "execute" ? connection.execute(sql, values) : connection.query(sql, values);
          };
        };
        return {
          connection: connection.connection,
          release: () => connection.release(),
          destroy: () => connection.destroy(),
          execute: send("execute"),
          query: send("query"),
        };
      },
    };
    return { source, statements, end: () => pool.end() };
  }

  describe("schema", () => {
    it("is as the documentation has it", async () => {
      const { name, url } = await emptyDatabase();
      const storage = mysqlStorage({ url });
      expect(await storage.migrate?.()).toEqual(["0001-create-table"]);
      expect(await storage.migrate?.()).toEqual([]);
      await storage.close?.();
      const [table] = await mysql.admin(`SHOW CREATE TABLE ${name}.workertown_kv`);
      expect(table?.["Create Table"]).toBe(
        [
          "CREATE TABLE `workertown_kv` (",
          "  `namespace` varbinary(255) NOT NULL,",
          "  `name` varbinary(2048) NOT NULL,",
          "  `metadata` mediumtext DEFAULT NULL,",
          "  `expires_at` bigint(20) DEFAULT NULL,",
          "  `version` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,",
          "  `updated_at` bigint(20) NOT NULL,",
          "  `value` longtext NOT NULL,",
          "  PRIMARY KEY (`namespace`,`name`),",
          "  KEY `workertown_kv_expires` (`namespace`,`expires_at`)",
          ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin ROW_FORMAT=DYNAMIC",
        ].join("\n"),
      );
      expect(await mysql.admin(`SELECT version, name FROM ${name}.workertown_kv_schema`)).toEqual([
        { version: 1, name: "0001-create-table" },
      ]);
    });

    it("is made once by ten that start at once, and again where a step was run and not recorded", async () => {
      const { name, url } = await emptyDatabase();
      const storages = Array.from({ length: 10 }, () => mysqlStorage({ url }));
      const steps = await Promise.all(storages.map((storage) => storage.migrate?.()));
      expect(steps.flat()).toEqual(["0001-create-table"]);
      const outcomes = await Promise.all(
        storages.map((storage) => storage.write([put("k", "1", { ifNoneMatch: "*" })], at(false))),
      );
      expect(outcomes.flat().filter((outcome) => outcome === "written")).toHaveLength(1);
      await mysql.admin(`DELETE FROM ${name}.workertown_kv_schema`);
      expect(await storages[0]?.migrate?.()).toEqual(["0001-create-table"]);
      expect(await textOf(storages[1] as StorageAdapter, "k")).toBe("1");
      await Promise.all(storages.map((storage) => storage.close?.()));
    });

    it("is upgraded step by step, and a version that knows fewer steps refuses it and changes nothing", async () => {
      const { name, url } = await emptyDatabase();
      const before = mysqlStorage({ url });
      await before.write([put("k", '"kept"')], at(false));
      const more = [...MIGRATIONS, { name: "0002-note", sql: "ALTER TABLE workertown_kv ADD COLUMN note INT" }];
      const pool = mysqlPool(() => createPool(url), true);
      const after = mysqlAdapter(pool, keyBytes("default"), more);
      expect(await textOf(after, "k")).toBe('"kept"');
      expect(await mysql.admin(`SELECT version FROM ${name}.workertown_kv_schema ORDER BY version`)).toEqual([
        { version: 1 },
        { version: 2 },
      ]);
      const old = mysqlStorage({ url });
      const refusal =
        "unavailable: The database was made by a newer version (its schema is 2, this version knows 1); update @workertown/kv";
      expect(await codeOf(old.migrate?.())).toBe(refusal);
      expect(await codeOf(old.write([put("k", "2")], at(false)))).toBe(refusal);
      expect(await textOf(after, "k")).toBe('"kept"');
      await Promise.all([before, after, old].map((storage) => storage.close?.()));
    });
  });

  describe("sessions", () => {
    it("keep what was written on a server that commits nothing by itself, and refuse what its columns cannot hold", async () => {
      await withStorage(async (storage, namespace) => {
        await storage.write([put("k", '"漢字 😀 \\u0000"', undefined, { metadata: '"é 😀"' })], at(false));
        const [row] = await mysql.admin(
          "SELECT CAST(value AS BINARY) AS value, CAST(metadata AS BINARY) AS metadata FROM workertown_kv WHERE namespace = ?",
          [namespace],
        );
        expect([`${row?.value}`, `${row?.metadata}`]).toEqual(['"漢字 😀 \\u0000"', '"é 😀"']);
        const broken = { ...storedEntry("1", { version: "v" }), value: Uint8Array.of(0x22, 0xff, 0x22) };
        const write = storage.write([{ kind: "put", key: "k", entry: broken }], at(false));
        expect(await codeOf(write)).toContain("ER_TRUNCATED_WRONG_VALUE_FOR_FIELD");
        expect(await textOf(storage, "k")).toBe('"漢字 😀 \\u0000"');
      });
    });

    it.each([
      ["with FOUND_ROWS", {}],
      ["without FOUND_ROWS", { flags: ["-FOUND_ROWS"] }],
      ["in latin1", { charset: "latin1_swedish_ci" }],
      ["with big numbers as strings", { supportBigNumbers: true, bigNumberStrings: true }],
    ])("of a given pool, %s, give the same answers, and the pool stays open", async (_, options) => {
      const pool = createPool({ uri: mysql.url, ...options });
      const { storage, other } = { storage: mysqlStorage({ pool }), other: mysqlStorage({ url: mysql.url }) };
      await storage.write([{ kind: "delete", key: "pooled" }], at(false));
      const create = () => storage.write([put("pooled", '"é 漢 😀"', { ifNoneMatch: "*" })], at(false));
      expect([await create(), await create()]).toEqual([["written"], ["refused"]]);
      await storage.write([put("pooled", '"é 漢 😀"', undefined, { expiresAt: NOW })], at(false));
      expect([await create(), await create()]).toEqual([["written"], ["refused"]]);
      expect(await textOf(other, "pooled")).toBe('"é 漢 😀"');
      expect(await textOf(storage, "pooled")).toBe('"é 漢 😀"');
      await storage.close?.();
      await pool.query("SELECT 1");
      await Promise.all([pool.end(), other.close?.()]);
    });
  });

  describe("conditions", () => {
    it("take a version for another that only has spaces more", async () => {
      await withStorage(async (storage) => {
        await storage.write([put("k", "1", undefined, { version: "v" })], at(false));
        for (const version of ["v ", "V", "é", "v\0", ""]) {
          for (const ifMatch of [[version], [version, "other"]]) {
            expect(await storage.write([put("k", "2", { ifMatch })], at(false)), version).toEqual(["refused"]);
            const remove = { kind: "delete", key: "k", condition: { ifMatch } } as const;
            expect(await storage.write([remove], at(false)), version).toEqual(["refused"]);
          }
        }
        expect(await textOf(storage, "k")).toBe("1");
      });
    });

    it("hold for absent keys until the commit: of two batches that each need the other's key absent one is refused", async () => {
      await withStorage(async (storage) => {
        const absent = (key: string): WriteOperation => ({ kind: "delete", key, condition: { ifNoneMatch: "*" } });
        for (let round = 0; round < 20; round++) {
          const [a, b] = [`a${round}`, `b${round}`];
          const outcomes = await Promise.all([
            storage.write([absent(a), put(b, "1")], at(true)),
            storage.write([put(a, "1"), absent(b)], at(true)),
          ]);
          const refused = outcomes.filter((outcome) => outcome.includes("refused"));
          expect(refused).toHaveLength(1);
          expect([await textOf(storage, a), await textOf(storage, b)].filter((text) => text !== null)).toHaveLength(1);
        }
      });
    });

    it("and reads of an atomic batch see one moment, of absent keys too", async () => {
      await withStorage(async (storage) => {
        await storage.write([put("z", "0")], at(false));
        const reads = ["a", "z"].map((key): WriteOperation => ({ kind: "get", key }));
        const found = (outcome: WriteOutcome | undefined) =>
          typeof outcome === "object" && outcome.found?.value ? new TextDecoder().decode(outcome.found.value) : null;
        const wrong: unknown[] = [];
        for (let round = 1; round <= 30; round++) {
          const changes = [
            round % 2 ? put("a", `${round}`) : { kind: "delete" as const, key: "a" },
            put("z", `${round}`),
          ];
          const readers = Array.from({ length: 3 }, () => storage.write(reads, at(true, 1000)));
          const [, ...seen] = await Promise.all([storage.write(changes, at(true)), ...readers]);
          for (const outcomes of seen) {
            const [a, z] = outcomes.map(found);
            if (a !== (Number(z) % 2 ? z : null)) wrong.push([a, z]);
          }
        }
        expect(wrong).toEqual([]);
        expect(await mysql.admin("SELECT name FROM workertown_kv WHERE version = ''")).toEqual([]);
      });
    });
  });

  describe("statements", () => {
    it("are one for a single operation, and a handful for a thousand", async () => {
      const { source, statements, end } = noted();
      await withStorage(async (storage) => {
        await storage.get("warm");
        const sent = async (operations: WriteOperation[], atomic = false): Promise<string[]> => {
          statements.length = 0;
          await storage.write(operations, at(atomic));
          return statements.map((statement) => statement.split(" ").slice(0, 2).join(" "));
        };
        const version = (operation: WriteOperation) => [operation.kind === "put" ? operation.entry.version : ""];
        const first = put("k", "1");
        expect(await sent([first])).toEqual(["execute INSERT"]);
        expect(await sent([put("new", "1", { ifNoneMatch: "*" })])).toEqual(["execute INSERT"]);
        expect(await sent([put("new", "1", { ifNoneMatch: "*" })], true)).toEqual(["execute INSERT"]);
        const second = put("k", "2", { ifMatch: version(first) });
        expect(await sent([second])).toEqual(["execute UPDATE"]);
        // Of any number of versions there are too many forms to prepare.
        expect(await sent([put("k", "3", { ifMatch: ["other", ...version(second)] })])).toEqual(["query UPDATE"]);
        expect(await sent([{ kind: "delete", key: "k", condition: { ifMatch: "*" } }])).toEqual(["execute DELETE"]);
        expect(await sent([{ kind: "delete", key: "k" }])).toEqual(["execute DELETE"]);

        const keys = Array.from({ length: 1000 }, (_, index) => `many-${index}`);
        expect(await sent(keys.map((key) => put(key, "1")))).toEqual(["query INSERT"]);
        expect(
          await sent(
            keys.map((key) => put(key, "1")),
            true,
          ),
        ).toEqual(["query INSERT"]);
        const conditional = keys.map((key) => put(key, "2", { ifMatch: "*" }));
        expect(await sent(conditional, true)).toEqual(
          ["START", "INSERT", "SELECT", "INSERT", "COMMIT"].map((word) => `query ${word}`),
        );
        expect(await sent(keys.map((key): WriteOperation => ({ kind: "delete", key })))).toEqual(
          ["START", "INSERT", "SELECT", "DELETE", "COMMIT"].map((word) => `query ${word}`),
        );
        statements.length = 0;
        await storage.getMany?.(keys, 1e6);
        expect(statements).toHaveLength(2);
        statements.length = 0;
        await storage.list({ prefix: "", cursor: null, limit: 1000, valueBytes: 1e6, now: NOW });
        expect(statements).toHaveLength(1);
      }, source);
      await end();
    });

    it("are shared by reads and puts that come at once, each answered with its own", async () => {
      const { source, statements, end } = noted();
      await withStorage(async (storage) => {
        await storage.get("warm");
        const keys = Array.from({ length: 200 }, (_, index) => `k${index % 150}`);
        statements.length = 0;
        const long = `"${"x".repeat(100_000)}"`;
        await Promise.all(keys.map((key) => storage.write([put(key, key === "k7" ? long : `"${key}"`)], at(false))));
        expect(statements.filter((statement) => statement.includes("INSERT")).length).toBeLessThan(16);
        statements.length = 0;
        const texts = await Promise.all([...keys, "none"].map((key) => textOf(storage, key)));
        expect(texts).toEqual([...keys.map((key) => (key === "k7" ? long : `"${key}"`)), null]);
        expect(statements.filter((statement) => statement.includes("SELECT")).length).toBeLessThan(12);
        // What was answered as written is seen by every read after it, however many come at once.
        await Promise.all(
          Array.from({ length: 50 }, async (_, index) => {
            for (let turn = 0; turn < 5; turn++) {
              await storage.write([put(`own-${index}`, `${turn}`)], at(false));
              expect(await textOf(storage, `own-${index}`)).toBe(`${turn}`);
            }
          }),
        );
      }, source);
      await end();
    });

    it("stay right where puts, conditional batches, deletes and the sweep meet on the same keys", async () => {
      await withStorage(async (storage) => {
        const keys = Array.from({ length: 12 }, (_, index) => `k${index}`);
        const expiring = (key: string) => put(key, "1", undefined, { expiresAt: NOW - 1 });
        const busy = (work: (turn: number) => unknown) =>
          (async () => {
            for (let turn = 0; turn < 40; turn++) await work(turn);
          })();
        await Promise.all([
          busy((turn) => storage.write(keys.map(expiring), at(turn % 2 === 0))),
          busy(() =>
            storage.write(
              keys.toReversed().map((key) => put(key, "2", { ifNoneMatch: "*" })),
              at(false),
            ),
          ),
          busy(() =>
            storage.write(
              keys.map((key): WriteOperation => ({ kind: "delete", key })),
              at(true),
            ),
          ),
          busy((turn) => storage.write([put(keys[turn % 12] as string, "3", { ifMatch: "*" })], at(false))),
          busy((turn) => storage.write([put(keys[turn % 12] as string, "4", { ifNoneMatch: "*" })], at(false))),
          busy(() => storage.sweep?.(NOW, 5)),
          busy(() => storage.sweep?.(NOW, 5)),
        ]);
        expect(await mysql.admin("SELECT name FROM workertown_kv WHERE version = ''")).toEqual([]);
      });
    });
  });

  it("names max_allowed_packet where a value is longer, before and after it is known, and takes what is not", async () => {
    await withStorage(async (storage) => {
      const value = (bytes: number) => `"${"x".repeat(bytes - 2)}"`;
      const tooLarge = put("k", value(17_000_000));
      expect(() => storage.check?.(tooLarge)).not.toThrow();
      const message = await codeOf(storage.write([tooLarge], at(false)));
      expect(message).toMatch(/^too_large: Expected a value of at most \d+ bytes, .*max_allowed_packet of 16777216/);
      expect(() => storage.check?.(tooLarge)).toThrow(/max_allowed_packet/);
      expect(await codeOf(storage.write([put("a", "1"), tooLarge], at(true)))).toBe(message);
      expect(await storage.get("a")).toBeNull();
      const most = Number(/at most (\d+) bytes/.exec(message)?.[1]);
      expect(() => storage.check?.(put("k", value(most + 1)))).toThrow();
      const longest = put("k", value(most));
      storage.check?.(longest);
      expect(await storage.write([longest, put("b", "1")], at(true))).toEqual(["written", "written"]);
      expect((await storage.get("k"))?.value.length).toBe(most);
      const conditions: Condition[] = [{ ifMatch: "*" }, { ifNoneMatch: ["other"] }];
      for (const condition of conditions) {
        expect(await storage.write([put("k", value(most), condition)], at(false))).toEqual(["written"]);
      }
    });
  });

  it("says so where a value is longer than the packets that the server sends by now", async () => {
    await withStorage(async (storage, namespace) => {
      await storage.write([put("k", `"${"x".repeat(5_000_000)}"`), put("l", "1")], at(false));
      await mysql.admin("SET GLOBAL max_allowed_packet = 4194304");
      const later = mysqlStorage({ url: mysql.url, namespace });
      const message = "unavailable: A value is longer than the database's max_allowed_packet: raise that to read it";
      expect(await codeOf(later.get("k"))).toBe(message);
      expect(await codeOf(later.getMany?.(["l", "k"], 1e8))).toBe(message);
      const query = { prefix: "", cursor: null, limit: 10, valueBytes: 1e8, now: NOW };
      expect(await codeOf(later.list(query))).toBe(message);
      expect((await later.list({ ...query, valueBytes: null })).entries).toHaveLength(2);
      expect((await later.getMany?.(["l", "k"], 1000))?.map((entry) => entry?.value?.length)).toEqual([1, undefined]);
      await mysql.admin("SET GLOBAL max_allowed_packet = 16777216");
      await later.close?.();
    });
  });

  it("keeps namespaces and keys apart that other columns would take for the same", async () => {
    const names = ["n", "N", "n ", "n\0", "ñ"];
    const storages = names.map((namespace) => mysqlStorage({ url: mysql.url, namespace }));
    const keys = ["k", "K", "k ", "k\0", "\0", "ķ", "😀"];
    for (const [index, storage] of storages.entries()) {
      await storage.write(
        keys.map((key) => put(key, JSON.stringify([index, key]))),
        at(false),
      );
    }
    for (const [index, storage] of storages.entries()) {
      const found = await Promise.all(keys.map((key) => textOf(storage, key)));
      expect(found).toEqual(keys.map((key) => JSON.stringify([index, key])));
    }
    await Promise.all(storages.map((storage) => storage.close?.()));
  });

  it("sweeps what has expired of its own namespace, step by step, and leaves it to another that does so", async () => {
    await withStorage(async (storage, namespace) => {
      const dead = Array.from({ length: 5 }, (_, index) =>
        put(`dead-${index}`, "1", undefined, { expiresAt: NOW - index }),
      );
      await storage.write([...dead, put("live", "1", undefined, { expiresAt: NOW + 1 }), put("ever", "1")], at(false));
      const other = createPool({ uri: mysql.url });
      const connection = await other.getConnection();
      await connection.query("SELECT GET_LOCK(CONCAT('workertown_kv.', DATABASE()), 0)");
      expect(await storage.sweep?.(NOW, 3)).toBe(0);
      connection.destroy();
      await vi.waitFor(async () => expect(await storage.sweep?.(NOW, 3)).toBe(3));
      expect(await storage.sweep?.(NOW, 3)).toBe(2);
      expect(await storage.sweep?.(NOW, 3)).toBe(0);
      const rows = await mysql.admin("SELECT name FROM workertown_kv WHERE namespace = ? ORDER BY name", [namespace]);
      expect(rows.map(({ name }) => `${name}`)).toEqual(["ever", "live"]);
      await other.end();
    });
  });

  it("holds four snapshots at once, refuses the fifth, and gives their connections back", async () => {
    await withStorage(async (storage) => {
      await storage.write([put("k", "1")], at(false));
      const query = { prefix: "", cursor: null, limit: 10, valueBytes: 1000, now: NOW };
      for (let round = 0; round < 4; round++) {
        const views = await Promise.all(Array.from({ length: 4 }, () => storage.snapshot?.()));
        expect(await codeOf(storage.snapshot?.())).toBe("unavailable: No more than 4 exports can run at once");
        await storage.write([put(`k${round}`, "2")], at(false));
        for (const view of views) expect((await view?.list(query))?.entries).toHaveLength(round + 1);
        await Promise.all(views.map((view) => view?.close()));
      }
      // The connections write again, and see what is new.
      await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          storage.write([put(`w${index}`, "1", { ifNoneMatch: "*" })], at(true)),
        ),
      );
      expect((await storage.list({ ...query, limit: 100 })).entries).toHaveLength(25);
    });
  });

  describe("failures", () => {
    it("of a server that only reads are 503 for writes, and pass", async () => {
      await withStorage(async (storage) => {
        await storage.write([put("k", "1")], at(false));
        await mysql.admin("SET GLOBAL read_only = 1");
        expect(await codeOf(storage.write([put("k", "2")], at(false)))).toBe(
          "unavailable: The database cannot be used at the moment",
        );
        expect(await textOf(storage, "k")).toBe("1");
        await mysql.admin("SET GLOBAL read_only = 0");
        expect(await storage.write([put("k", "3")], at(false))).toEqual(["written"]);
      });
    });

    it("to answer at all do not keep a close waiting", async () => {
      const storage = mysqlStorage({ url: mysql.url });
      await storage.ping?.();
      mysql.pause();
      const began = performance.now();
      await storage.close?.();
      expect(performance.now() - began).toBeLessThan(3500);
      mysql.resume();
    });

    it("to speak TLS are 503 where the URL asks for it", async () => {
      const storage = mysqlStorage({ url: `${mysql.url}?ssl=true` });
      const error = await Promise.resolve(storage.ping?.()).catch((reason) => reason);
      expect(error).toMatchObject({ code: "unavailable", cause: { code: "HANDSHAKE_NO_SSL_SUPPORT" } });
      await storage.close?.();
    });

    it("to log in or to find room on the server are 503, and show no password", async () => {
      await mysql.admin("SET GLOBAL max_connections = 10");
      const pools = createPool({ uri: mysql.url, connectionLimit: 30 });
      // Those that other tests have left go by and by, so that there is room at first.
      for (let turn = 0; turn < 3; turn++) {
        await Promise.allSettled(Array.from({ length: 10 }, () => pools.getConnection()));
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      const wrong = mysql.url.replace(mysql.secret, "not-the-password");
      const errors: unknown[] = [];
      for (const url of [mysql.url, wrong, mysql.url.replace(/\/kv$/, "/nothing")]) {
        const storage = mysqlStorage({ url });
        const calls = [storage.get("k"), storage.write([put("k", "1")], at(false)), storage.ping?.()];
        for (const end of await Promise.allSettled(calls)) errors.push(end.status === "rejected" && end.reason);
        await storage.close?.();
        await mysql.admin("SET GLOBAL max_connections = 151");
      }
      expect(errors).toHaveLength(9);
      for (const error of errors) {
        expect(error).toMatchObject({ code: "unavailable", message: "The database cannot be used at the moment" });
        expect(inspect(error, { depth: 9 })).not.toMatch(new RegExp(`${mysql.secret}|not-the-password`));
      }
      await pools.end();
    });
  });
});

/** A pool with one connection that answers as the tests say; `null` never answers. */
function fakePool(answer: (sql: string) => unknown) {
  const calls = { released: 0, destroyed: 0, cut: 0 };
  const ask = async (sql: string): Promise<[unknown]> => {
    if (/^SET/.test(sql)) return [{ affectedRows: 0, insertId: 0 }];
    if (/max_allowed_packet/.test(sql)) return [[{ packet: 67_108_864 }]];
    if (/workertown_kv_schema/.test(sql)) return [[{ version: MIGRATIONS.length }]];
    const result = answer(sql);
    if (result === null) return new Promise(() => {});
    if (result instanceof Error) throw result;
    return [result];
  };
  const pool: MysqlPoolLike = {
    end: async () => {},
    getConnection: async () => ({
      connection: { stream: { destroy: () => calls.cut++ } },
      execute: ask,
      query: ask,
      release: () => calls.released++,
      destroy: () => calls.destroyed++,
    }),
  };
  return { calls, storage: mysqlStorage({ pool }) };
}

const failing = (errno: number | undefined, more: object = {}) =>
  Object.assign(new Error("told by the driver"), { ...(errno !== undefined && { errno }), ...more });

describe("mysql: what becomes of errors", () => {
  const away = "unavailable: The database cannot be used at the moment";
  const unknown = `${away}; the outcome of the write is unknown`;
  const lost = failing(undefined, { code: "PROTOCOL_CONNECTION_LOST", fatal: true });

  it.each([
    ["a lost connection", lost, away, unknown],
    ["a reset", failing(-104, { code: "ECONNRESET", fatal: true }), away, unknown],
    ["a shutdown", failing(1053), away, unknown],
    ["a killed connection", failing(1927), away, unknown],
    ["too many connections", failing(1040), away, away],
    ["a table that is being restored", failing(1146), away, away],
    ["a full disk", failing(1021), /^storage_full/, /^storage_full/],
    ["a full table", failing(1114), /^storage_full/, /^storage_full/],
    ["no space left", failing(1030, { message: "Got error 28 from storage engine" }), /^storage_full/, /^storage_full/],
    ["a lock waited for in vain", failing(1205), away, away],
    ["a fault of ours", failing(1064), "undefined: told by the driver", "undefined: told by the driver"],
  ])("%s", async (_, error, ofRead, ofWrite) => {
    vi.useFakeTimers({ toFake: ["performance", "setTimeout"] });
    const { storage, calls } = fakePool(() => {
      vi.advanceTimersByTime(6000);
      return error;
    });
    try {
      const [read, write] = [await codeOf(storage.get("k")), await codeOf(storage.write([put("k", "1")], at(false)))];
      expect(read).toEqual(typeof ofRead === "string" ? ofRead : expect.stringMatching(ofRead));
      expect(write).toEqual(typeof ofWrite === "string" ? ofWrite : expect.stringMatching(ofWrite));
      expect(calls.destroyed > 0).toBe(error !== undefined && (error as { errno?: number }).errno !== 1205);
    } finally {
      vi.useRealTimers();
    }
  });

  it("of a batch whose connection is lost the outcome is unknown only from its commit on", async () => {
    const batch = [put("a", "1", { ifNoneMatch: "*" }), put("b", "1")];
    for (const [statement, expected] of [
      ["INSERT", away],
      ["SELECT", away],
      ["COMMIT", unknown],
    ] as const) {
      const { storage } = fakePool((sql) => {
        if (sql.startsWith(statement)) return lost;
        return sql.startsWith("SELECT") ? [] : { affectedRows: 1, insertId: 0 };
      });
      expect(await codeOf(storage.write(batch, at(true))), statement).toBe(expected);
    }
  });

  it("a deadlock is tried again, and the connection is kept", async () => {
    let deadlocks = 3;
    const { storage, calls } = fakePool(() => (deadlocks-- > 0 ? failing(1213) : { affectedRows: 1, insertId: 0 }));
    expect(await storage.write([put("k", "1")], at(false))).toEqual(["written"]);
    expect(calls.destroyed).toBe(0);
  });

  it("a server that does not answer in 10 s is given up, and its connection is cut", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const { storage, calls } = fakePool(() => null);
      const outcomes = Promise.all([codeOf(storage.get("k")), codeOf(storage.write([put("k", "1")], at(false)))]);
      await vi.advanceTimersByTimeAsync(10_001);
      expect(await outcomes).toEqual([away, unknown]);
      expect(calls).toEqual({ released: expect.any(Number), destroyed: 2, cut: 2 });
    } finally {
      vi.useRealTimers();
    }
  });

  it("a pool that gives no connection in 5 s is not waited for, and gets back the one that comes late", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const release = vi.fn();
      const getConnection = () =>
        new Promise<MysqlConnectionLike>((resolve) => setTimeout(resolve, 6000, { release } as unknown));
      const storage = mysqlStorage({ pool: { getConnection, end: async () => {} } });
      const ping = codeOf(storage.ping?.());
      await vi.advanceTimersByTimeAsync(5001);
      expect(await ping).toBe("unavailable: The database gave no connection in 5 s");
      await vi.advanceTimersByTimeAsync(1000);
      expect(release).toHaveBeenCalledOnce();
    } finally {
      vi.useRealTimers();
    }
  });

  it("options that cannot be right are refused at once, without the password", () => {
    const pool = { getConnection: () => {}, end: () => {} } as unknown as MysqlPoolLike;
    for (const [options, path] of [
      [{}, "url"],
      [{ url: "mysql://u:secret@h/d", pool }, "url"],
      [{ url: "postgres://u:secret@h/d" }, "url"],
      [{ url: "mysql://u:secret@h" }, "url"],
      [{ url: "mysql://u:%secret@h/d" }, "url"],
      [{ url: "mysql://u:secret@h/d?ssl-mode=REQUIRED" }, "url"],
      [{ url: "mysql://u:secret@h/d?sslMode=REQUIRED" }, "url"],
      [{ url: "secret" }, "url"],
      [{ pool: { ...pool, promise: () => pool } }, "pool"],
      [{ pool, namespace: "" }, "namespace"],
      [{ pool, namespace: "é".repeat(128) }, "namespace"],
    ] as const) {
      let message = "";
      try {
        mysqlStorage(options as never);
      } catch (error) {
        expect(error).toBeInstanceOf(TypeError);
        message = (error as Error).message;
      }
      expect(message).toMatch(new RegExp(`^${path}: Expected `));
      expect(message).not.toContain("secret");
    }
  });
});
