/** What `/admin/metrics` shows, after requests that are known. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { type KvOptions, kv } from "../src/index.ts";
import { PARTS } from "../src/kv.ts";
import { memoryStorage } from "../src/storage/memory.ts";
import { sqliteStorage } from "../src/storage/sqlite.ts";
import { parseExposition, type Samples } from "./exposition.ts";
import { KEY, startService, type TestService } from "./support.ts";

const folders: string[] = [];

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function databaseFile(): string {
  const folder = mkdtempSync(join(tmpdir(), "kv-metrics-"));
  folders.push(folder);
  return join(folder, "kv.sqlite");
}

async function samplesOf(service: TestService): Promise<Samples> {
  const { status, text } = await service.call("GET", "/admin/metrics");
  expect(status).toBe(200);
  return parseExposition(text);
}

/** Hands everything to the app where there is a callback. */
const BY_APP: KvOptions = { auth: { apiKey: { apiKey: KEY }, authenticateRequest: (_, principal) => principal } };

describe("requests", () => {
  it.each([
    ["by the server itself", {}],
    ["by the app", BY_APP],
  ])("are counted once each, by route, method and status, where they are answered %s", async (_how, options) => {
    await using service = await startService(options);
    await service.call("PUT", "/v1/kv/a", { body: { value: 1 } });
    for (const path of ["/v1/kv/a", "/v1/kv/a", "/v1/kv/absent", "/v1/kv", "/health"]) await service.call("GET", path);
    await service.call("HEAD", "/v1/kv/a");
    await service.call("GET", "/v1/kv/a", { headers: { Authorization: "Bearer wrong" } });
    await service.call("DELETE", "/v1/kv/a");
    const { counts, sample } = await samplesOf(service);
    expect(counts("workertown_kv_requests_total")).toEqual({
      'route="/v1/kv/:key",method="PUT",status="200"': 1,
      'route="/v1/kv/:key",method="GET",status="200"': 2,
      'route="/v1/kv/:key",method="GET",status="404"': 1,
      'route="/v1/kv/:key",method="HEAD",status="200"': 1,
      'route="/v1/kv/:key",method="DELETE",status="200"': 1,
      'route="/v1/kv",method="GET",status="200"': 1,
      'route="/health",method="GET",status="200"': 1,
      'route="none",method="GET",status="401"': 1,
    });
    const reads = 'route="/v1/kv/:key",method="GET"';
    expect(sample("workertown_kv_request_duration_seconds_count", reads)).toBe(3);
    const took = sample("workertown_kv_request_duration_seconds_sum", reads);
    expect(took).toBeGreaterThan(0);
    expect(took).toBeLessThan(30);
  });

  it("take part in no name: whatever paths, methods, keys and values come, the series are the same", async () => {
    await using service = await startService({ logger: () => {} });
    const strange = async (canary: string, methods: string[]) => {
      await service.call("PUT", `/v1/kv/${canary}`, { body: { value: canary, metadata: canary } });
      await service.call("GET", `/v1/kv/${canary}?${canary}=1`);
      await service.call("GET", `/v1/kv?prefix=${canary}`);
      await service.call("POST", "/v1/kv", { body: { operations: [{ op: "put", key: canary, value: canary }] } });
      for (const method of ["GET", ...methods]) await service.call(method, `/${canary}/${canary}`);
      for (const method of methods) await service.call(method, `/v1/kv/${canary}`);
      await service.call("GET", `/${canary}`, { headers: { Authorization: `Bearer ${canary}` } });
    };
    await strange("canary-first", ["PROPFIND", "PURGE", "LOCK"]);
    await samplesOf(service);
    const { names } = await samplesOf(service);
    for (let round = 0; round < 20; round++) await strange(`canary-${round}`, ["REPORT", "SEARCH", "MKCOL"]);
    const after = await samplesOf(service);
    expect(after.names).toEqual(names);
    expect(after.text).not.toContain("canary");
    expect(after.counts("workertown_kv_requests_total")).toMatchObject({
      'route="none",method="other",status="404"': 63,
    });
  });

  it("that fail are logged, and counted by the level", async () => {
    const storage = memoryStorage();
    await using service = await startService({ runtime: { storage } });
    storage.get = () => Promise.reject(new Error("away"));
    await service.call("GET", "/v1/kv/a");
    const { counts } = await samplesOf(service);
    expect(counts("workertown_kv_log_entries_total")).toEqual({ 'level="warn"': 0, 'level="error"': 1 });
    expect(counts("workertown_kv_storage_failures_total")).toMatchObject({ 'call="get"': 1, 'call="write"': 0 });
  });

  it("count while their bodies are on their way", async () => {
    await using service = await startService();
    const { hostname, port } = new URL(service.url);
    const socket = connect(Number(port), hostname).on("error", () => {});
    socket.write(
      `PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${KEY}\r\nContent-Type: application/json\r\n`,
    );
    socket.write('Content-Length: 5000\r\n\r\n{"value":');
    const inFlight = async () => (await samplesOf(service)).sample("workertown_kv_in_flight_bytes");
    await expect.poll(inFlight).toBe(5000);
    socket.destroy();
    await expect.poll(inFlight).toBe(0);
  });
});

