import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { DatabaseSync, StatementSync } from "node:sqlite";
import { promisify } from "node:util";
import type { Worker } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { KvError } from "../../src/core/errors.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Condition, StorageAdapter, StoredEntry, WriteOperation } from "../../src/storage/adapter.ts";
import { sqliteStorage } from "../../src/storage/sqlite.ts";
import { cachedReads } from "../../src/storage/sqlite-cache.ts";
import { openDatabase } from "../../src/storage/sqlite-open.ts";
import { reads } from "../../src/storage/sqlite-read.ts";
import { writerThread } from "../../src/storage/sqlite-thread.ts";
import { localWriter } from "../../src/storage/sqlite-write.ts";
import { createStore } from "../../src/storage/store.ts";

const run = promisify(execFile);
let folder: string;
let path: string;
const now = 1_000_000;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kv-sqlite-"));
  path = join(folder, "kv.sqlite");
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

function put(key: string, text = "1", condition?: Condition): WriteOperation {
  const entry = { value: new TextEncoder().encode(text), metadata: null, expiresAt: null, version: `v-${text.length}` };
  return { kind: "put", key, entry, condition };
}

const keysOf = async (storage: ReturnType<typeof sqliteStorage>) =>
  (await storage.list({ prefix: "", cursor: null, limit: 1000, valueBytes: null, now })).entries.map(({ key }) => key);

/** Counts the statements that the adapter runs by their first words, and may fail some of them. */
function spyExec(fail?: (sql: string) => void) {
  const exec = DatabaseSync.prototype.exec;
  const seen: string[] = [];
  vi.spyOn(DatabaseSync.prototype, "exec").mockImplementation(function (this: DatabaseSync, sql: string) {
    seen.push(sql);
    fail?.(sql);
    exec.call(this, sql);
  });
  return seen;
}

test("a relative path is resolved once, for exports too", async () => {
  const before = process.cwd();
  const storage = (() => {
    process.chdir(folder);
    try {
      return sqliteStorage({ path: "file:odd.sqlite" });
    } finally {
      process.chdir(before);
    }
  })();
  await storage.write([put("mine")], { now, atomic: false });
  const view = await storage.snapshot?.();
  const page = await view?.list({ prefix: "", cursor: null, limit: 10, valueBytes: null, now });
  expect(page?.entries.map(({ key }) => key)).toEqual(["mine"]);
  await view?.close();
  await storage.close?.();
});

test("1,000 gets of a batch are of one moment, and values are left out that do not fit into what the others leave", async () => {
  const storage = sqliteStorage({ path });
  const keys = Array.from({ length: 1000 }, (_, index) => `k${index}`);
  await storage.write([...keys.map((key) => put(key)), put("large", `"${"x".repeat(1000)}"`)], { now, atomic: false });
  const seen = spyExec();
  expect((await storage.getMany?.(keys, 100_000))?.every((entry) => entry !== null)).toBe(true);
  expect(seen).toEqual(["BEGIN", "COMMIT"]);
  const lengths = async (valueBytes: number) =>
    (await storage.getMany?.(["k0", "large", "absent", "k1"], valueBytes))?.map((entry) => entry?.value?.length);
  expect(await lengths(1004)).toEqual([1, 1002, undefined, 1]);
  expect(await lengths(1003)).toEqual([1, 1002, undefined, undefined]);
  expect(await lengths(1002)).toEqual([1, undefined, undefined, 1]);
  await storage.close?.();
});

test("the gets of a batch are one question but for the long values, and each is whole wherever it stands", async () => {
  const storage = sqliteStorage({ path });
  const lengths = [2, 512, 513, 4096, 4097, 20_000, 3];
  const metadata = [null, '"ä\\u0000\\""', `"${"m".repeat(300)}"`];
  const writes = lengths.map((length, index): WriteOperation => {
    const value = Buffer.from(`"${"é".repeat(Math.floor(length / 2) - 1)}${length % 2 === 0 ? "" : "x"}"`);
    const entry = {
      value,
      metadata: metadata[index % 3] as string | null,
      expiresAt: index || null,
      version: `v${index}`,
    };
    return { kind: "put", key: `k${index}`, entry };
  });
  await storage.write(writes, { now, atomic: false });
  const keys = ["none", ...writes.map(({ key }) => key).reverse(), "none", "k4", "k1"];
  const asked = vi.spyOn(StatementSync.prototype, "get");
  const found = await storage.getMany?.(keys, 1e9);
  expect(asked.mock.calls.length).toBe(1 + 3);
  expect(found?.map((entry) => entry && { ...entry, value: Buffer.from(entry.value ?? "") })).toEqual(
    keys.map(
      (key) => writes.flatMap((write) => (write.kind === "put" && write.key === key ? write.entry : []))[0] ?? null,
    ),
  );
  await storage.close?.();
});

