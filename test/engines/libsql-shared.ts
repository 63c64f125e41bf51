/** What libSQL and D1 have in common, at rest and on the way there. */
import { expect, it } from "vitest";
import type { StorageAdapter, StoredEntry, WriteOperation } from "../../src/storage/adapter.ts";
import { type Engine, freshNamespace } from "./engine.ts";
import { create, NOW, put, textOf } from "./libsql-shared-entries.ts";

/** An engine with a way around the adapter. */
export interface SqliteEngine extends Engine {
  query(sql: string): Promise<Record<string, unknown>[]>;
}

/** Texts that come back changed where JSON in JSON, or SQLite's reading of it, is not exact. */
const TEXTS: readonly string[] = [
  '"\\u0000"',
  '"a\\u0000b"',
  '"\\ud800"',
  '"\\udc00\\ud800"',
  '"\\ud83d\\ude00 \u{1F600} \u{10FFFF}"',
  '"\\\\u0000 \\\\\\" \\/ \\b\\f\\n\\r\\t"',
  '"\\\\\\\\\\\\"',
  " \t\r\n[ 1\n,\r\n2\t] \n",
  '"\u007f \u0080 \u2028 \u2029 \uFEFF \uFFFD \uFFFF é"',
  "1e400",
  "-0",
  "1.10",
  "9007199254740993",
  "123456789012345678901234567890.000",
  '{"__proto__":1,"a":1,"a":2,"":{}}',
  "null",
  "true",
  '""',
  '"null"',
  '"\'; DROP TABLE workertown_kv; -- ?1 :a @b $c"',
  `"${"\\\\".repeat(50_000)}"`,
  `"${'\\"漢'.repeat(100_000)}"`,
  `${"[".repeat(512)}"x"${"]".repeat(512)}`,
];

