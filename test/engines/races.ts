/** Two instances of the service over one engine, each with a connection of its own. */
import { expect, it } from "vitest";
import { type KvApp, kv } from "../../src/index.ts";
import type { StorageAdapter } from "../../src/storage/adapter.ts";
import { KEY } from "../support.ts";

const URL_OF_KEYS = "http://service/v1/kv";

export type Call = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
) => Promise<Answered>;

// biome-ignore lint/suspicious/noExplicitAny: a test looks into answers of any shape
type Answered = { status: number; etag: string | null; json: any };

/** A service in this process, called without a socket. */
export function callerOf(app: KvApp): Call {
  return async (method, path, body, headers = {}) => {
    const response = await app.request(URL_OF_KEYS + path, {
      method,
      headers: { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json", ...headers },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, etag: response.headers.get("ETag"), json: text === "" ? null : JSON.parse(text) };
  };
}

const INCREMENTS = 1000;

/** `open` gives a new storage over the same data each time, one that nobody else uses. */
export function raceTests(open: () => { first: StorageAdapter; second: StorageAdapter }): void {
  async function withTwo(run: (calls: [Call, Call], clock: { now: number }) => Promise<void>): Promise<void> {
    const { first, second } = open();
    const clock = { now: Date.now() };
    const apps = [first, second].map((storage) =>
      kv({ auth: { apiKey: { apiKey: KEY } }, logger: false, runtime: { storage, now: () => clock.now } }),
    ) as [KvApp, KvApp];
    try {
      await run([callerOf(apps[0]), callerOf(apps[1])], clock);
    } finally {
      await Promise.all(apps.map((app) => app.close()));
    }
  }

  it("1,000 conditional increments from each of two instances on one key end at 2,000", {
    timeout: 60_000,
  }, async () => {
    await withTwo(async (calls) => {
      await calls[0]("PUT", "/counter", { value: 0 });
      const increment = async (call: Call) => {
        for (let done = 0; done < INCREMENTS; ) {
          const { json, etag } = await call("GET", "/counter");
          const { status } = await call("PUT", "/counter", { value: json.data + 1 }, { "If-Match": etag ?? "" });
          expect([200, 412]).toContain(status);
          if (status === 200) done++;
        }
      };
      await Promise.all(calls.map(increment));
      expect((await calls[1]("GET", "/counter")).json.data).toBe(2 * INCREMENTS);
    });
  });

  it("of creates at once on both there is one winner a key", async () => {
    await withTwo(async (calls) => {
      for (let round = 0; round < 25; round++) {
        const creates = Array.from({ length: 8 }, (_, index) =>
          (calls[index % 2] as Call)("PUT", `/create-${round}`, { value: index }, { "If-None-Match": "*" }),
        );
        const statuses = (await Promise.all(creates)).map(({ status }) => status);
        expect(statuses.filter((status) => status === 200)).toHaveLength(1);
        expect(statuses.filter((status) => status === 412)).toHaveLength(7);
        const { json } = await (calls[1 - (round % 2)] as Call)("GET", `/create-${round}`);
        expect(json.data).toBe(statuses.indexOf(200));
      }
    });
  });

  it("an expired key is created anew by one winner", async () => {
    await withTwo(async (calls, clock) => {
      for (let round = 0; round < 10; round++) {
        await calls[0]("PUT", "/again", { value: "old", ttl: 1 });
        clock.now += 1000;
        const creates = Array.from({ length: 6 }, (_, index) =>
          (calls[index % 2] as Call)("PUT", "/again", { value: index }, { "If-None-Match": "*" }),
        );
        const statuses = (await Promise.all(creates)).map(({ status }) => status);
        expect(statuses.filter((status) => status === 200)).toHaveLength(1);
        await calls[1]("DELETE", "/again");
      }
    });
  });

  it("both see an entry expire at the same millisecond of the service's clock", async () => {
    await withTwo(async (calls, clock) => {
      await calls[0]("PUT", "/short", { value: 1, ttl: 10 });
      const seen = () => Promise.all(calls.map(async (call) => (await call("GET", "/short")).status));
      clock.now += 9999;
      expect(await seen()).toEqual([200, 200]);
      clock.now += 1;
      expect(await seen()).toEqual([404, 404]);
      expect((await calls[1]("GET", "?prefix=short")).json.data.keys).toEqual([]);
    });
  });

  it("reads of many keys, lists and their cursors go on at the other instance", async () => {
    await withTwo(async (calls) => {
      const names = Array.from({ length: 25 }, (_, index) => `page/${String(index).padStart(2, "0")}`);
      const operations = names.map((key) => ({ op: "put", key, value: key }));
      expect((await calls[0]("POST", "", { operations })).status).toBe(200);
      const gets = names.map((key) => ({ op: "get", key }));
      const many = await calls[1]("POST", "", { operations: gets });
      expect(many.json.data.map(({ data }: { data: string }) => data)).toEqual(names);
      const listed: string[] = [];
      let cursor = "";
      for (let page = 0; page < 10; page++) {
        const { json } = await (calls[page % 2] as Call)("GET", `?prefix=page/&limit=4${cursor}`);
        listed.push(...json.data.keys.map(({ name }: { name: string }) => name));
        if (json.data.list_complete) break;
        cursor = `&cursor=${encodeURIComponent(json.data.cursor)}`;
      }
      expect(listed).toEqual(names);
    });
  });

  it("atomic batches that cross each other move sums without making or losing any", async () => {
    const probe = open();
    const { atomic } = probe.first.capabilities;
    await Promise.all([probe.first.close?.(), probe.second.close?.()]);
    if (atomic === false) return;
    await withTwo(async (calls) => {
      const accounts = ["a", "b", "c", "d"];
      for (const key of accounts) await calls[0]("PUT", `/${key}`, { value: 100 });
      const transfer = async (call: Call, seed: number) => {
        for (let turn = 0; turn < 40; turn++) {
          const from = accounts[(seed + turn) % 4] as string;
          const to = accounts[(seed + turn * 3 + 1) % 4] as string;
          if (from === to) continue;
          const [source, target] = await Promise.all([call("GET", `/${from}`), call("GET", `/${to}`)]);
          const operations = [
            { op: "put", key: from, value: source.json.data - 1, ifMatch: source.etag },
            { op: "put", key: to, value: target.json.data + 1, ifMatch: target.etag },
          ];
          const { status } = await call("POST", "", { operations, atomic: true });
          expect([200, 412]).toContain(status);
        }
      };
      await Promise.all(calls.flatMap((call, index) => [transfer(call, index), transfer(call, index + 2)]));
      const left = await Promise.all(accounts.map(async (key) => (await calls[0]("GET", `/${key}`)).json.data));
      expect(left.reduce((sum, amount) => sum + amount, 0)).toBe(400);
    });
  });
}