const USER = { username: "ann", password: "correct horse" };

describe("the storage", () => {
  it.each([
    ["a file", databaseFile],
    ["memory", () => ":memory:"],
  ])("of SQLite in %s: calls by their kind, and commits by how many writes share one", async (_where, path) => {
    await using service = await startService({ runtime: { storage: sqliteStorage({ path: path() }) } });
    await service.call("PUT", "/v1/kv/first", { body: { value: 0 } });
    const puts = Array.from({ length: 40 }, (_, at) => service.call("PUT", `/v1/kv/${at}`, { body: { value: at } }));
    await Promise.all(puts);
    for (let read = 0; read < 3; read++) await service.call("GET", "/v1/kv/first");
    await service.call("GET", "/v1/kv");
    const { sample } = await samplesOf(service);
    const calls = (call: string) => sample("workertown_kv_storage_duration_seconds_count", `call="${call}"`);
    expect([calls("write"), calls("get"), calls("list"), calls("get_many")]).toEqual([41, 3, 1, 0]);
    expect(sample("workertown_kv_commit_group_size_sum")).toBe(41);
    expect(sample("workertown_kv_commit_group_size_bucket", 'le="1"')).toBeGreaterThanOrEqual(1);
    expect(sample("workertown_kv_commit_group_size_count")).toBeLessThanOrEqual(41);
    expect(sample("workertown_kv_commit_group_size_count")).toBeGreaterThanOrEqual(2);
  });

  it("of SQLite answers from its own cache what is read again and again", async () => {
    await using service = await startService({ runtime: { storage: sqliteStorage({ path: databaseFile() }) } });
    await service.call("PUT", "/v1/kv/a", { body: { value: 1 } });
    for (let read = 0; read < 5; read++) await service.call("GET", "/v1/kv/a");
    const { counts } = await samplesOf(service);
    // The second reading keeps it.
    expect(counts("workertown_kv_cache_lookups_total")).toEqual({
      'cache="engine",result="hit"': 3,
      'cache="engine",result="miss"': 2,
    });
  });

  it("behind `runtime.cache` is asked for what is not in that", async () => {
    const cache = { maxBytes: 1_000_000, maxAge: 60 };
    await using service = await startService({ runtime: { storage: memoryStorage(), cache } });
    await service.call("PUT", "/v1/kv/a", { body: { value: 1 } });
    for (let read = 0; read < 5; read++) expect((await service.call("GET", "/v1/kv/a")).json.data).toBe(1);
    // Which asks the engine, whatever is in the cache.
    await service.call("GET", "/ready");
    const { counts, sample } = await samplesOf(service);
    expect(counts("workertown_kv_cache_lookups_total")).toEqual({
      'cache="runtime",result="hit"': 4,
      'cache="runtime",result="miss"': 1,
    });
    expect(sample("workertown_kv_storage_duration_seconds_count", 'call="get"')).toBe(3);
  });

  it("removes what has expired, and that is counted", async () => {
    const storage = memoryStorage();
    const entry = { value: Buffer.from("1"), metadata: null, version: "v", expiresAt: 1 };
    const puts = ["a", "b", "c"].map((key) => ({ kind: "put" as const, key, entry }));
    await storage.write(puts, { now: 0, atomic: false });
    await using service = await startService({ runtime: { storage } });
    const swept = async () => (await samplesOf(service)).sample("workertown_kv_swept_entries_total");
    await expect.poll(swept).toBe(3);
  });

  it("may be an instance of a class with private members", async () => {
    class Storage {
      readonly #memory = memoryStorage();
      readonly engine = "class";
      readonly capabilities = this.#memory.capabilities;
      get = (key: string) => this.#memory.get(key);
      write(...given: Parameters<ReturnType<typeof memoryStorage>["write"]>) {
        return this.#memory.write(...given);
      }
      list(...given: Parameters<ReturnType<typeof memoryStorage>["list"]>) {
        return this.#memory.list(...given);
      }
      async ping() {
        void this.#memory;
      }
    }
    await using service = await startService({ runtime: { storage: new Storage() } });
    expect((await service.call("PUT", "/v1/kv/a", { body: { value: 1 } })).status).toBe(200);
    expect((await service.call("GET", "/ready")).status).toBe(200);
    expect((await service.call("GET", "/v1/kv")).json.data.keys).toHaveLength(1);
  });
});