/** A storage that writes by the thread of the test, whose statements it can watch. */
function onThisThread(path: string): StorageAdapter {
  const database = openDatabase(path);
  const writer = localWriter(database, "default");
  const storage = sqliteStorage({ path });
  return {
    ...storage,
    write: writer.write,
    async close() {
      await writer.close();
      database.close();
      await storage.close?.();
    },
  };
}

test("a new file and what SQLite puts beside it are their owner's alone", async () => {
  const path = join(mkdtempSync(join(tmpdir(), "kv-mode-")), "kv.sqlite");
  const storage = sqliteStorage({ path });
  await storage.write([{ kind: "delete", key: "a" }], { now: 1, atomic: false });
  expect([path, `${path}-wal`, `${path}-shm`].map((file) => statSync(file).mode & 0o777)).toEqual([
    0o600, 0o600, 0o600,
  ]);
  await storage.close?.();
});

describe("the thread that writes", () => {
  const write = async (storage: StorageAdapter, key: string) => storage.write([put(key)], { now, atomic: false });

  test("says what went wrong as the service knows it", async () => {
    const storage = sqliteStorage({ path });
    const other = new DatabaseSync(path);
    await write(storage, "a");
    other.exec("DROP TABLE workertown_kv_entry");
    const error: unknown = await write(storage, "b").catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Error);
    expect(error).not.toBeInstanceOf(KvError);
    expect((error as Error).message).toContain("no such table");
    other.close();
    await storage.close?.();
  });

  test("what it had not answered when it ended is unavailable, its outcome unknown, and the next write starts another", async () => {
    const threads: Worker[] = [];
    const onWorker = (thread: Worker) => threads.push(thread);
    process.on("worker", onWorker);
    const storage = sqliteStorage({ path });
    await write(storage, "a");
    process.off("worker", onWorker);
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    const lost = write(storage, "b").catch((error: KvError) => [error.code, error.message]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(threads).toHaveLength(1);
    await threads[0]?.terminate();
    expect(await lost).toEqual([
      "unavailable",
      "The thread that writes has ended; the outcome of the write is unknown",
    ]);
    other.exec("COMMIT");
    other.close();
    expect(await write(storage, "c")).toEqual(["written"]);
    expect(await keysOf(storage)).toEqual(["a", "c"]);
    await storage.close?.();
  });

  test("where there can be none this one writes, and nothing is lost", async () => {
    const database = openDatabase(path);
    const stop = new SharedArrayBuffer(1);
    const missing = { path: join(folder, "no", "such", "file.sqlite"), namespace: "default", stop };
    const writer = writerThread(missing, () => localWriter(database, "default"));
    const calls = ["a", "b"].map((key) => writer.write([put(key)], { now, atomic: false }));
    expect(await Promise.all(calls)).toEqual([["written"], ["written"]]);
    expect(await writer.write([put("c")], { now, atomic: false })).toEqual(["written"]);
    expect(await writer.sweep(now, 10)).toBe(0);
    await writer.close();
    database.close();
    const storage = sqliteStorage({ path });
    expect(await keysOf(storage)).toEqual(["a", "b", "c"]);
    await storage.close?.();
  });

  test("where there can be neither, each write is refused and the process stays", async () => {
    const stop = new SharedArrayBuffer(1);
    const missing = { path: join(folder, "no", "such", "file.sqlite"), namespace: "default", stop };
    const writer = writerThread(missing, () => {
      throw new KvError("unavailable", "No room for a connection");
    });
    const calls = ["a", "b"].map((key) => writer.write([put(key)], { now, atomic: false }));
    const codes = (await Promise.allSettled(calls)).map((end) => end.status === "rejected" && end.reason.message);
    expect(codes).toEqual(["No room for a connection", "No room for a connection"]);
    await writer.close();
  });

  test("does not keep a process alive, and loses nothing that was asked before its end", async () => {
    const source = `
      const { sqliteStorage } = await import(${JSON.stringify(resolve("src/storage/sqlite.ts"))});
      const storage = sqliteStorage({ path: ${JSON.stringify(path)} });
      const entry = { value: new Uint8Array([49]), metadata: null, expiresAt: null, version: "v" };
      for (const key of "abc") storage.write([{ kind: "put", key, entry }], { now: 1, atomic: false });`;
    await run(process.execPath, ["--conditions=workertown-source", "--input-type=module", "-e", source]);
    const storage = sqliteStorage({ path });
    expect(await keysOf(storage)).toEqual(["a", "b", "c"]);
    await storage.close?.();
  });
});

