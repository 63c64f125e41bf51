/** Time over real HTTP, on each engine: an entry ends with the millisecond of its expiry, whatever way it is looked at. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Miniflare } from "miniflare";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { StorageAdapter, StorageCapabilities } from "../src/storage/adapter.ts";
import { memoryStorage } from "../src/storage/memory.ts";
import { sqliteStorage } from "../src/storage/sqlite.ts";
import { SWEEP_LIMIT } from "../src/storage/sweeper.ts";
import { type KvNamespaceLike, workersKvStorage } from "../src/storage/workers-kv.ts";
import { startService, type TestService } from "./support.ts";

const DAY = 86_400_000;
/** Ahead of the real clock, by which KV judges its own expiry: it takes none in its past. Not a whole second. */
const START = Math.ceil(Date.now() / DAY) * DAY + 30 * DAY + 123;
const LIFE = 61_234;

let folder: string;
let miniflare: Miniflare;
let namespace: KvNamespaceLike;
let clock: number;
let storage: StorageAdapter;
let service: TestService;
let files = 0;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "kv-time-"));
  miniflare = new Miniflare({
    modules: true,
    script: "export default { fetch: () => new Response() }",
    compatibilityDate: "2026-01-01",
    kvNamespaces: ["KV_DB"],
    cf: false,
  });
  namespace = (await miniflare.getKVNamespace("KV_DB")) as unknown as KvNamespaceLike;
});
afterAll(async () => {
  await miniflare.dispose();
  rmSync(folder, { recursive: true, force: true });
});

/** How what has expired leaves the disk: our engines are swept, KV removes by itself, and not by our clock. */
const swept = async () => void (await storage.sweep?.(clock, SWEEP_LIMIT));
const ENGINES = {
  memory: { open: () => memoryStorage(), remove: swept },
  sqlite: { open: () => sqliteStorage({ path: join(folder, `${files++}.sqlite`) }), remove: swept },
  "workers-kv": {
    open: () => workersKvStorage(namespace),
    async remove() {
      for (const { name, metadata } of (await namespace.list({})).keys) {
        const expiresAt = (metadata as [version: string, expiresAt: number | null])[1];
        if (expiresAt !== null && expiresAt <= clock) await namespace.delete(name);
      }
    },
  },
};

interface Reader {
  name: string;
  /** The capability without which the engine refuses, or says nothing. */
  needs?: keyof StorageCapabilities;
  /** Whether the entry was there; it may be changed by that. */
  sees(key: string, etag: string): Promise<boolean>;
}

const call = (...given: Parameters<TestService["call"]>) => service.call(...given);
const path = (key: string) => `/v1/kv/${key}`;

/** Sends a request and says which of two statuses it answered; anything else is an error. */
async function answers(live: number, gone: number, ...given: Parameters<TestService["call"]>): Promise<boolean> {
  const { status, text } = await call(...given);
  if (status !== live && status !== gone) throw new Error(`Expected ${live} or ${gone}, got ${status} ${text}`);
  return status === live;
}

/** The answer to the one operation of a batch. */
async function operate(operation: object, atomic = false) {
  const { status, json, text } = await call("POST", "/v1/kv", { body: { operations: [operation], atomic } });
  if (status !== 200) throw new Error(text);
  return json.data[0] as { status: number; data: unknown };
}

const keysOf = async (query: string): Promise<unknown[]> => (await call("GET", `/v1/kv?${query}`)).json.data.keys;
const linesOf = async (prefix: string) => (await call("GET", `/admin/export?prefix=${prefix}`)).text.split("\n");
const ANY = { "If-Match": "*" };
const NONE = { "If-None-Match": "*" };

