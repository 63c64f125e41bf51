/** Large values over HTTP on SQLite, where they are kept in pieces and are on their way to the file while they arrive. */
import { mkdtempSync, rmSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { inParts } from "../src/core/entry.ts";
import { entryBody } from "../src/node-answer.ts";
import { sqliteStorage } from "../src/storage/sqlite.ts";
import { startCommand } from "./command.ts";
import { random } from "./engines/history.ts";
import { KEY, startService, type TestService } from "./support.ts";

const MIB = 1_048_576;
let folder: string;
let service: TestService;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "kv-large-"));
  service = await startService({ runtime: { storage: sqliteStorage({ path: join(folder, "kv.sqlite") }) } });
  // From here on the thread runs that takes values as they arrive.
  await service.call("PUT", "/v1/kv/small", { body: { value: 1 } });
});
afterEach(async () => {
  await service[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** How many rows there are of values in pieces, how many of them wait to be written, and how many pieces. */
function rows(): unknown {
  const database = new DatabaseSync(join(folder, "kv.sqlite"), { readOnly: true });
  const row = database
    .prepare(
      `SELECT (SELECT count(*) FROM workertown_kv_large) AS large,
        (SELECT count(*) FROM workertown_kv_large WHERE staged_at IS NOT NULL) AS staged,
        (SELECT count(*) FROM workertown_kv_piece WHERE id / 65536 NOT IN (SELECT id FROM workertown_kv_large)) AS astray`,
    )
    .get();
  database.close();
  return { ...row };
}
const NOTHING = { large: 0, staged: 0, astray: 0 };

/** Sends a body in chunks, each in a packet of its own as far as that can be had. */
function put(body: Buffer, chunkBytes: (at: number) => number, path = "/v1/kv/large"): Promise<[number, Buffer]> {
  return new Promise((resolve, reject) => {
    const headers = {
      ...{ Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" },
      "Content-Length": body.length,
    };
    const sent = httpRequest(service.url + path, { method: "PUT", headers }, async (answer) => {
      const chunks: Buffer[] = [];
      for await (const chunk of answer) chunks.push(chunk);
      resolve([answer.statusCode ?? 0, Buffer.concat(chunks)]);
    });
    sent.on("error", reject);
    sent.flushHeaders();
    const send = (at: number): void => {
      if (at >= body.length) return void sent.end();
      const end = at + chunkBytes(at);
      sent.write(body.subarray(at, end), () => setImmediate(send, end));
    };
    send(0);
  });
}

async function get(path = "/v1/kv/large"): Promise<Buffer> {
  const answer = await fetch(service.url + path, { headers: { Authorization: `Bearer ${KEY}` } });
  expect(answer.status).toBe(200);
  return Buffer.from(await answer.arrayBuffer());
}

const answerOf = (value: string, more = "") => Buffer.from(`{"status":200,"success":true,"data":${value}${more}}`);
/** A string of so many bytes whose characters take one to four. */
const textOf = (bytes: number, start = 0) => {
  const text = "aé漢🦊".repeat(Math.ceil(bytes / 10) + 1).slice(start);
  const cut = Buffer.from(text)
    .subarray(0, bytes - 2)
    .toString()
    .replace(/\ufffd+$/, "");
  return `"${cut}${"x".repeat(bytes - 2 - Buffer.byteLength(cut))}"`;
};

const METADATA = `"${"m".repeat(1000)}"`;

describe("a large value", () => {
  const whole = 65_536;
  const at = random(7);
  it.each([
    ["just over where it begins to be large", MIB, () => whole],
    ["of pieces that are full", 18 * whole, () => whole],
    ["of 25 MiB", 25 * MIB, () => whole * 8],
    ["in chunks of odd sizes", 2 * MIB + 7, () => 1 + Math.floor(at() * 150_000)],
    ["in tiny chunks", MIB + 13, () => 1460],
    ["in chunks just short of being kept as they are", 3 * MIB + 1, () => 32_767],
  ])("%s comes back as it was sent", async (_, bytes, chunkBytes) => {
    const value = textOf(bytes);
    expect(Buffer.byteLength(value)).toBe(bytes);
    const [status, answer] = await put(Buffer.from(`{"value":${value}}`), chunkBytes);
    expect(status).toBe(200);
    expect(answer.equals(answerOf(value))).toBe(true);
    for (let turn = 0; turn < 3; turn++) expect((await get()).equals(answerOf(value))).toBe(true);
    expect(rows()).toEqual({ large: 1, staged: 0, astray: 0 });
    const database = new DatabaseSync(join(folder, "kv.sqlite"), { readOnly: true });
    expect(database.prepare("SELECT value FROM workertown_kv WHERE name = x'6c61726765'").get()?.value).toBe(value);
    database.close();
  });

  it.each([
    ["before it", `{"metadata":${METADATA},"value":`, "}"],
    ["behind it", '{"value":', `,"metadata":${METADATA}}`],
    ["far before it", `{"metadata":${METADATA}${" ".repeat(65_000)},"value":`, " }"],
    ["far behind it", '{ "value":', `${" ".repeat(65_000)},"metadata":${METADATA}}`],
  ])("keeps the metadata that is sent %s", async (_, before, behind) => {
    // Of pieces of 64 KiB the last is short, and there is each number of them that are not staged yet.
    for (let pieces = 17; pieces <= 36; pieces++) {
      const value = textOf(pieces * 65_536 + 100 - before.length - behind.length);
      const [status, answer] = await put(Buffer.from(before + value + behind), () => 16_384);
      expect(status).toBe(200);
      expect(answer.equals(answerOf(value, `,"metadata":${METADATA}`))).toBe(true);
      expect((await get()).equals(answer)).toBe(true);
    }
    expect(rows()).toEqual({ large: 1, staged: 0, astray: 0 });
  });

  it("may have metadata that takes several pieces, where that is allowed", async () => {
    await service[Symbol.asyncDispose]();
    const storage = sqliteStorage({ path: join(folder, "kv.sqlite") });
    service = await startService({ limits: { metadata: 300_000 }, runtime: { storage } });
    await service.call("PUT", "/v1/kv/small", { body: { value: 1 } });
    const metadata = `"${"m".repeat(299_000)}"`;
    for (let pieces = 18; pieces <= 34; pieces++) {
      const value = textOf(pieces * 65_536 - 250_000);
      const [status, answer] = await put(Buffer.from(`{"value":${value},"metadata":${metadata}}`), () => 16_384);
      expect(status).toBe(200);
      expect(answer.equals(answerOf(value, `,"metadata":${metadata}`))).toBe(true);
      expect((await get()).equals(answer)).toBe(true);
    }
  });

  it("leaves nothing behind where it is malformed, too long, refused or breaks off", async () => {
    const value = textOf(3 * MIB);
    expect((await put(Buffer.from(`{"value":${value.slice(0, -1)}\n"}`), () => 65_536))[0]).toBe(400);
    expect((await put(Buffer.from(`{"value":${textOf(25 * MIB + 1)}}`), () => MIB))[0]).toBe(413);
    expect((await put(Buffer.from(`{"value":${value},"ttl":-1}`), () => MIB))[0]).toBe(400);
    const { status } = await service.call("PUT", "/v1/kv/large", {
      body: `{"value":${value}}`,
      headers: { "If-Match": '"other"' },
    });
    expect(status).toBe(412);
    const socket = await upload(value, 2 * MIB);
    await expect.poll(rows).toEqual({ large: 1, staged: 1, astray: 0 });
    socket.destroy();
    await expect.poll(rows).toEqual(NOTHING);
    expect((await service.call("GET", "/v1/kv/large")).status).toBe(404);
  });

  it("frees its pieces when it is overwritten, deleted or has expired", async () => {
    const body = (more = "") => Buffer.from(`{"value":${textOf(2 * MIB)}${more}}`);
    await put(body(), () => MIB);
    await put(body(), () => MIB);
    expect(rows()).toEqual({ large: 1, staged: 0, astray: 0 });
    await service.call("PUT", "/v1/kv/large", { body: { value: 1 } });
    expect(rows()).toEqual(NOTHING);
    await put(body(), () => MIB);
    await service.call("DELETE", "/v1/kv/large");
    expect(rows()).toEqual(NOTHING);
    await put(body(',"ttl":0.001'), () => MIB);
    await expect.poll(rows, { timeout: 40_000, interval: 500 }).toEqual(NOTHING);
  }, 60_000);

  it("is read whole by one who reads slowly while it is replaced and deleted", async () => {
    const [first, second] = [textOf(20 * MIB), textOf(20 * MIB, 1)];
    await put(Buffer.from(`{"value":${first}}`), () => MIB);
    for (let turn = 0; turn < 3; turn++) {
      const reader = await slowReader();
      await put(Buffer.from(`{"value":${second}}`), () => MIB);
      if (turn === 2) await service.call("DELETE", "/v1/kv/large");
      const body = await reader.rest();
      expect(body.equals(answerOf(first))).toBe(true);
      await put(Buffer.from(`{"value":${first}}`), () => MIB);
      await get();
      await get();
    }
  }, 60_000);
});

/** Begins a put and sends that much of it. */
async function upload(value: string, bytes: number, url = service.url): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {});
  const body = Buffer.from(`{"value":${value}}`);
  const head = [
    "PUT /v1/kv/large HTTP/1.1",
    "Host: x",
    `Authorization: Bearer ${KEY}`,
    "Content-Type: application/json",
  ];
  socket.write(`${head.join("\r\n")}\r\nContent-Length: ${body.length}\r\n\r\n`);
  await new Promise((resolve) => socket.write(body.subarray(0, bytes), resolve));
  return socket;
}

/** Asks for the value and stops reading soon; `rest` reads on to the end. */
async function slowReader(): Promise<{ rest(): Promise<Buffer> }> {
  const { hostname, port } = new URL(service.url);
  const socket = connect(Number(port), hostname);
  const chunks: Buffer[] = [];
  socket.write(`GET /v1/kv/large HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${KEY}\r\nConnection: close\r\n\r\n`);
  await new Promise<void>((resolve) => socket.once("data", (chunk) => resolve(void chunks.push(chunk))));
  socket.pause();
  return {
    rest: () =>
      new Promise((resolve) => {
        socket
          .on("data", (chunk) => chunks.push(chunk))
          .on("close", () => {
            const all = Buffer.concat(chunks);
            resolve(all.subarray(all.indexOf("\r\n\r\n") + 4));
          });
        socket.resume();
      }),
  };
}

describe("a crash while a large value arrives", () => {
  it("leaves the old value, and what had come is swept after an hour", async () => {
    await service[Symbol.asyncDispose]();
    const [old, next] = [textOf(2 * MIB), textOf(4 * MIB)];
    const storage = sqliteStorage({ path: join(folder, "kv.sqlite") });
    const entry = { value: Buffer.from(old), metadata: null, expiresAt: null, version: "v" };
    await storage.write([{ kind: "put", key: "large", entry }], { now: 1, atomic: false });
    await storage.close?.();
    const command = await startCommand(folder, { env: { KV_API_KEY: KEY } });
    await fetch(`${command.url}/v1/kv/small`, {
      method: "PUT",
      headers: { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" },
      body: '{"value":2}',
    });
    const socket = await upload(next, 3 * MIB, command.url);
    await expect.poll(rows).toEqual({ large: 2, staged: 1, astray: 0 });
    await command.kill("SIGKILL");
    socket.destroy();
    service = await startService({ runtime: { storage: sqliteStorage({ path: join(folder, "kv.sqlite") }) } });
    expect((await get()).equals(answerOf(old))).toBe(true);
    await pause(500);
    expect(rows()).toEqual({ large: 2, staged: 1, astray: 0 });
    const database = new DatabaseSync(join(folder, "kv.sqlite"));
    database.exec("UPDATE workertown_kv_large SET staged_at = staged_at - 3601 WHERE staged_at IS NOT NULL");
    database.close();
    const other = sqliteStorage({ path: join(folder, "kv.sqlite") });
    await other.sweep?.(1, 10);
    await other.close?.();
    expect(rows()).toEqual({ large: 1, staged: 0, astray: 0 });
    expect((await get()).equals(answerOf(old))).toBe(true);
  });
});

it("an answer is made of the pieces: nobody puts the value together", () => {
  const parts = [Buffer.from('"a'), Buffer.from('b"')];
  const entry = inParts(parts, { metadata: null, expiresAt: null, version: "v" });
  Object.defineProperty(entry, "value", {
    get() {
      throw new Error("The value was put together");
    },
  });
  const body = entryBody(entry) as Uint8Array[];
  expect(Buffer.concat(body).toString()).toBe('{"status":200,"success":true,"data":"ab"}');
  expect(body).toContain(parts[0]);
});