function readA(database: DatabaseSync): StoredEntry {
  const row = database.prepare("SELECT CAST(value AS BLOB) AS value FROM workertown_kv WHERE name = CAST('a' AS BLOB)");
  return { ...(row.get() as { value: Uint8Array }), metadata: null, expiresAt: null, version: "v" };
}

describe("reads", () => {
  const write = async (storage: StorageAdapter, key: string, text: string) =>
    storage.write([put(key, text)], { now, atomic: false });
  const textOf = async (storage: StorageAdapter, key: string) => {
    const entry = await storage.get(key);
    return entry && new TextDecoder().decode(entry.value);
  };

  test("from the third on come from memory while nothing is written", async () => {
    const storage = sqliteStorage({ path });
    await write(storage, "a", "1");
    const queries = vi.spyOn(StatementSync.prototype, "get");
    const asked = () => queries.mock.calls.filter((call) => call.length > 0).length;
    for (let turn = 0; turn < 5; turn++) {
      expect(await textOf(storage, "a")).toBe("1");
      expect(await textOf(storage, "absent")).toBeNull();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(asked()).toBe(4);
    await write(storage, "b", "1");
    expect(await textOf(storage, "a")).toBe("1");
    expect(asked()).toBe(5);
    await storage.close?.();
  });

  test("see what was written, by this process and by others, once it was answered", async () => {
    const storage = sqliteStorage({ path });
    const other = sqliteStorage({ path });
    for (let round = 0; round < 20; round++) {
      for (const [writer, text] of [
        [storage, `${round}`],
        [other, `${round}.5`],
      ] as const) {
        for (let turn = 0; turn < 3; turn++) await textOf(storage, "a");
        await write(writer, "a", text);
        // A request that is sent after the answer comes in a later turn.
        if (writer === other) await new Promise((resolve) => setImmediate(resolve));
        expect(await textOf(storage, "a")).toBe(text);
      }
    }
    await storage.write([{ kind: "delete", key: "a" }], { now, atomic: false });
    expect(await textOf(storage, "a")).toBeNull();
    await Promise.all([storage.close?.(), other.close?.()]);
  });

  test("are checked again in the same turn before a write of it is answered", async () => {
    const order: string[] = [];
    openDatabase(path).close();
    const data = { path, namespace: "default", stop: new SharedArrayBuffer(1) };
    const writer = writerThread(data, expect.unreachable, () => void order.push("check"));
    await writer.write([put("a", "1")], { now, atomic: false }).then(() => order.push("answer"));
    expect(order).toEqual(["check", "answer"]);
    const database = openDatabase(path);
    const { list } = reads(database, "default");
    const cache = cachedReads(database, (key) => (key === "a" ? readA(database) : null), list);
    const read = () => new TextDecoder().decode(cache.get("a")?.value);
    for (let turn = 0; turn < 3; turn++) expect(read()).toBe("1");
    const other = new DatabaseSync(path);
    other.exec("UPDATE workertown_kv_entry SET value = '2'");
    expect(read()).toBe("1");
    cache.endTurn();
    expect(read()).toBe("2");
    other.close();
    database.close();
    await writer.close();
  });

  test("of a page come from memory only until something is written, whoever writes, and what expires is left out", async () => {
    let at = now;
    const store = createStore(sqliteStorage({ path }), { limits: DEFAULT_LIMITS, timeout: 10, now: () => at });
    const other = sqliteStorage({ path });
    const statements = vi.spyOn(StatementSync.prototype, "all");
    const keys = async (limit = 10) => {
      const page = await store.list({ prefix: "p:", limit, cursor: null, values: false });
      // A request that is sent after the answer comes in a later turn.
      await new Promise((resolve) => setImmediate(resolve));
      return page.entries.map(({ key }) => key);
    };
    await other.write([put("p:a"), put("p:c"), put("q")], { now, atomic: false });
    for (let turn = 0; turn < 4; turn++) expect(await keys()).toEqual(["p:a", "p:c"]);
    expect(statements).toHaveBeenCalledTimes(2);
    expect(await keys(1)).toEqual(["p:a"]);
    await other.write([put("p:b")], { now, atomic: false });
    expect(await keys()).toEqual(["p:a", "p:b", "p:c"]);
    const value = new TextEncoder().encode("1");
    await store.put("p:d", { value, metadata: null, ttl: 1 });
    for (let turn = 0; turn < 3; turn++) expect(await keys()).toEqual(["p:a", "p:b", "p:c", "p:d"]);
    at += 1000;
    for (let turn = 0; turn < 3; turn++) expect(await keys()).toEqual(["p:a", "p:b", "p:c"]);
    // A page that is read now is not one of the moment before.
    await other.write([put("q", "another")], { now, atomic: false });
    for (let turn = 0; turn < 3; turn++) expect(await keys()).toEqual(["p:a", "p:b", "p:c"]);
    at -= 1;
    for (let turn = 0; turn < 3; turn++) expect(await keys()).toEqual(["p:a", "p:b", "p:c", "p:d"]);
    await store.delete("p:a");
    expect(await keys()).toEqual(["p:b", "p:c", "p:d"]);
    statements.mockRestore();
    await Promise.all([store.close(), other.close?.()]);
  });

  test("of a large value are done by the other thread, and hold up nobody", async () => {
    const storage = sqliteStorage({ path });
    const text = `"${"é".repeat(1_000_000)}"`;
    await write(storage, "large", text);
    const sizes = vi.spyOn(StatementSync.prototype, "get");
    const entry = storage.get("large");
    expect(entry).toBeInstanceOf(Promise);
    expect(sizes.mock.results.map(({ value }) => value?.[0])).toContain(null);
    expect(await textOf(storage, "large")).toBe(text);
    expect((await entry)?.version).toBe(`v-${text.length}`);
    await storage.close?.();
  });
});

describe("group commit", () => {
  test("writes of one turn share one transaction and keep their order", async () => {
    const storage = onThisThread(path);
    const seen = spyExec();
    const outcomes = await Promise.all([
      storage.write([put("a", "1", { ifNoneMatch: "*" })], { now, atomic: false }),
      storage.write([put("a", "22", { ifMatch: ["v-1"] })], { now, atomic: false }),
      storage.write([put("b"), put("a", "x", { ifNoneMatch: "*" })], { now, atomic: true }),
      storage.write([{ kind: "delete", key: "a", condition: { ifMatch: ["v-2"] } }], { now, atomic: false }),
      storage.write([put("a", "333", { ifNoneMatch: "*" })], { now, atomic: false }),
    ]);
    expect(outcomes).toEqual([["written"], ["written"], ["written", "refused"], ["deleted"], ["written"]]);
    expect(seen.filter((sql) => sql === "COMMIT")).toHaveLength(1);
    expect(await keysOf(storage)).toEqual(["a"]);
    await storage.close?.();
  });

  test("nothing is to be read before the commit, and everything once it was answered", async () => {
    const storage = sqliteStorage({ path });
    const other = new DatabaseSync(path);
    const count = other.prepare("SELECT count(*) AS n FROM workertown_kv");
    const written = storage.write([put("a")], { now, atomic: false });
    expect(await storage.get("a")).toBeNull();
    await written;
    expect(count.get()?.n).toBe(1);
    other.close();
    await storage.close?.();
  });

  test("a commit that fails rejects all of its calls and changes nothing", async () => {
    const storage = onThisThread(path);
    const seen = spyExec((sql) => {
      if (sql === "COMMIT") throw Object.assign(new Error("disk I/O error"), { errcode: 778 });
    });
    const calls = [put("a"), put("b")].map((operation) => storage.write([operation], { now, atomic: false }));
    const outcomes = await Promise.allSettled(calls);
    expect(outcomes.map((outcome) => outcome.status === "rejected" && outcome.reason.code)).toEqual([
      "unavailable",
      "unavailable",
    ]);
    expect(seen).toContain("ROLLBACK");
    vi.restoreAllMocks();
    expect(await keysOf(storage)).toEqual([]);
    expect(await storage.write([put("c")], { now, atomic: false })).toEqual(["written"]);
    await storage.close?.();
  });

  test("a call that fails undoes itself alone", async () => {
    const storage = sqliteStorage({ path });
    const broken = { ...put("b"), entry: { ...(put("b") as { entry: object }).entry, version: null } } as never;
    const outcomes = await Promise.allSettled([
      storage.write([put("a")], { now, atomic: false }),
      storage.write([put("c"), broken], { now, atomic: false }),
      storage.write([broken], { now, atomic: false }),
      storage.write([put("d"), put("e")], { now, atomic: true }),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected", "fulfilled"]);
    expect(await keysOf(storage)).toEqual(["a", "d", "e"]);
    await storage.close?.();
  });

  test("an answer does not wait until the log has been moved into the file, and the end does", async () => {
    const database = openDatabase(path);
    const writer = localWriter(database, "default");
    const seen: string[] = [];
    const { get } = StatementSync.prototype;
    vi.spyOn(StatementSync.prototype, "get").mockImplementation(function (this: StatementSync, ...parameters) {
      if (this.sourceSQL.includes("wal_checkpoint")) seen.push("moved");
      return get.apply(this, parameters);
    });
    // The first write of a start moves what that has found.
    const answered = writer.write([put("a")], { now, atomic: false }).then(() => seen.push("answered"));
    await writer.close();
    seen.push("closed");
    await answered;
    expect(seen).toEqual(["answered", "moved", "closed"]);
    database.close();
  });

  test("close waits for the writes that are under way", async () => {
    const storage = sqliteStorage({ path });
    const writes = Array.from({ length: 600 }, (_, index) => storage.write([put(`k${index}`)], { now, atomic: false }));
    await storage.close?.();
    expect((await Promise.all(writes)).length).toBe(600);
    const again = sqliteStorage({ path });
    expect(await keysOf(again)).toHaveLength(600);
    await again.close?.();
  });
});

describe("errors while it runs", () => {
  test("a full disk is storage_full for the call that does not fit, and the others go through", async () => {
    const exec = DatabaseSync.prototype.exec;
    vi.spyOn(DatabaseSync.prototype, "exec").mockImplementation(function (this: DatabaseSync, sql: string) {
      exec.call(this, sql);
      if (sql.includes("synchronous")) exec.call(this, "PRAGMA max_page_count = 30");
    });
    const storage = onThisThread(path);
    const outcomes = await Promise.allSettled([
      storage.write([put("a")], { now, atomic: false }),
      storage.write([put("b"), put("c", "x".repeat(500_000))], { now, atomic: false }),
      storage.write([put("d")], { now, atomic: false }),
    ]);
    expect(outcomes[1]).toMatchObject({ status: "rejected", reason: { name: "KvError", code: "storage_full" } });
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(await keysOf(storage)).toEqual(["a", "d"]);
    await storage.close?.();
  });

  test("a write waits for another process's write without holding up reads", async () => {
    const storage = sqliteStorage({ path });
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    const written = storage.write([put("a")], { now, atomic: false });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await storage.get("a")).toBeNull();
    other.exec("COMMIT");
    expect(await written).toEqual(["written"]);
    other.close();
    await storage.close?.();
  });

  test("a lock that stays is unavailable, and a missing table is a fault of its own", async () => {
    const storage = sqliteStorage({ path });
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    await expect(storage.sweep?.(now, 1)).rejects.toThrow(expect.objectContaining({ code: "unavailable" }));
    other.exec("COMMIT");
    other.exec("DROP TABLE workertown_kv_entry");
    expect(() => storage.get("a")).toThrow("no such table");
    other.close();
    await storage.close?.();
  });
});

describe("the file", () => {
  test("opened again it holds what was written", async () => {
    const first = sqliteStorage({ path });
    await first.write([put("a", `{"x":1.0}`)], { now, atomic: false });
    await first.close?.();
    const second = sqliteStorage({ path });
    expect(Buffer.from((await second.get("a"))?.value ?? []).toString()).toBe(`{"x":1.0}`);
    await second.close?.();
  });

  test("plain SQL reads it, and values are text", async () => {
    const storage = sqliteStorage({ path, namespace: "n" });
    const entry = { value: Buffer.from(`{"x":"é"}`), metadata: `{"m":1}`, expiresAt: now + 5, version: "v" };
    await storage.write([{ kind: "put", key: "a/ü", entry }], { now, atomic: false });
    await storage.close?.();
    const database = new DatabaseSync(path);
    const row = database
      .prepare(
        `SELECT namespace, CAST(name AS TEXT) AS name, value ->> 'x' AS x, typeof(value) AS type, metadata, expires_at,
          version, updated_at FROM workertown_kv`,
      )
      .get();
    expect({ ...row }).toEqual({
      namespace: "n",
      name: "a/ü",
      x: "é",
      type: "text",
      metadata: `{"m":1}`,
      expires_at: now + 5,
      version: "v",
      updated_at: now,
    });
    expect(database.prepare("PRAGMA user_version").get()?.user_version).toBe(3);
    expect(database.prepare("PRAGMA journal_mode").get()?.journal_mode).toBe("wal");
    database.close();
  });

  test("namespaces see nothing of each other", async () => {
    const [one, two] = [sqliteStorage({ path, namespace: "one" }), sqliteStorage({ path, namespace: "two" })];
    await one.write([put("a")], { now, atomic: false });
    expect(await two.get("a")).toBeNull();
    expect(await two.getMany?.(["a"], 1)).toEqual([null]);
    expect(await keysOf(two)).toEqual([]);
    expect(await two.write([put("a", "2", { ifNoneMatch: "*" })], { now, atomic: false })).toEqual(["written"]);
    expect(await two.write([{ kind: "delete", key: "a" }], { now, atomic: false })).toEqual(["deleted"]);
    const entry = { value: Buffer.from("1"), metadata: null, expiresAt: now, version: "v" };
    await two.write([{ kind: "put", key: "b", entry }], { now, atomic: false });
    expect(await one.sweep?.(now, 10)).toBe(0);
    expect(await keysOf(one)).toEqual(["a"]);
    await one.close?.();
    await two.close?.();
  });

  test("migrates itself at start, also in 8 processes at once, and has nothing to do later", async () => {
    const module = JSON.stringify(join(import.meta.dirname, "../../src/storage/sqlite.ts"));
    const script = `const { sqliteStorage } = await import(${module});
      const storage = sqliteStorage({ path: ${JSON.stringify(path)} });
      await storage.write([{ kind: "put", key: String(process.pid),
        entry: { value: Buffer.from("1"), metadata: null, expiresAt: null, version: "v" } }], { now: 1, atomic: false });
      await storage.close();`;
    const run = () => promisify(execFile)(process.execPath, ["--input-type=module", "-e", script]);
    const outputs = await Promise.all(Array.from({ length: 8 }, run));
    expect(outputs.map(({ stderr }) => stderr)).toEqual(Array(8).fill(""));
    const storage = sqliteStorage({ path });
    expect(await keysOf(storage)).toHaveLength(8);
    expect(await storage.migrate?.()).toEqual([]);
    await storage.close?.();
  });
});

describe("a file that cannot be used is refused in one line", () => {
  const refusal = (name: string) => {
    try {
      sqliteStorage({ path: join(folder, name) });
    } catch (error) {
      expect(error).toBeInstanceOf(Error);
      return (error as Error).message.replaceAll(folder, "…");
    }
    throw new Error("It was not refused");
  };

  test("a missing folder", () => {
    expect(refusal("x/kv.sqlite")).toBe(
      `Cannot open the database "…/x/kv.sqlite": there is no folder "…/x"; create it or name another path`,
    );
  });

  test("a folder", () => {
    mkdirSync(join(folder, "sub"));
    expect(refusal("sub")).toBe(`Cannot open the database "…/sub": it is a folder; name a file in it`);
  });

  test("a file of something else, which stays as it is", () => {
    writeFileSync(join(folder, "notes.txt"), "notes ".repeat(1000));
    expect(refusal("notes.txt")).toBe(
      `Cannot open the database "…/notes.txt": it is not an SQLite database; move it away or name another path`,
    );
    expect(readFileSync(join(folder, "notes.txt"), "utf8")).toBe("notes ".repeat(1000));
  });

  test("a file of a newer version, which stays as it is", () => {
    const newer = new DatabaseSync(path);
    newer.exec("PRAGMA user_version = 7; CREATE TABLE future (x)");
    newer.close();
    expect(refusal("kv.sqlite")).toBe(
      `Cannot open the database "…/kv.sqlite": it was made by a newer version (its schema is 7, this version knows 3); update @workertown/kv`,
    );
    const after = new DatabaseSync(path);
    expect(after.prepare("PRAGMA journal_mode").get()?.journal_mode).toBe("delete");
    expect(after.prepare("SELECT group_concat(name) AS names FROM sqlite_schema").get()?.names).toBe("future");
    after.close();
  });

  test("an empty path or namespace", () => {
    expect(() => sqliteStorage({ path: "" })).toThrow(`path: Expected a file or ":memory:", got ""`);
    expect(() => sqliteStorage({ path, namespace: "" })).toThrow(`namespace: Expected a name, got ""`);
  });
});
