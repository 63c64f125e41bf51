import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { StorageAdapter, StoredEntry, WriteOperation } from "../../src/storage/adapter.ts";
import { sqliteStorage } from "../../src/storage/sqlite.ts";

const now = 1_000_000;
const run = promisify(execFile);
let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kv-schema-"));
  path = join(folder, "kv.sqlite");
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

interface Kept {
  key: string;
  text: string;
  metadata: string | null;
  expiresAt: number | null;
  version: string;
}

/** A JSON string of so many bytes in UTF-8. */
const textOf = (bytes: number) => `"${bytes % 2 === 0 ? "" : "x"}${"é".repeat(Math.floor((bytes - 2) / 2))}"`;

const kept = (key: string, text: string, metadata: string | null = null, expiresAt: number | null = null): Kept => ({
  key,
  text,
  metadata,
  expiresAt,
  version: `v-${key.slice(0, 5)}`,
});

const put = ({ key, text, ...entry }: Kept): WriteOperation => ({
  kind: "put",
  key,
  entry: { ...entry, value: new TextEncoder().encode(text) },
});
const write = async (storage: StorageAdapter, operations: WriteOperation[], atomic = false) =>
  storage.write(operations, { now, atomic });

const entryOf = ({ key, text, ...entry }: Kept) => ({ key, value: text, ...entry });
const shown = (key: string, { parts: _, ...entry }: Omit<StoredEntry, "value"> & { value: Uint8Array | null }) => ({
  key,
  ...entry,
  value: entry.value && new TextDecoder().decode(entry.value),
});

/** What a list, gets one by one and a batch of them say, which must be the same. */
async function contents(storage: StorageAdapter): Promise<unknown[]> {
  const page = await storage.list({ prefix: "", cursor: null, limit: 1000, valueBytes: 1e9, now: 0 });
  const bare = await storage.list({ prefix: "", cursor: null, limit: 1000, valueBytes: null, now: 0 });
  const keys = page.entries.map(({ key }) => key);
  const single = await Promise.all(keys.map(async (key) => shown(key, (await storage.get(key)) as StoredEntry)));
  const many = (await storage.getMany?.(keys, 1e9))?.map((entry, at) => shown(keys[at] ?? "", entry as StoredEntry));
  const listed = page.entries.map((entry) => shown(entry.key, entry));
  expect(single).toEqual(listed);
  expect(many).toEqual(listed);
  expect(bare.entries).toEqual(page.entries.map((entry) => ({ ...entry, value: null })));
  return listed;
}

/** Texts that no entry has, and entries whose text is missing. */
function astray(): unknown {
  const database = new DatabaseSync(path, { readOnly: true });
  const ids = `SELECT value AS id FROM workertown_kv_entry WHERE typeof(value) = 'integer' AND value > 0
    UNION ALL SELECT metadata FROM workertown_kv_entry WHERE typeof(metadata) = 'integer'`;
  const large = "SELECT -value AS id FROM workertown_kv_entry WHERE typeof(value) = 'integer' AND value < 0";
  const count = (what: string) => `(SELECT count(*) FROM ${what})`;
  const row = database
    .prepare(
      `SELECT ${count(`workertown_kv_text WHERE id NOT IN (${ids})`)} AS orphans,
        ${count(`(${ids}) WHERE id NOT IN (SELECT id FROM workertown_kv_text)`)} AS missing,
        ${count(`(${ids})`)} - ${count("workertown_kv_text")} AS shared,
        ${count(`workertown_kv_large WHERE id NOT IN (${large}) OR staged_at IS NOT NULL`)} AS orphansLarge,
        ${count(`(${large})`)} - ${count("workertown_kv_large")} AS missingLarge,
        ${count(`workertown_kv_piece WHERE id / 65536 NOT IN (${large})`)} AS orphanPieces,
        ${count(
          "workertown_kv_large AS value WHERE bytes <> (SELECT sum(length(bytes)) FROM workertown_kv_piece WHERE id / 65536 = value.id)",
        )} AS wrongBytes`,
    )
    .get();
  database.close();
  return { ...row };
}
const NONE_ASTRAY = {
  ...{ orphans: 0, missing: 0, shared: 0 },
  ...{ orphansLarge: 0, missingLarge: 0, orphanPieces: 0, wrongBytes: 0 },
};