const READERS: readonly Reader[] = [
  { name: "GET", sees: (key) => answers(200, 404, "GET", path(key)) },
  { name: "HEAD", sees: (key) => answers(200, 404, "HEAD", path(key)) },
  { name: "GET If-Match: *", sees: (key) => answers(200, 404, "GET", path(key), { headers: ANY }) },
  {
    name: "GET If-None-Match: etag",
    sees: (key, etag) => answers(304, 404, "GET", path(key), { headers: { "If-None-Match": etag } }),
  },
  { name: "list", sees: async (key) => (await keysOf(`prefix=${key}`)).length === 1 },
  { name: "list with values", sees: async (key) => (await keysOf(`prefix=${key}&include=values`)).length === 1 },
  { name: "export", sees: async (key) => (await linesOf(key)).length === 2 },
  { name: "batch get", sees: async (key) => (await operate({ op: "get", key })).status === 200 },
  {
    name: "atomic batch get",
    needs: "atomic",
    sees: async (key) => (await operate({ op: "get", key }, true)).status === 200,
  },
  {
    name: "PUT If-None-Match: *",
    needs: "conditional",
    sees: (key) => answers(412, 200, "PUT", path(key), { body: { value: 2 }, headers: NONE }),
  },
  {
    name: "PUT If-None-Match: etag",
    needs: "conditional",
    sees: (key, etag) =>
      answers(412, 200, "PUT", path(key), { body: { value: 2 }, headers: { "If-None-Match": etag } }),
  },
  {
    name: "PUT If-Match: *",
    needs: "conditional",
    sees: (key) => answers(200, 412, "PUT", path(key), { body: { value: 2 }, headers: ANY }),
  },
  {
    name: "PUT If-Match: etag",
    needs: "conditional",
    sees: (key, etag) => answers(200, 412, "PUT", path(key), { body: { value: 2 }, headers: { "If-Match": etag } }),
  },
  {
    name: "DELETE If-Match: *",
    needs: "conditional",
    sees: (key) => answers(200, 412, "DELETE", path(key), { headers: ANY }),
  },
  {
    name: "batch put ifNoneMatch: *",
    needs: "conditional",
    sees: async (key) => (await operate({ op: "put", key, value: 2, ifNoneMatch: "*" })).status === 412,
  },
  {
    name: "atomic batch put ifNoneMatch: *",
    needs: "atomic",
    sees: (key) => {
      const operations = [{ op: "put", key, value: 2, ifNoneMatch: "*" }];
      return answers(412, 200, "POST", "/v1/kv", { body: { operations, atomic: true } });
    },
  },
  {
    name: "DELETE",
    needs: "reportsDelete",
    sees: async (key) => (await call("DELETE", path(key))).json.data === true,
  },
  {
    name: "batch delete",
    needs: "reportsDelete",
    sees: async (key) => (await operate({ op: "delete", key })).data === true,
  },
  {
    name: "atomic batch delete",
    needs: "atomic",
    sees: async (key) => (await operate({ op: "delete", key }, true)).data === true,
  },
];

/** The readers that change nothing. */
const LOOKS = READERS.slice(0, 9);