export function sharedTests(engineOf: () => SqliteEngine): void {
  async function withAdapter<T>(run: (adapter: StorageAdapter, namespace: string) => Promise<T>): Promise<T> {
    const namespace = freshNamespace();
    const adapter = engineOf().open(namespace);
    try {
      return await run(adapter, namespace);
    } finally {
      await adapter.close?.();
    }
  }
  const write = async (adapter: StorageAdapter, atomic: boolean, ...operations: WriteOperation[]) =>
    adapter.write(operations, { now: NOW, atomic });

  it.each([
    ["one by one", (adapter: StorageAdapter, all: WriteOperation[]) => each(all, (one) => write(adapter, false, one))],
    [
      "one by one, under a condition",
      (adapter: StorageAdapter, all: WriteOperation[]) =>
        each(all, (one) => write(adapter, false, { ...one, condition: { ifNoneMatch: "*" } })),
    ],
    ["many at once", (adapter: StorageAdapter, all: WriteOperation[]) => write(adapter, false, ...all)],
    [
      "many in an atomic batch with conditions",
      (adapter: StorageAdapter, all: WriteOperation[]) =>
        write(adapter, true, ...all.map((one) => ({ ...one, condition: { ifNoneMatch: "*" as const } }))),
    ],
  ])("texts come back byte for byte on every way out: written %s", async (_, store) => {
    await withAdapter(async (adapter) => {
      const metadata = (index: number) => (TEXTS[index] as string).slice(0, 1000);
      const key = (index: number) => `k${String(index).padStart(2, "0")}\0${index}`;
      const all = TEXTS.map((text, index) => put(key(index), text, { metadata: metadata(index) }));
      await store(adapter, all);
      const keys = all.map((one) => one.key);
      const budget = { now: NOW, atomic: true, valueBytes: Number.MAX_SAFE_INTEGER };
      const gets = keys.map((one) => ({ kind: "get" as const, key: one }));
      const ways = {
        get: await Promise.all(keys.map(async (one) => adapter.get(one))),
        getMany: await adapter.getMany?.(keys, Number.MAX_SAFE_INTEGER),
        list: (await adapter.list({ prefix: "", cursor: null, limit: 1000, valueBytes: 1e9, now: NOW })).entries,
        atomic: (await adapter.write(gets, budget)).map((outcome) => (outcome as { found: StoredEntry }).found),
      };
      for (const [way, entries] of Object.entries(ways)) {
        expect(entries?.map(textOf), way).toEqual(TEXTS);
        expect(
          entries?.map((entry) => entry?.metadata),
          way,
        ).toEqual(TEXTS.map((_text, index) => metadata(index)));
      }
    });
  });

  it("at rest keys are the bytes of their UTF-8, values are text, times are whole numbers: on each way in", async () => {
    await withAdapter(async (adapter, namespace) => {
      const rest = { metadata: '"m"', expiresAt: NOW + 1500, version: "same" };
      const key = "a\0é\u{1F600}";
      const written: WriteOperation[][] = [
        [put(key, "1.0", rest)],
        [{ ...put(key, "1.0", rest), condition: { ifMatch: ["same"] } }],
        [put(key, "1.0", rest), put("other", "1")],
        [put(key, "1.0", rest), put("large", `"${"x".repeat(300_000)}"`)],
      ];
      for (const operations of written) {
        await write(adapter, true, ...operations);
        const rows = await engineOf().query(
          `SELECT hex(name) AS name, metadata, expires_at, version, updated_at, value, typeof(name) AS a, typeof(expires_at) AS b,
            typeof(updated_at) AS c, typeof(value) AS d, typeof(metadata) AS e
            FROM workertown_kv WHERE namespace = '${namespace}' AND version = 'same'`,
        );
        expect(rows.map((row) => ({ ...row }))).toEqual([
          {
            ...{ name: "6100C3A9F09F9880", metadata: '"m"', expires_at: NOW + 1500, version: "same", updated_at: NOW },
            ...{ value: "1.0", a: "blob", b: "integer", c: "integer", d: "text", e: "text" },
          },
        ]);
      }
    });
  });

  it("the schema is the documented one", async () => {
    await withAdapter(async (adapter) => {
      await adapter.get("k");
      const rows = await engineOf().query(
        "SELECT sql FROM sqlite_master WHERE name LIKE 'workertown%' AND sql IS NOT NULL ORDER BY name",
      );
      expect(rows.map(({ sql }) => String(sql).replace(/\s+/g, " "))).toEqual([
        "CREATE TABLE workertown_kv ( namespace TEXT NOT NULL, name BLOB NOT NULL, metadata TEXT, expires_at INTEGER, " +
          "version TEXT NOT NULL, updated_at INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY (namespace, name) )",
        "CREATE INDEX workertown_kv_expires ON workertown_kv (namespace, expires_at) WHERE expires_at IS NOT NULL",
        "CREATE TABLE workertown_kv_schema (version INTEGER PRIMARY KEY, name TEXT NOT NULL)",
      ]);
      const schema = await engineOf().query("SELECT version, name FROM workertown_kv_schema");
      expect(schema.map((row) => ({ ...row }))).toEqual([{ version: 1, name: "0001-create-table" }]);
    });
  });

  it("reads and lists use the primary key, the sweep its index", async () => {
    await withAdapter(async (adapter) => {
      await adapter.get("k");
      const plan = async (sql: string) =>
        (await engineOf().query(`EXPLAIN QUERY PLAN ${sql}`)).map(({ detail }) => String(detail)).join("; ");
      const range = "namespace = 'a' AND name >= unhex('61') AND name < unhex('62')";
      expect(await plan(`SELECT version FROM workertown_kv WHERE ${range} ORDER BY name LIMIT 3`)).toMatch(
        /^SEARCH workertown_kv USING INDEX sqlite_autoindex_workertown_kv_1 \(namespace=\? AND name>\? AND name<\?\)$/,
      );
      const known = `json_each('[["61","v"]]') AS known LEFT JOIN workertown_kv AS kv
        ON kv.namespace = 'a' AND kv.name = unhex(known.value->>0)`;
      expect(await plan(`SELECT 1 FROM ${known} WHERE kv.version IS NOT known.value->>1`)).toMatch(
        /SEARCH kv USING INDEX sqlite_autoindex_workertown_kv_1 \(namespace=\? AND name=\?\)/,
      );
      const expired =
        "SELECT rowid FROM workertown_kv WHERE namespace = 'a' AND expires_at <= 5 ORDER BY expires_at LIMIT 2";
      expect(await plan(expired)).toMatch(
        /USING (COVERING )?INDEX workertown_kv_expires \(namespace=\? AND expires_at<\?\)$/,
      );
    });
  });

  it("ten adapters that start at once on an empty database run each step once", async () => {
    await engineOf().query("DROP TABLE IF EXISTS workertown_kv");
    await engineOf().query("DROP TABLE IF EXISTS workertown_kv_schema");
    const adapters = Array.from({ length: 10 }, () => engineOf().open(freshNamespace()));
    try {
      const ran = await Promise.all(adapters.map((adapter) => adapter.migrate?.()));
      expect(ran.flat()).toEqual(["0001-create-table"]);
      await Promise.all(adapters.map((adapter) => write(adapter, false, put("k", "1"))));
      expect(await Promise.all(adapters.map(async (adapter) => textOf(await adapter.get("k"))))).toEqual(
        Array(10).fill("1"),
      );
    } finally {
      await Promise.all(adapters.map((adapter) => adapter.close?.()));
    }
  });

  it("ten adapters whose first call is a write run into no half-made schema", async () => {
    await engineOf().query("DROP TABLE IF EXISTS workertown_kv");
    await engineOf().query("DROP TABLE IF EXISTS workertown_kv_schema");
    const namespace = freshNamespace();
    const adapters = Array.from({ length: 10 }, () => engineOf().open(namespace));
    try {
      const outcomes = await Promise.all(adapters.map((adapter) => write(adapter, false, create("k", "1"))));
      expect(outcomes.flat().filter((outcome) => outcome === "written")).toHaveLength(1);
    } finally {
      await Promise.all(adapters.map((adapter) => adapter.close?.()));
    }
  });

  it("a schema of a newer version is refused by every call, and left as it is", async () => {
    await withAdapter(async (adapter) => {
      await adapter.get("k");
    });
    await engineOf().query("INSERT INTO workertown_kv_schema (version, name) VALUES (2, '0002-later')");
    try {
      await withAdapter(async (adapter) => {
        const newer = {
          code: "unavailable",
          message:
            "The database was made by a newer version (its schema is 2, this version knows 1); update @workertown/kv",
        };
        await expect(adapter.migrate?.()).rejects.toMatchObject(newer);
        await expect(adapter.get("k")).rejects.toMatchObject(newer);
        await expect(write(adapter, false, put("k", "1"))).rejects.toMatchObject(newer);
      });
    } finally {
      await engineOf().query("DELETE FROM workertown_kv_schema WHERE version = 2");
    }
  });

  it("a delete under If-None-Match tells what was refused from what was not there", async () => {
    await withAdapter(async (adapter) => {
      const remove = (condition: object) => write(adapter, false, { kind: "delete", key: "k", condition });
      expect(await remove({ ifNoneMatch: "*" })).toEqual(["absent"]);
      await write(adapter, false, put("k", "1", { version: "one" }));
      expect(await remove({ ifNoneMatch: ["one"] })).toEqual(["refused"]);
      expect(await remove({ ifMatch: ["one"], ifNoneMatch: ["one"] })).toEqual(["refused"]);
      expect(await remove({ ifMatch: "*", ifNoneMatch: ["two"] })).toEqual(["deleted"]);
    });
  });

  it("batches that others come in between of are decided anew, and none is lost", async () => {
    const namespace = freshNamespace();
    const adapters = [engineOf().open(namespace), engineOf().open(namespace)];
    try {
      const keys = ["a", "b", "c"];
      const attempts = Array.from({ length: 12 }, (_, index) => {
        const adapter = adapters[index % 2] as StorageAdapter;
        return write(adapter, index % 3 === 0, ...keys.map((key) => create(key, `${index}`)), put(`own${index}`, "1"));
      });
      const outcomes = await Promise.all(attempts);
      // Whoever came first made all of them: an atomic batch that came later is refused whole, any other in part.
      const winners = outcomes.flatMap((outcome, index) => (outcome[0] === "written" ? [index] : []));
      expect(winners).toHaveLength(1);
      for (const key of keys) expect(textOf(await adapters[0]?.get(key))).toBe(`${winners[0]}`);
      for (const [index, outcome] of outcomes.entries()) {
        const isWritten = index % 3 !== 0 || index === winners[0];
        expect(outcome.slice(0, 3)).toEqual(Array(3).fill(index === winners[0] ? "written" : "refused"));
        expect(textOf(await adapters[1]?.get(`own${index}`)), `own${index}`).toBe(isWritten ? "1" : null);
      }
    } finally {
      await Promise.all(adapters.map((adapter) => adapter.close?.()));
    }
  });

  it("values past the share of each are read by their versions, within the budget", async () => {
    await withAdapter(async (adapter) => {
      const sizes = [10, 400_000, 20, 300_000, 200_000];
      const keys = sizes.map((_, index) => `k${index}`);
      const all = sizes.map((size, index) => put(keys[index] as string, `"${"x".repeat(size - 2)}"`));
      await write(adapter, false, ...all);
      const lengths = async (valueBytes: number) =>
        (await adapter.getMany?.(keys, valueBytes))?.map((entry) => entry?.value?.length ?? null);
      expect(await lengths(1_000_000)).toEqual(sizes);
      expect(await lengths(700_030)).toEqual([10, 400_000, 20, 300_000, null]);
      expect(await lengths(600_030)).toEqual([10, 400_000, 20, null, 200_000]);
      expect(await lengths(29)).toEqual([10, null, null, null, null]);
    });
  });
}

async function each<T>(items: readonly T[], step: (item: T) => Promise<unknown>): Promise<void> {
  for (const item of items) await step(item);
}