const ENTRIES = [
  kept("a", "1"),
  kept("b", textOf(512), textOf(256)),
  kept("c", textOf(513), textOf(257)),
  kept("d", textOf(100_000), null, now + 5),
  kept("d/pieces", textOf(262_144 + 1), textOf(300)),
  kept("e", `{"x":1.0}`, textOf(5000), now + 6),
  kept("k".repeat(5000), textOf(2000)),
  kept("z\0ü", "2", '"m"'),
];

describe("where texts stand", () => {
  test("entries come back as they went in, and plain SQL sees texts wherever they stand", async () => {
    const storage = sqliteStorage({ path });
    await write(storage, ENTRIES.map(put));
    expect(await contents(storage)).toEqual(ENTRIES.map(entryOf));
    const database = new DatabaseSync(path);
    const rows = database.prepare("SELECT *, typeof(value) AS type FROM workertown_kv ORDER BY name").all();
    expect(rows.map((row) => ({ ...row, name: Buffer.from(row.name as Uint8Array).toString() }))).toEqual(
      ENTRIES.map(({ key, text, metadata, expiresAt, version }) => ({
        namespace: "default",
        name: key,
        metadata,
        expires_at: expiresAt,
        version,
        updated_at: now,
        value: text,
        type: "text",
      })),
    );
    const apart = `SELECT CAST(name AS TEXT) AS name, typeof(metadata) AS metadata, typeof(value) AS value
      FROM workertown_kv_entry WHERE name IN (x'62', x'63') ORDER BY name`;
    expect(
      database
        .prepare(apart)
        .all()
        .map((row) => ({ ...row })),
    ).toEqual([
      { name: "b", metadata: "text", value: "text" },
      { name: "c", metadata: "integer", value: "integer" },
    ]);
    database.close();
    await storage.close?.();
  });

  test("a number as value or metadata is no text that stands apart", async () => {
    const storage = sqliteStorage({ path });
    const entries = [kept("long", textOf(600), textOf(300)), ...["1", "2", "3"].map((text) => kept(text, text, text))];
    await write(storage, entries.map(put));
    expect(await contents(storage)).toEqual(
      entries
        .toReversed()
        .map(entryOf)
        .sort((a, b) => (a.key < b.key ? -1 : 1)),
    );
    expect(astray()).toEqual(NONE_ASTRAY);
    await storage.close?.();
  });

  test("no text is left over or lost, whatever is written, swept, refused or fails", async () => {
    const storage = sqliteStorage({ path });
    const expected = new Map<string, Kept>();
    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
    console.info(`SEED=${seed}`);
    let state = seed;
    const random = (below: number) => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
      return (state >>> 8) % below;
    };
    const sizes = [2, 512, 513, 9000, 70_000, 300_001];
    const any = () => {
      const text = textOf(sizes[random(sizes.length)] ?? 2);
      const metadata = [null, textOf(256), textOf(257), textOf(3000)][random(4)] ?? null;
      return kept(`k${random(12)}`, text, metadata, random(4) === 0 ? now - 1 : null);
    };
    for (let step = 0; step < 300; step++) {
      const entries = Array.from({ length: 1 + random(3) }, any);
      const kind = random(6);
      if (kind === 0) {
        for (const { key } of entries) expected.delete(key);
        await write(
          storage,
          entries.map(({ key }) => ({ kind: "delete", key })),
        );
      } else if (kind === 1) {
        const refused: WriteOperation = { kind: "delete", key: "k1", condition: { ifMatch: ["other"] } };
        expect(await write(storage, [...entries.map(put), refused], true)).toContain("refused");
      } else if (kind === 2) {
        // SQLite refuses it once the texts have been written.
        const broken = { ...any(), version: null as unknown as string };
        await expect(write(storage, [...entries.map(put), put(broken)])).rejects.toThrow("NOT NULL");
        await expect(write(storage, [put(broken)])).rejects.toThrow("NOT NULL");
      } else if (kind === 3) {
        const gone = [...expected.values()].filter(({ expiresAt }) => expiresAt !== null);
        expect(await storage.sweep?.(now, 100)).toBe(gone.length);
        for (const { key } of gone) expected.delete(key);
      } else {
        for (const entry of entries) expected.set(entry.key, entry);
        await write(storage, entries.map(put));
      }
    }
    const inOrder = [...expected.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
    expect(await contents(storage)).toEqual(inOrder.map(entryOf));
    expect(astray()).toEqual(NONE_ASTRAY);
    const other = new DatabaseSync(path);
    other.exec(
      "UPDATE workertown_kv_entry SET value = '1', metadata = NULL WHERE name < 'k3'; DELETE FROM workertown_kv_entry",
    );
    for (const table of ["text", "large", "piece"]) {
      expect(other.prepare(`SELECT count(*) AS n FROM workertown_kv_${table}`).get()?.n).toBe(0);
    }
    other.close();
    await storage.close?.();
  });

  test("a list, a get and a sweep go by the keys alone, and sort nothing", async () => {
    const prepared: string[] = [];
    const prepare = DatabaseSync.prototype.prepare;
    vi.spyOn(DatabaseSync.prototype, "prepare").mockImplementation(function (this: DatabaseSync, sql: string) {
      prepared.push(sql);
      return prepare.call(this, sql);
    });
    const storage = sqliteStorage({ path: ":memory:" });
    await storage.close?.();
    vi.restoreAllMocks();
    sqliteStorage({ path }).close?.();
    const database = new DatabaseSync(path);
    const planOf = (part: string) => {
      const sql = prepared.find((text) => text.includes(part)) ?? expect.unreachable(part);
      return database
        .prepare(`EXPLAIN QUERY PLAN ${sql}`)
        .all()
        .map(({ detail }) => detail);
    };
    const table = "SEARCH workertown_kv_entry USING";
    const long = "SEARCH long USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN";
    expect(planOf("octet_length").slice(0, 2)).toEqual([`${table} PRIMARY KEY (namespace=? AND name=?)`, long]);
    expect(planOf("ORDER BY expires_at LIMIT")).toEqual([
      `${table} PRIMARY KEY (namespace=? AND name=?)`,
      expect.stringMatching(/^LIST SUBQUERY/),
      `${table} COVERING INDEX workertown_kv_expires (namespace=? AND expires_at<?)`,
    ]);
    const query = "SELECT value FROM workertown_kv WHERE namespace = 'default' AND name = x'61'";
    const plan = database
      .prepare(`EXPLAIN QUERY PLAN ${query}`)
      .all()
      .map(({ detail }) => String(detail));
    // What is in brackets has been searched before.
    expect(plan.filter((detail) => /^SCAN (?!\()/.test(detail))).toEqual([]);
    database.close();
  });
});

/** What the first version made of a new file. */
const FIRST_VERSION = `
  PRAGMA journal_mode = WAL;
  CREATE TABLE workertown_kv (
    namespace TEXT NOT NULL,
    name BLOB NOT NULL,
    metadata TEXT,
    expires_at INTEGER,
    version TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (namespace, name)
  );
  CREATE INDEX workertown_kv_expires ON workertown_kv (namespace, expires_at) WHERE expires_at IS NOT NULL;
  PRAGMA user_version = 1;`;

function firstVersion(namespaces: Record<string, readonly Kept[]>): void {
  const database = new DatabaseSync(path);
  database.exec(FIRST_VERSION);
  const insert = database.prepare(
    `INSERT INTO workertown_kv (namespace, name, metadata, expires_at, version, updated_at, value)
      VALUES (?, ?, ?, ?, ?, ?, CAST(? AS TEXT))`,
  );
  for (const [namespace, entries] of Object.entries(namespaces)) {
    // Not in the order of the keys, as they come in life.
    for (const { key, text, metadata, expiresAt, version } of entries.toReversed()) {
      insert.run(namespace, Buffer.from(key), metadata, expiresAt, version, now, Buffer.from(text));
    }
  }
  database.close();
}

const rowsOf = (sql: string) => {
  const database = new DatabaseSync(path, { readOnly: true });
  const rows = database
    .prepare(sql)
    .all()
    .map((row) => ({ ...row }));
  database.close();
  return rows;
};
const EVERY_COLUMN = `SELECT namespace, hex(name) AS name, metadata, expires_at, version, updated_at, value, typeof(value) AS type
  FROM workertown_kv ORDER BY namespace, name`;

describe("a file of the first version", () => {
  test("is upgraded whole when it is opened: entries short, long, expiring and of several namespaces", async () => {
    firstVersion({ other: [kept("a", "3", textOf(900))], default: ENTRIES, "": [kept("never", "1")] });
    const before = rowsOf(EVERY_COLUMN);
    const storage = sqliteStorage({ path });
    expect(rowsOf(EVERY_COLUMN)).toEqual(before);
    expect(await contents(storage)).toEqual(ENTRIES.map(entryOf));
    expect(await storage.migrate?.()).toEqual([]);
    expect(astray()).toEqual(NONE_ASTRAY);
    expect(rowsOf("PRAGMA integrity_check")).toEqual([{ integrity_check: "ok" }]);
    const condition = { ifMatch: ["v-c"] };
    expect(await write(storage, [{ ...put(kept("c", textOf(700))), condition } as WriteOperation])).toEqual([
      "written",
    ]);
    expect(await storage.sweep?.(now + 5, 10)).toBe(1);
    await storage.close?.();
    const other = sqliteStorage({ path, namespace: "other" });
    expect(await contents(other)).toEqual([entryOf(kept("a", "3", textOf(900)))]);
    await other.close?.();
    expect(astray()).toEqual(NONE_ASTRAY);
  });

  test("is upgraded once when eight processes open it at once, and nothing is lost", async () => {
    const entries = Array.from({ length: 3000 }, (_, at) =>
      kept(`k${String(at).padStart(4, "0")}`, textOf(400 + (at % 300))),
    );
    firstVersion({ default: entries });
    const module = JSON.stringify(join(import.meta.dirname, "../../src/storage/sqlite.ts"));
    const script = `const { sqliteStorage } = await import(${module});
      const storage = sqliteStorage({ path: ${JSON.stringify(path)} });
      await storage.write([{ kind: "put", key: "z" + process.pid,
        entry: { value: Buffer.from("1"), metadata: null, expiresAt: null, version: "v" } }], { now: 1, atomic: false });
      await storage.close();`;
    const args = ["--conditions=workertown-source", "--input-type=module", "-e", script];
    const outputs = await Promise.all(Array.from({ length: 8 }, () => run(process.execPath, args)));
    expect(outputs.map(({ stderr }) => stderr)).toEqual(Array(8).fill(""));
    const storage = sqliteStorage({ path });
    const page = await storage.list({ prefix: "k", cursor: null, limit: 4000, valueBytes: 1e9, now });
    expect(page.entries.map((entry) => shown(entry.key, entry))).toEqual(entries.map(entryOf));
    const added = await storage.list({ prefix: "z", cursor: null, limit: 100, valueBytes: null, now });
    expect(added.entries).toHaveLength(8);
    await storage.close?.();
    expect(astray()).toEqual(NONE_ASTRAY);
  });

  test("stays as it is where the upgrade fails half-way", () => {
    firstVersion({ default: ENTRIES });
    const before = [rowsOf(EVERY_COLUMN), rowsOf("SELECT name, sql FROM sqlite_schema"), rowsOf("PRAGMA user_version")];
    const exec = DatabaseSync.prototype.exec;
    vi.spyOn(DatabaseSync.prototype, "exec").mockImplementation(function (this: DatabaseSync, sql: string) {
      exec.call(this, sql.includes("DROP TABLE workertown_kv") ? `${sql}; SELECT no_such_function()` : sql);
    });
    expect(() => sqliteStorage({ path })).toThrow("no_such_function");
    vi.restoreAllMocks();
    expect([
      rowsOf(EVERY_COLUMN),
      rowsOf("SELECT name, sql FROM sqlite_schema"),
      rowsOf("PRAGMA user_version"),
    ]).toEqual(before);
  });
});
