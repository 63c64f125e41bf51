import { inspect } from "node:util";
import { Client } from "@planetscale/database";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { StorageAdapter, WriteOperation } from "../../src/storage/adapter.ts";
import { mysqlStorage } from "../../src/storage/mysql.ts";
import { planetscaleStorage } from "../../src/storage/planetscale.ts";
import { storedEntry } from "../../src/testing/subject.ts";
import { freshNamespace, testEngine } from "./engine.ts";
import { missing, type Planetscale, startPlanetscale } from "./planetscale-server.ts";

let started: Promise<Planetscale> | undefined;
const start = () => {
  started ??= startPlanetscale();
  return started;
};

testEngine({ name: "planetscale", missing, start });

const NOW = 1_800_000_000_000;
const at = (atomic: boolean) => ({ now: NOW, atomic });
let versions = 0;

function put(key: string, text: string, condition?: WriteOperation["condition"], expiresAt: number | null = null) {
  const entry = storedEntry(text, { version: `v${versions++}`, expiresAt });
  return { kind: "put", key, condition, entry } satisfies WriteOperation;
}

const codeOf = (promise: unknown) =>
  Promise.resolve(promise).then(
    () => "no error",
    (error: { code?: string; message: string }) => `${error.code}: ${error.message}`,
  );

