import { join } from "node:path";
import { createClient } from "@libsql/client";
import { createClient as createWebClient } from "@libsql/client/web";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StorageAdapter, WriteOperation } from "../../src/storage/adapter.ts";
import { libsqlStorage } from "../../src/storage/libsql.ts";
import { testEngine } from "./engine.ts";
import { type LibsqlServer, missing, startLibsql } from "./libsql-server.ts";
import { sharedTests } from "./libsql-shared.ts";
import { create, NOW, put, textOf } from "./libsql-shared-entries.ts";

testEngine({ name: "libsql, a server", missing, start: startLibsql });

describe("libsql, a server", () => {
  let engine: LibsqlServer;
  beforeAll(async () => {
    engine = await startLibsql();
  });
  afterAll(() => engine[Symbol.asyncDispose]());

  sharedTests(() => engine);

  const write = async (adapter: StorageAdapter, ...operations: WriteOperation[]) =>
    adapter.write(operations, { now: NOW, atomic: false });

  it("single operations are one request each, and many of them a handful", async () => {
    const storage = engine.open("requests");
    await storage.get("k");
    const requests = async (call: () => unknown) => {
      const before = await engine.requests();
      await call();
      return (await engine.requests()) - before;
    };
    const thousand = Array.from({ length: 1000 }, (_, index) => put(`k${index}`, `"${"x".repeat(1000)}"`));
    const removes = thousand.map(({ key }) => ({ kind: "delete" as const, key }));
    const counted = {
      get: await requests(() => storage.get("k")),
      put: await requests(() => write(storage, put("k", "1", { version: "one" }))),
      create: await requests(() => write(storage, create("k", "2"))),
      replace: await requests(() => write(storage, { ...put("k", "3"), condition: { ifMatch: ["one"] } })),
      delete: await requests(() => write(storage, { kind: "delete", key: "k" })),
      "1,000 puts": await requests(() => write(storage, ...thousand)),
      "1,000 gets": await requests(() =>
        storage.getMany?.(
          thousand.map(({ key }) => key),
          1e9,
        ),
      ),
      list: await requests(() => storage.list({ prefix: "", cursor: null, limit: 1000, valueBytes: 1e7, now: NOW })),
      "1,000 creates": await requests(() =>
        storage.write(
          thousand.map((one) => ({ ...one, condition: { ifMatch: "*" as const } })),
          { now: NOW, atomic: true },
        ),
      ),
      "1,000 deletes": await requests(() => write(storage, ...removes)),
      sweep: await requests(() => storage.sweep?.(NOW, 100)),
    };
    expect(counted).toEqual({
      ...{ get: 1, put: 1, create: 1, replace: 1, delete: 1, list: 1, sweep: 1 },
      ...{ "1,000 puts": 1, "1,000 gets": 1, "1,000 creates": 2, "1,000 deletes": 1 },
    });
    await storage.close?.();
  });

  it("works with a client of the caller's, of the Node build and of the one for Workers", async () => {
    for (const make of [createClient, createWebClient]) {
      const client = make({ url: engine.url, authToken: engine.secret });
      const storage = libsqlStorage({ client, namespace: `client ${make === createClient}` });
      expect(storage.capabilities).toMatchObject({ snapshot: false, maxValue: 4_900_000 });
      expect(await write(storage, put("k", "1"), create("k", "2"))).toEqual(["written", "refused"]);
      await storage.close?.();
      expect(client.closed).toBe(false);
      client.close();
    }
  });

  it("works inside a Worker by its URL", async () => {
    const bundle = await build({
      entryPoints: [join(import.meta.dirname, "libsql-worker.ts")],
      bundle: true,
      format: "esm",
      conditions: ["workerd", "worker", "browser"],
      write: false,
    });
    const miniflare = new Miniflare({
      modules: true,
      script: bundle.outputFiles[0]?.text ?? "",
      compatibilityDate: "2026-01-01",
      bindings: { url: engine.url, authToken: engine.secret },
      cf: false,
    });
    try {
      const response = await miniflare.dispatchFetch("http://worker/");
      expect(await response.json()).toEqual([["written"], ["refused", "written"], ["1.0", "2", null]]);
    } finally {
      await miniflare.dispose();
    }
  });

  it("the largest entry of all fits, and a larger one is refused before or by the server", async () => {
    const storage = engine.open("largest");
    const { maxKey, maxValue, maxMetadata } = storage.capabilities;
    const largest = put("k".repeat(maxKey), `"${"x".repeat(maxValue - 2)}"`, {
      metadata: `"${"m".repeat(maxMetadata - 2)}"`,
    });
    expect(await write(storage, largest, put("l", "1"))).toEqual(["written", "written"]);
    expect((await storage.get(largest.key))?.value.length).toBe(maxValue);
    const page = await storage.list({ prefix: "", cursor: null, limit: 10, valueBytes: 1e9, now: NOW });
    expect(page.entries.map(({ value }) => value?.length)).toEqual([maxValue]);
    const raised = libsqlStorage({ url: engine.url, authToken: engine.secret, maxValue: 26_214_400 });
    expect(raised.capabilities.maxValue).toBe(26_214_400);
    await expect(write(raised, put("k", `"${"x".repeat(6_000_000)}"`))).rejects.toMatchObject({ code: "too_large" });
    await Promise.all([storage.close?.(), raised.close?.()]);
  });

  it("many values are read in answers that the server gives", async () => {
    const storage = engine.open("answers");
    const operations = Array.from({ length: 12 }, (_, index) => put(`k${index}`, `"${"x".repeat(1_500_000)}"`));
    await write(storage, ...operations);
    const keys = operations.map(({ key }) => key);
    expect((await storage.getMany?.(keys, 1e9))?.every((entry) => entry?.value?.length === 1_500_002)).toBe(true);
    const gets = keys.map((key) => ({ kind: "get" as const, key }));
    const outcomes = await storage.write(gets, { now: NOW, atomic: true, valueBytes: 1e9 });
    expect(outcomes.every((one) => typeof one === "object" && one.found?.value?.length === 1_500_002)).toBe(true);
    await storage.close?.();
  });

  it("a token that is refused, and a server that is away, are unavailable and told without the token", async () => {
    const wrong = libsqlStorage({ url: engine.url, authToken: "geheim" });
    const away = libsqlStorage({ url: "http://127.0.0.1:1?authToken=geheim" });
    const unknown = libsqlStorage({ url: "libsql://host.invalid", authToken: "geheim" });
    for (const storage of [wrong, away, unknown]) {
      for (const call of [() => storage.get("k"), () => write(storage, put("k", "1"))]) {
        const error = (await Promise.resolve(call()).catch((reason) => reason)) as Error;
        expect(error).toMatchObject({ code: "unavailable", message: "The database cannot be used at the moment" });
        for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
          expect(`${cause.message} ${cause.stack} ${JSON.stringify(cause)}`).not.toContain("geheim");
        }
      }
    }
    await Promise.all([wrong, away, unknown].map((storage) => storage.close?.()));
  });

  it("a write that was refused, or never sent, does not say that its outcome is unknown", async () => {
    const storage = engine.open("refused");
    await storage.get("k");
    const undone = { code: "unavailable", message: "The database cannot be used at the moment" };
    for (const operations of [[put("k", "1")], [put("k", "1"), put("l", "1")]]) {
      await engine.refuse(true);
      await expect(write(storage, ...operations)).rejects.toMatchObject(undone);
      await engine.refuse(false);
      await engine.kill();
      await expect(write(storage, ...operations)).rejects.toMatchObject({ code: "unavailable" });
      await expect(write(storage, ...operations)).rejects.toMatchObject(undone);
      await engine.start();
      expect(await storage.get("k")).toBeNull();
    }
    await storage.close?.();
  });

  it("a write whose answer never came says that its outcome is unknown", async () => {
    const storage = engine.open("unknown");
    await storage.get("k");
    engine.pause();
    const [read, written] = [Promise.resolve(storage.get("k")), write(storage, put("k", "1"))];
    const settled = Promise.allSettled([read, written]);
    await new Promise((resolve) => setTimeout(resolve, 200));
    await engine.kill();
    const [readError, writeError] = (await settled).map((outcome) => (outcome as PromiseRejectedResult).reason);
    expect(readError).toMatchObject({ code: "unavailable", message: "The database cannot be used at the moment" });
    expect(writeError).toMatchObject({
      code: "unavailable",
      message: "The database cannot be used at the moment; the outcome of the write is unknown",
    });
    await engine.start();
    expect(textOf(await storage.get("k"))).toBeNull();
    expect(await write(storage, put("k", "2"))).toEqual(["written"]);
    await storage.close?.();
  });
});
