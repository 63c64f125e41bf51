import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { memoryStorage } from "../../src/storage/memory.ts";
import { sqliteStorage } from "../../src/storage/sqlite.ts";
import { KEY, startService, type TestService } from "../support.ts";

const clock = { now: 1_700_000_000_000 };
let folder: string;
let service: TestService;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "kv-transfer-"));
  clock.now = 1_700_000_000_000;
  service = await startFile("kv.sqlite");
});
afterEach(async () => {
  await service[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const startFile = (name: string) =>
  startService({ runtime: { storage: sqliteStorage({ path: join(folder, name) }), now: () => clock.now } });
const ndjson = { "Content-Type": "application/x-ndjson" };
const importInto = (into: TestService, body: string) => into.call("POST", "/admin/import", { body, headers: ndjson });
const exportOf = async (from: TestService, query = "") => (await from.call("GET", `/admin/export${query}`)).text;

describe("export", () => {
  it("is one entry a line in the order of the list, text-exact, with metadata and expiration", async () => {
    await importInto(
      service,
      [
        '{"key":"b","value":{ "n" : 9007199254740993, "x":1.0,"x":1E400 },"metadata":[ 1.0 ],"expiration":1700000001.5}',
        '{"key":"a\\u0000/é","value":null}',
      ].join("\n"),
    );
    const answer = await service.call("GET", "/admin/export");
    expect(answer.headers.get("Content-Type")).toBe("application/x-ndjson");
    expect(answer.text).toBe(
      '{"key":"a\\u0000/é","value":null}\n' +
        '{"key":"b","value":{ "n" : 9007199254740993, "x":1.0,"x":1E400 },"metadata":[ 1.0 ],"expiration":1700000001.5}\n',
    );
  });

  it("makes one space of each line break between tokens, and leaves those in strings escaped as they are", async () => {
    await service.call("PUT", "/v1/kv/a", { body: '{"value":[1,\n2,\r\n3,\r"\\n"],"metadata":{\n}}' });
    expect(await exportOf(service)).toBe('{"key":"a","value":[1, 2, 3, "\\n"],"metadata":{ }}\n');
  });

  it("holds what a prefix has, and nothing that has expired", async () => {
    await importInto(
      service,
      ["a/1", "a/2", "b/1"].map((key) => JSON.stringify({ key, value: key, expiration: 1_700_000_060 })).join("\n"),
    );
    await importInto(service, '{"key":"a/3","value":3}');
    expect((await exportOf(service, "?prefix=a/")).match(/"key":"[^"]*"/g)).toEqual([
      '"key":"a/1"',
      '"key":"a/2"',
      '"key":"a/3"',
    ]);
    clock.now = 1_700_000_060_000;
    expect(await exportOf(service)).toBe('{"key":"a/3","value":3}\n');
    expect(await exportOf(service, "?prefix=none")).toBe("");
    for (const query of ["prefix=a&prefix=b", `prefix=${"a".repeat(513)}`, "prefix=%ff"]) {
      const refused = await service.call("GET", `/admin/export?${query}`);
      expect(refused).toMatchObject({ status: 400, json: { error: "invalid_request" } });
    }
  });

  it("is of one moment where the engine has snapshots, and says so", async () => {
    const value = "x".repeat(1_000_000);
    for (let index = 10; index < 50; index++) await service.call("PUT", `/v1/kv/k${index}`, { body: { value } });
    const answer = await fetch(`${service.url}/admin/export`, { headers: { Authorization: `Bearer ${KEY}` } });
    expect(answer.headers.get("Export-Consistency")).toBe("snapshot");
    const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
    const decoder = new TextDecoder();
    let text = decoder.decode((await reader.read()).value, { stream: true });
    await service.call("DELETE", "/v1/kv/k49");
    await service.call("PUT", "/v1/kv/k48", { body: { value: "new" } });
    await service.call("PUT", "/v1/kv/k99", { body: { value: "new" } });
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      text += decoder.decode(read.value, { stream: true });
    }
    const lines = text.trim().split("\n");
    expect(lines).toHaveLength(40);
    expect(JSON.parse(lines[38] as string)).toEqual({ key: "k48", value });
    await using memory = await startService();
    expect((await memory.call("GET", "/admin/export")).headers.get("Export-Consistency")).toBe("none");
  });

  it("lets shutdown wait for it, and HEAD starts none", async () => {
    const value = "x".repeat(1_000_000);
    for (let index = 10; index < 40; index++) await service.call("PUT", `/v1/kv/k${index}`, { body: { value } });
    const answer = await fetch(`${service.url}/admin/export`, { headers: { Authorization: `Bearer ${KEY}` } });
    const closed = service.app.close();
    expect((await answer.text()).trim().split("\n")).toHaveLength(30);
    await closed;
    service = await startFile("other.sqlite");
    const head = await service.call("HEAD", "/admin/export");
    expect([head.status, head.text]).toEqual([200, ""]);
    await service.app.close();
  });
});

describe("import", () => {
  it("stores each line, skips what has expired, and says which lines are wrong and why", async () => {
    const lines = [
      '{"key":"a","value":1}',
      '{"key":"old","value":1,"expiration":1700000000}',
      "not json",
      '{"key":"","value":1}',
      "",
      '{"key":"b","value":[1.0],"metadata":null,"expiration":null}\r',
      '{"key":"c"}',
      '{"key":"c","value":1,"ttl":60}',
      `{"key":"${"x".repeat(513)}","value":1}`,
      `{"key":"deep","value":${"[".repeat(513)}${"]".repeat(513)}}`,
      `{"key":"m","value":1,"metadata":"${"x".repeat(1023)}"}`,
      '{"key":"a","value":2}',
      "\u0000",
    ];
    const { status, json } = await importInto(service, lines.join("\n"));
    expect(status).toBe(200);
    expect(json.data).toMatchObject({ imported: 3, skipped: 1, failed_total: 8 });
    expect(json.data.failed.map(({ line, error }: { line: number; error: string }) => [line, error])).toEqual([
      [3, "invalid_request"],
      [4, "invalid_key"],
      [7, "invalid_request"],
      [8, "invalid_request"],
      [9, "too_large"],
      [10, "invalid_value"],
      [11, "too_large"],
      [13, "invalid_request"],
    ]);
    expect(json.data.failed[0].detail).toContain("Malformed JSON at byte 1");
    expect(await exportOf(service)).toBe('{"key":"a","value":2}\n{"key":"b","value":[1.0]}\n');
  });

  it("lists the first 1,000 wrong lines and counts all", async () => {
    const { json } = await importInto(service, `${"x\n".repeat(1500)}{"key":"a","value":1}`);
    expect(json.data).toMatchObject({ imported: 1, failed_total: 1500 });
    expect(json.data.failed).toHaveLength(1000);
  });

  it("twice changes nothing that a read shows but the ETag", async () => {
    const lines = Array.from({ length: 2500 }, (_, index) =>
      JSON.stringify({ key: `k${String(index).padStart(4, "0")}`, value: { index }, metadata: index, expiration: 2e9 }),
    );
    const text = `${lines.join("\n")}\n`;
    expect((await importInto(service, text)).json.data).toMatchObject({ imported: 2500, skipped: 0, failed: [] });
    const etag = (await service.call("GET", "/v1/kv/k0000")).headers.get("ETag");
    expect(await exportOf(service)).toBe(text);
    expect((await importInto(service, text)).json.data.imported).toBe(2500);
    expect(await exportOf(service)).toBe(text);
    expect((await service.call("GET", "/v1/kv/k0000")).headers.get("ETag")).not.toBe(etag);
  });

  it("takes a value of 25 MiB, and refuses a longer one without losing its neighbours", async () => {
    const large = `"${"x".repeat(26_214_400 - 2)}"`;
    const text = `{"key":"a","value":${large}}\n{"key":"b","value":"x${large.slice(1)}}\n{"key":"c","value":${large}`;
    const { json } = await importInto(service, `${text}\n{"key":"d","value":1}`);
    expect(json.data).toMatchObject({ imported: 2, failed_total: 2 });
    expect(json.data.failed.map(({ error }: { error: string }) => error)).toEqual(["too_large", "invalid_request"]);
    expect(await exportOf(service)).toBe(`{"key":"a","value":${large}}\n{"key":"d","value":1}\n`);
  });

  it("of a connection that breaks leaves whole entries only", async () => {
    const { hostname, port } = new URL(service.url);
    const socket = connect(Number(port), hostname);
    const lines = Array.from({ length: 1500 }, (_, index) => `{"key":"k${index}","value":${index}}\n`).join("");
    const head = `POST /admin/import HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${KEY}\r\nContent-Type: application/x-ndjson\r\n`;
    socket.write(`${head}Content-Length: 10000000\r\n\r\n${lines}{"key":"cut","value":12`);
    await expect.poll(async () => (await service.call("GET", "/v1/kv/k0")).status).toBe(200);
    socket.destroy();
    await new Promise((resolve) => socket.once("close", resolve));
    const left = (await exportOf(service)).trim().split("\n");
    expect(left.length).toBeGreaterThan(0);
    for (const line of left) expect(line).toMatch(/^\{"key":"k(\d+)","value":\1\}$/);
  });

  it("wants NDJSON and the scope admin", async () => {
    const refused = await service.call("POST", "/admin/import", { body: '{"key":"a","value":1}' });
    expect(refused).toMatchObject({ status: 415, json: { error: "unsupported_media_type" } });
    expect(refused.json.detail).toContain("application/x-ndjson");
    for (const [method, path] of [
      ["GET", "/admin/export"],
      ["POST", "/admin/import"],
    ] as const) {
      expect((await service.call(method, path, { headers: { Authorization: "" } })).status).toBe(401);
    }
  });

  it("stops where the storage fails, and says so", async () => {
    const { KvError } = await import("../../src/index.ts");
    const memory = memoryStorage();
    const write = () => Promise.reject(new KvError("storage_full", "The disk is full"));
    await using full = await startService({ runtime: { storage: { ...memory, write } } });
    expect(await importInto(full, '{"key":"a","value":1}')).toMatchObject({
      status: 507,
      json: { error: "storage_full" },
    });
  });
});

it("an export moves whole into another engine and back", async () => {
  const entries = Array.from({ length: 1200 }, (_, index) => ({
    key: `${index % 7}/${index}`,
    value: index % 3 === 0 ? null : { text: "漢字 😀", index },
    ...(index % 2 === 0 && { metadata: { index } }),
    ...(index % 5 === 0 && { expiration: 1_800_000_000.25 }),
  }));
  await importInto(service, entries.map((entry) => JSON.stringify(entry)).join("\n"));
  const first = await exportOf(service);
  await using memory = await startService({ runtime: { storage: memoryStorage(), now: () => clock.now } });
  expect((await importInto(memory, first)).json.data.imported).toBe(1200);
  const second = await exportOf(memory);
  expect(second).toBe(first);
  await using back = await startFile("back.sqlite");
  await importInto(back, second);
  expect(await exportOf(back)).toBe(first);
});