describe.each(Object.entries(ENGINES))("on %s", (engine, { open, remove }) => {
  const capable = ({ needs }: Reader) => needs === undefined || storage.capabilities[needs] !== false;

  beforeEach(async () => {
    for (const { name } of (await namespace.list({})).keys) await namespace.delete(name);
    clock = START;
    storage = open();
    // The service's own sweeper goes by a timer: here the test says when what has expired is removed.
    const { sweep: _, ...unswept } = storage;
    service = await startService({ runtime: { storage: unswept, now: () => clock } });
  });
  afterEach(async () => {
    await service[Symbol.asyncDispose]();
  });

  async function put(key: string, body: object = { ttl: LIFE / 1000 }): Promise<string> {
    const { status, headers, text } = await call("PUT", path(key), { body: { value: 1, ...body } });
    expect([status, text]).toEqual([200, expect.any(String)]);
    return headers.get("ETag") as string;
  }

  /** Which of the looks find the key: all or none, or else their names. */
  async function looks(key: string): Promise<boolean | string[]> {
    const capableOf = LOOKS.filter(capable);
    const seen: string[] = [];
    const etag = (await call("GET", path(key))).headers.get("ETag") ?? '"none"';
    for (const { name, sees } of capableOf) if (await sees(key, etag)) seen.push(name);
    return seen.length === 0 ? false : seen.length === capableOf.length ? true : seen;
  }

  it.each(READERS)("$name: the millisecond before the expiry it is there, at the expiry it is gone", async (reader) => {
    if (!capable(reader)) {
      expect(engine).toBe("workers-kv");
      return;
    }
    const early = await put("early");
    const late = await put("late");
    clock = START + LIFE - 1;
    expect(await reader.sees("early", early)).toBe(true);
    clock = START + LIFE;
    expect(await reader.sees("late", late)).toBe(false);
  });

  it("an import takes a line that lives a millisecond longer, and skips one that has ended", async () => {
    const line = JSON.stringify({ key: "k", value: 1, expiration: (START + LIFE) / 1000 });
    const load = async () =>
      (await call("POST", "/admin/import", { body: line, headers: { "Content-Type": "application/x-ndjson" } })).json
        .data;
    clock = START + LIFE;
    expect(await load()).toMatchObject({ imported: 0, skipped: 1 });
    expect(await looks("k")).toBe(false);
    clock = START + LIFE - 1;
    expect(await load()).toMatchObject({ imported: 1, skipped: 0 });
    expect(await looks("k")).toBe(true);
  });

  it("what is in the future, and what is past, is told by the injected clock", async () => {
    const body = { value: 1, expiration: (START + 1) / 1000 };
    clock = START + 1;
    expect((await call("PUT", path("k"), { body })).json).toMatchObject({ status: 400, error: "invalid_request" });
    clock = START;
    expect((await call("PUT", path("k"), { body })).status).toBe(200);
  });

  it("a clock that jumps back does not revive what was removed, nor lose what lives", async () => {
    await put("short");
    await put("long", { ttl: (2 * LIFE) / 1000 });
    await put("stays", {});
    clock = START + LIFE;
    await remove();
    for (const back of [START + LIFE - 1, START, START - DAY]) {
      clock = back;
      expect(await looks("short")).toBe(false);
      expect([await looks("long"), await looks("stays")]).toEqual([true, true]);
      await remove();
    }
    clock = START + 2 * LIFE - 1;
    expect([await looks("long"), await looks("stays")]).toEqual([true, true]);
    clock = START + 2 * LIFE;
    await remove();
    expect([await looks("long"), await looks("stays")]).toEqual([false, true]);
  });

  // It had ended but had not been removed: whether it has ended is asked of the clock each time, and kept nowhere.
  it("a clock that jumps back before the removal shows the entry again, as it was", async () => {
    const etag = await put("k");
    clock = START + LIFE;
    expect(await looks("k")).toBe(false);
    clock = START + LIFE - 1;
    await remove();
    expect(await looks("k")).toBe(true);
    expect((await call("GET", path("k"))).headers.get("ETag")).toBe(etag);
    clock = START + LIFE;
    await remove();
    clock = START;
    expect(await looks("k")).toBe(false);
  });

  it("an entry written while the clock was in the future lives until then, and can be replaced", async () => {
    clock = START + 365 * DAY;
    await put("kept");
    await put("replaced");
    clock = START;
    await remove();
    expect([await looks("kept"), await looks("replaced")]).toEqual([true, true]);
    await put("replaced");
    clock = START + LIFE;
    expect([await looks("kept"), await looks("replaced")]).toEqual([true, false]);
    await remove();
    clock = START + 365 * DAY + LIFE - 1;
    expect([await looks("kept"), await looks("replaced")]).toEqual([true, false]);
    clock = START + 365 * DAY + LIFE;
    expect(await looks("kept")).toBe(false);
  });

  it("a write over an expired entry stays when that would have been removed", async () => {
    await put("k");
    clock = START + LIFE;
    await put("k", {});
    await remove();
    expect(await looks("k")).toBe(true);
    clock = START + 365 * DAY;
    await remove();
    expect(await looks("k")).toBe(true);
  });
});

it("the sweeper goes by the injected clock", async () => {
  const sweep = vi.fn(() => 0);
  const runtime = { storage: { ...memoryStorage(), sweep }, now: () => START };
  await using started = await startService({ runtime });
  await started.call("GET", "/ready");
  await vi.waitFor(() => expect(sweep).toHaveBeenCalledWith(START, SWEEP_LIMIT));
});