describe.skipIf(missing !== null)("planetscale", () => {
  let engine: Planetscale;
  let storage: StorageAdapter;

  beforeAll(async () => {
    engine = await start();
  });
  beforeEach(async () => {
    engine.answer = undefined;
    storage = engine.open(freshNamespace());
    await storage.get("warm");
    engine.statements.length = 0;
  });

  const words = () => engine.statements.splice(0).map((statement) => statement.split(" ")[0]);

  it("sends one request for a single operation, and a handful for a thousand", async () => {
    const first = put("k", "1");
    await storage.write([first], at(false));
    await storage.write([put("new", "1", { ifNoneMatch: "*" })], at(false));
    await storage.write([put("k", "2", { ifMatch: [first.entry.version] })], at(false));
    await storage.write([{ kind: "delete", key: "k" }], at(false));
    await storage.get("k");
    expect(words()).toEqual(["INSERT", "INSERT", "UPDATE", "DELETE", "SELECT"]);
    const keys = Array.from({ length: 1000 }, (_, index) => `k${index}`);
    await storage.write(
      keys.map((key) => put(key, "1")),
      at(false),
    );
    await storage.write(
      keys.map((key) => put(key, "2", { ifMatch: "*" })),
      at(true),
    );
    expect(words()).toEqual(["INSERT", "START", "INSERT", "SELECT", "INSERT", "COMMIT"]);
  });

  it("creates where an entry has expired, and refuses where one lives, whatever the flags of the connection", async () => {
    const create = () => storage.write([put("k", "1", { ifNoneMatch: "*" })], at(false));
    expect([await create(), await create()]).toEqual([["written"], ["refused"]]);
    await storage.write([put("k", "1", undefined, NOW)], at(false));
    expect([await create(), await create()]).toEqual([["written"], ["refused"]]);
  });

  it("shares its table with the MySQL engine", async () => {
    const namespace = freshNamespace();
    const [over, direct] = [engine.open(namespace), mysqlStorage({ url: engine.mysql.url, namespace })];
    await over.write([put("é", '"漢字 😀 \\u0000 \' \\\\ ?"')], at(false));
    await direct.write([put("direct", "1", undefined, NOW + 1)], at(false));
    for (const each of [over, direct]) {
      expect(new TextDecoder().decode((await each.get("é"))?.value)).toBe('"漢字 😀 \\u0000 \' \\\\ ?"');
      expect((await each.get("direct"))?.expiresAt).toBe(NOW + 1);
    }
    await direct.close?.();
  });

  it("is made once by ten that start at once", async () => {
    await engine.mysql.admin("DROP TABLE workertown_kv, workertown_kv_schema");
    const steps = await Promise.all(Array.from({ length: 10 }, () => engine.open("ten").migrate?.()));
    expect(steps.flat()).toEqual(["0001-create-table"]);
    expect(await engine.mysql.admin("SELECT version FROM workertown_kv_schema")).toEqual([{ version: 1 }]);
  });

  it("takes a client of the caller's", async () => {
    const client = new Client({ url: engine.url });
    const given = planetscaleStorage({ client, namespace: freshNamespace() });
    expect(await given.write([put("k", "1", { ifNoneMatch: "*" })], at(true))).toEqual(["written"]);
    expect((await given.get("k"))?.version).toMatch(/^v/);
  });

  it("reads values of many keys in answers that are not too long", async () => {
    const keys = Array.from({ length: 9 }, (_, index) => `long-${index}`);
    const namespace = freshNamespace();
    for (const key of keys) {
      await engine.mysql.admin(
        "INSERT INTO workertown_kv (namespace, name, version, updated_at, value) VALUES (?, ?, 'v', 0, REPEAT('1', 4000000))",
        [namespace, key],
      );
    }
    const entries = await engine.open(namespace).getMany?.([...keys, "none"], Number.MAX_SAFE_INTEGER);
    expect(entries?.map((entry) => entry?.value?.length)).toEqual([...keys.map(() => 4_000_000), undefined]);
    expect(words().slice(-3)).toEqual(["SELECT", "SELECT", "SELECT"]);
  });

  const away = "unavailable: The database cannot be used at the moment";
  const unknown = `${away}; the outcome of the write is unknown`;
  const vitess = (message: string, code = "UNAVAILABLE") => ({ status: 200, body: { error: { code, message } } });

  it.each([
    ["a front that has no backend", { status: 502, body: "<html>" }, away, unknown],
    [
      "a gateway's error",
      { status: 503, body: { error: { code: "unavailable", message: "try later" } } },
      away,
      unknown,
    ],
    ["a wrong password", { status: 401, body: { error: { code: "unauthenticated", message: "no" } } }, away, away],
    ["too many requests", { status: 429, body: { error: { code: "exhausted", message: "slow down" } } }, away, away],
    ["Vitess without a primary", vitess("no healthy tablet available"), away, unknown],
    ["a transaction pool that is full", vitess("rpc error: connection limit exceeded (errno 1203)"), away, away],
    [
      "a fault of ours",
      vitess("syntax error (errno 1064) (sqlstate 42000)", "INVALID"),
      /^undefined: /,
      /^undefined: /,
    ],
  ])("%s", async (_, answer, ofRead, ofWrite) => {
    engine.answer = () => answer;
    const expected = (of: string | RegExp) => (typeof of === "string" ? of : expect.stringMatching(of));
    expect(await codeOf(storage.get("k"))).toEqual(expected(ofRead));
    expect(await codeOf(storage.write([put("k", "1")], at(false)))).toEqual(expected(ofWrite));
  });

  it("a deadlock in Vitess's words is tried again", async () => {
    let deadlocks = 3;
    engine.answer = (query) => {
      if (!query.startsWith("COMMIT") || deadlocks-- <= 0) return undefined;
      return vitess("rpc error: code = Aborted desc = Deadlock found (errno 1213) (sqlstate 40001)", "ABORTED");
    };
    expect(await storage.write([put("a", "1"), put("b", "1", { ifNoneMatch: "*" })], at(true))).toEqual([
      "written",
      "written",
    ]);
    expect(deadlocks).toBe(-1);
  });

  it("a branch that takes no DDL says so, and needs none where the schema was deployed", async () => {
    engine.answer = (query) => (/CREATE/.test(query) ? vitess("direct DDL is disabled", "UNKNOWN") : undefined);
    await engine.mysql.admin("RENAME TABLE workertown_kv_schema TO away");
    const later = engine.open(freshNamespace());
    expect(await codeOf(later.migrate?.())).toMatch(/^unavailable: The branch takes no changes of its schema/);
    await engine.mysql.admin("RENAME TABLE away TO workertown_kv_schema");
    expect(await later.migrate?.()).toEqual([]);
  });

  it("options and failures show no password", async () => {
    for (const options of [{}, { url: "secret" }, { url: "https://" }, { url: "https://u:secret@h", client: {} }]) {
      expect(() => planetscaleStorage(options as never)).toThrow(/^url: Expected (?!.*secret)/);
    }
    expect(() => planetscaleStorage({ url: engine.url, namespace: "" })).toThrow(/^namespace: Expected/);
    const wrong = planetscaleStorage({ url: engine.url.replace(engine.secret, "not-the-password") });
    const error = await Promise.resolve(wrong.get("k")).catch((reason) => reason);
    expect(error).toMatchObject({ code: "unavailable" });
    expect(inspect(error, { depth: 9 })).not.toMatch(new RegExp(`not-the-password|${btoa("kv:not-the-password")}`));
  });
});
