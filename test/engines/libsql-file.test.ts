import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { createClient } from "@libsql/client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StorageAdapter } from "../../src/storage/adapter.ts";
import { libsqlStorage } from "../../src/storage/libsql.ts";
import type { LibsqlStatement } from "../../src/storage/libsql-connection.ts";
import { sqliteStorage } from "../../src/storage/sqlite.ts";
import { MIGRATIONS, type SqliteConnection, sqliteBatchStorage } from "../../src/storage/sqlite-batch.ts";
import { testEngine } from "./engine.ts";
import { type LibsqlFile, missing, startLibsqlFile } from "./libsql-server.ts";
import { sharedTests } from "./libsql-shared.ts";
import { create, NOW, put, textOf } from "./libsql-shared-entries.ts";

testEngine({ name: "libsql, a file", missing, start: startLibsqlFile });

describe("libsql, a file", () => {
  let engine: LibsqlFile;
  const folder = mkdtempSync(join(tmpdir(), "kv-libsql-"));
  let files = 0;
  const freshFile = () => join(folder, `${files++}.db`);

  beforeAll(async () => {
    engine = await startLibsqlFile();
  });
  afterAll(async () => {
    await engine[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  sharedTests(() => engine);

  const write = async (adapter: StorageAdapter, ...operations: Parameters<StorageAdapter["write"]>[0]) =>
    adapter.write(operations, { now: NOW, atomic: false });

  it("a write waits for another's lock without stopping reads, and gives up in time", async () => {
    const path = freshFile();
    const storage = libsqlStorage({ url: `file:${path}` });
    await write(storage, put("k", "1"));
    // Not by node:sqlite: two SQLites in one process do not see each other's locks.
    const client = createClient({ url: `file:${path}` });
    const other = await client.transaction("write");
    const waiting = write(storage, put("k", "2"));
    const many = write(storage, put("k", "2"), put("l", "2"));
    expect(textOf(await storage.get("k"))).toBe("1");
    await other.commit();
    expect(await Promise.all([waiting, many])).toEqual([["written"], ["written", "written"]]);
    const longer = await client.transaction("write");
    const began = performance.now();
    await expect(write(storage, put("k", "3"))).rejects.toMatchObject({
      code: "unavailable",
      message: "The database cannot be used at the moment",
    });
    expect(performance.now() - began).toBeLessThan(5000);
    longer.close();
    client.close();
    expect(await write(storage, put("k", "4"))).toEqual(["written"]);
    await storage.close?.();
  });

  it("it is written durably, with a log", async () => {
    const path = freshFile();
    const storage = libsqlStorage({ url: `file:${path}` });
    await write(storage, put("k", "1"));
    const client = createClient({ url: `file:${path}` });
    expect((await client.execute("PRAGMA journal_mode")).rows[0]?.journal_mode).toBe("wal");
    expect((await client.execute("PRAGMA synchronous")).rows[0]?.synchronous).toBe(2);
    client.close();
    await storage.close?.();
  });

  it("a file of the SQLite engine is refused and left as it is; its entries come over by one line of SQL", async () => {
    const [path, mine] = [freshFile(), freshFile()];
    const before = sqliteStorage({ path });
    const long = `"${"x".repeat(5000)}"`;
    const large = `"${"y".repeat(500_000)}"`;
    const entry = put("k", `{"x":1.0}`, { metadata: '"m"', expiresAt: NOW + 5 });
    await write(before, entry, put("long", long), put("large", large));
    await before.close?.();
    const storage = libsqlStorage({ url: `file:${path}` });
    const newer = { code: "unavailable", message: expect.stringContaining("its schema is 3, this version knows 1") };
    await expect(storage.migrate?.()).rejects.toMatchObject(newer);
    await expect(write(storage, put("l", "2"))).rejects.toMatchObject(newer);
    await storage.close?.();
    const after = sqliteStorage({ path });
    expect(textOf(await after.get("k"))).toBe(`{"x":1.0}`);
    await after.close?.();

    const own = libsqlStorage({ url: `file:${mine}` });
    await own.migrate?.();
    const database = new DatabaseSync(mine);
    database.exec(`ATTACH '${path}' AS old; INSERT INTO workertown_kv SELECT * FROM old.workertown_kv`);
    database.close();
    expect(await own.get("k")).toMatchObject({ metadata: '"m"', expiresAt: NOW + 5 });
    expect(textOf(await own.get("k"))).toBe(`{"x":1.0}`);
    expect(textOf(await own.get("long"))).toBe(long);
    expect(textOf(await own.get("large"))).toBe(large);
    await own.close?.();
  });

  it("a value of 25 MiB comes back as it came", async () => {
    const storage = libsqlStorage({ url: `file:${freshFile()}` });
    const text = `"${"é\\n".repeat(6_500_000)}"`;
    await write(storage, put("k", text), put("l", "1"));
    expect(textOf(await storage.get("k")) === text).toBe(true);
    await storage.close?.();
  });

  it("a client of the caller's is used and left open, in memory too", async () => {
    const client = createClient({ url: ":memory:" });
    const storage = libsqlStorage({ client });
    expect(storage.capabilities).toMatchObject({ snapshot: false, maxValue: 268_435_456 });
    expect(await write(storage, create("k", "1"), create("k", "2"))).toEqual(["written", "refused"]);
    await storage.close?.();
    expect((await client.execute("SELECT count(*) AS n FROM workertown_kv")).rows[0]?.n).toBe(1);
    client.close();
    await expect(storage.get("k")).rejects.toMatchObject({ code: "unavailable" });
  });

  it("a client that gives whole numbers as bigint or string is understood", async () => {
    for (const intMode of ["bigint", "string"] as const) {
      const storage = libsqlStorage({ client: createClient({ url: ":memory:", intMode }) });
      await write(storage, put("k", "1", { expiresAt: NOW + 5 }));
      expect(await storage.get("k")).toMatchObject({ expiresAt: NOW + 5 });
      expect(await storage.getMany?.(["k"], 100)).toMatchObject([{ expiresAt: NOW + 5 }]);
      expect(await storage.sweep?.(NOW + 5, 10)).toBe(1);
    }
  });

  it("what is no database, or cannot be opened, is unavailable, and the next call tries again", async () => {
    const path = freshFile();
    writeFileSync(path, "not a database ".repeat(100));
    const storage = libsqlStorage({ url: `file:${path}` });
    const unavailable = { code: "unavailable", message: "The database cannot be used at the moment" };
    await expect(storage.get("k")).rejects.toMatchObject(unavailable);
    rmSync(path);
    expect(await storage.get("k")).toBeNull();
    await storage.close?.();
    const missingFolder = libsqlStorage({ url: `file:${join(folder, "none", "kv.db")}` });
    await expect(write(missingFolder, put("k", "1"))).rejects.toMatchObject(unavailable);
  });

  it("bad options are refused at once, and no URL is quoted", () => {
    const url = "libsql://example.invalid?authToken=geheim";
    const bad: [object, string][] = [
      [{}, "url: Expected either a url or a client"],
      [{ url, client: {} }, "url: Expected either a url or a client"],
      [{ client: {}, authToken: "geheim" }, "authToken: Expected none beside a client"],
      [{ url: "postgres://geheim" }, "url: Expected libsql://…, https://…, http://… or file:…"],
      [{ url: "file:" }, "url: Expected libsql://…, https://…, http://… or file:…"],
      [{ url, namespace: "" }, 'namespace: Expected a name, got ""'],
      [{ url, maxValue: 0 }, "maxValue: Expected a number of bytes greater than 0, got 0"],
      [{ url, maxValue: 1.5 }, "maxValue: Expected a number of bytes greater than 0, got 1.5"],
    ];
    for (const [options, message] of bad) expect(() => libsqlStorage(options)).toThrow(new TypeError(message));
  });

  describe("migrations", () => {
    const later = { name: "0002-add-note", statements: ["ALTER TABLE workertown_kv ADD COLUMN note TEXT"] };

    function storageOn(path: string, migrations = MIGRATIONS) {
      const client = createClient({ url: `file:${path}`, timeout: 5000 });
      const asArgs = ({ sql, parameters }: { sql: string; parameters: (string | number | null)[] }) => ({
        sql,
        args: parameters,
      });
      const connection: SqliteConnection = {
        read: async (statement) => (await client.execute(asArgs(statement))).rows,
        write: async (statements) => (await client.batch(statements.map(asArgs), "write")).map(({ rows }) => rows),
        close: () => client.close(),
      };
      const { capabilities } = libsqlStorage({ client: createClient({ url: ":memory:" }) });
      const options = { engine: "test", capabilities, connection, namespace: "default", answerBytes: 1e6 };
      return sqliteBatchStorage(options, migrations);
    }

    it("a database of an older version is upgraded once, by whoever comes first", async () => {
      const path = freshFile();
      const old = storageOn(path);
      await write(old, put("k", "1"));
      const upgraded = Array.from({ length: 10 }, () => storageOn(path, [...MIGRATIONS, later]));
      const ran = await Promise.all(upgraded.map((storage) => storage.migrate?.()));
      expect(ran.flat()).toEqual(["0002-add-note"]);
      expect(textOf(await upgraded[0]?.get("k"))).toBe("1");
      await expect(storageOn(path).get("k")).rejects.toMatchObject({ code: "unavailable" });
      await Promise.all([old, ...upgraded].map((storage) => storage.close?.()));
    });

    it("a step that fails leaves nothing behind, and the next start runs it again", async () => {
      const path = freshFile();
      await write(storageOn(path), put("k", "1"));
      const broken = { ...later, statements: [...later.statements, "ALTER TABLE nowhere ADD COLUMN x"] };
      await expect(storageOn(path, [...MIGRATIONS, broken]).migrate?.()).rejects.toThrow("no such table");
      expect(await storageOn(path, [...MIGRATIONS, later]).migrate?.()).toEqual(["0002-add-note"]);
    });
  });

  /** A client that lets something happen before the so manieth of its calls. */
  function meddled(client: ReturnType<typeof createClient>, before: number, meddle: () => Promise<unknown>) {
    let calls = 0;
    const meddling = async () => {
      if (++calls === before) await meddle();
    };
    return {
      protocol: "file",
      execute: async (statement: LibsqlStatement) => meddling().then(() => client.execute(statement)),
      batch: async (statements: LibsqlStatement[], mode: "write") =>
        meddling().then(() => client.batch(statements, mode)),
      transaction: client.transaction.bind(client),
      close: () => {},
    };
  }

  it("a write that comes in between of a batch's read and its write is seen by it", async () => {
    const client = createClient({ url: ":memory:" });
    const other = libsqlStorage({ client });
    await write(other, put("k", "1", { version: "one" }), put("l", "1"));
    // After the version of the schema and what the batch reads.
    const meddling = meddled(client, 3, () => write(other, put("k", "2", { version: "two" })));
    const storage = libsqlStorage({ client: meddling });
    const condition = { ifMatch: ["one"] };
    expect(await write(storage, { ...put("k", "3"), condition }, put("l", "2"))).toEqual(["refused", "written"]);
    expect([textOf(await other.get("k")), textOf(await other.get("l"))]).toEqual(["2", "2"]);
  });

  it("a value that is replaced in between of its version and itself is read anew, or is gone", async () => {
    const client = createClient({ url: ":memory:" });
    const other = libsqlStorage({ client });
    const long = (letter: string) => `"${letter.repeat(1000)}"`;
    await write(other, put("a", "1"), put("b", long("x")));
    for (const [meddle, expected] of [
      [put("b", long("y")), long("y")],
      [{ kind: "delete" as const, key: "b" }, null],
    ] as const) {
      const storage = libsqlStorage({ client: meddled(client, 3, () => write(other, meddle)) });
      expect((await storage.getMany?.(["a", "b"], 1100))?.map(textOf)).toEqual(["1", expected]);
    }
  });
});