describe("the route", () => {
  it("needs a credential with the scope admin", async () => {
    const reader = "reader-key-0123456789";
    await using service = await startService({ auth: { apiKey: { apiKey: [KEY, { key: reader, scope: "write" }] } } });
    const by = (credential: string) =>
      service.call("GET", "/admin/metrics", { headers: { Authorization: `Bearer ${credential}` } });
    expect((await by("wrong")).status).toBe(401);
    expect((await by(reader)).status).toBe(403);
    const { status, headers } = await by(KEY);
    expect([status, headers.get("Content-Type")]).toEqual([200, "text/plain; version=0.0.4; charset=utf-8"]);
  });

  it("goes with its group, and then nothing is counted", async () => {
    const app = kv({ endpoints: { v1: { admin: false } }, logger: false });
    expect(app.routes.map(({ path }) => path)).not.toContain("/admin/metrics");
    expect(app[PARTS].config.meter).toBeUndefined();
  });

  it("shows of each `kv()` its own", async () => {
    await using one = await startService();
    await using other = await startService();
    await one.call("GET", "/health");
    expect((await samplesOf(other)).text).not.toContain("/health");
  });

  it("shows what each limit refused", async () => {
    const refusals = async (options: KvOptions, act: (service: TestService) => Promise<unknown>) => {
      await using service = await startService({ auth: { apiKey: { apiKey: KEY }, basic: USER }, ...options });
      await act(service);
      const { counts } = await samplesOf(service);
      return counts("workertown_kv_refusals_total");
    };
    const none = {
      'limit="ip"': 0,
      'limit="address"': 0,
      'limit="principal"': 0,
      'limit="guessing"': 0,
      'limit="bytes"': 0,
    };
    const get = (service: TestService, headers = {}) => service.call("GET", "/v1/kv/a", { headers });
    const twice = async (service: TestService, headers: Record<string, string>) => {
      for (let turn = 0; turn < 2; turn++) await get(service, headers);
    };
    const access = { trustProxy: 1, ip: ["127.0.0.1", "192.0.2.7"] };
    expect(await refusals({ access }, (service) => get(service, { "X-Forwarded-For": "192.0.2.8" }))).toEqual({
      ...none,
      'limit="ip"': 1,
    });
    const rateLimit = { limit: 1, window: 1000 };
    const stranger = { Authorization: "Bearer wrong" };
    expect(await refusals({ access: { rateLimit } }, (service) => twice(service, stranger))).toEqual({
      ...none,
      'limit="address"': 1,
    });
    const ann = { Authorization: `Basic ${btoa("ann:correct horse")}` };
    expect(await refusals({ access: { rateLimit } }, (service) => twice(service, ann))).toEqual({
      ...none,
      'limit="principal"': 1,
    });
    const wrong = { Authorization: `Basic ${btoa("ann:wrong")}` };
    const guessing = { failures: 1, window: 1000 };
    expect(await refusals({ access: { guessing } }, (service) => twice(service, wrong))).toEqual({
      ...none,
      'limit="guessing"': 1,
    });
  });

  it("tells of the process", async () => {
    await using service = await startService();
    const { sample } = await samplesOf(service);
    expect(sample("process_resident_memory_bytes")).toBeGreaterThan(10_000_000);
    expect(sample("process_cpu_seconds_total")).toBeGreaterThan(0);
    expect(sample("workertown_kv_event_loop_busy_seconds_total")).toBeGreaterThan(0);
    expect(Math.abs((sample("process_start_time_seconds") ?? 0) + process.uptime() - Date.now() / 1000)).toBeLessThan(
      1,
    );
  });
});
