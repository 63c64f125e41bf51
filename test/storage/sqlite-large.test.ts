/** Values in pieces, by the adapter itself: how they are staged, and what is kept of them in memory. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Worker } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { concat } from "../../src/core/bytes.ts";
import { inParts } from "../../src/core/entry.ts";
import type { Condition, Stage, StorageAdapter, WriteOperation } from "../../src/storage/adapter.ts";
import { sqliteStorage } from "../../src/storage/sqlite.ts";

const now = 1_000_000;
const PIECE = 65_536;
let folder: string;
let path: string;
let storage: StorageAdapter;
let thread: Worker;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "kv-large-"));
  path = join(folder, "kv.sqlite");
  storage = sqliteStorage({ path });
  const started = new Promise<Worker>((resolve) => process.once("worker", resolve));
  await write(put("small", [Buffer.from("1")]));
  thread = await started;
});
afterEach(async () => {
  await storage.close?.();
  rmSync(folder, { recursive: true, force: true });
});

/** Pieces of a value that differ by number and `mark`. */
const piecesOf = (count: number, mark = "a") =>
  Array.from({ length: count }, (_, at) => new Uint8Array(Buffer.alloc(PIECE, `${mark}${at},`)));
const textOf = (count: number, mark?: string) => Buffer.from(concat(piecesOf(count, mark))).toString();

let versions = 0;
function put(key: string, parts: readonly Uint8Array[], condition?: Condition): WriteOperation {
  const entry = {
    ...{ parts, metadata: null, expiresAt: null, version: `v${versions++}` },
    get value(): Uint8Array {
      throw new Error("Nobody needs it in one piece");
    },
  };
  return { kind: "put", key, entry, condition };
}
const write = async (...operations: WriteOperation[]) => storage.write(operations, { now, atomic: false });

function stage(): Stage {
  return storage.stage?.() ?? expect.unreachable();
}

/** Stages some pieces, in two steps. */
async function staged(count: number, mark?: string) {
  const own = stage();
  const pieces = piecesOf(count, mark);
  const parts = [...(await own.add(0, pieces.slice(0, 3))), ...(await own.add(3, pieces.slice(3)))];
  own.stands(parts);
  return { parts, end: own.end };
}

async function read(key: string): Promise<string | null> {
  const entry = await storage.get(key);
  return entry && Buffer.from(entry.value).toString();
}

/** Waits for what has been asked of the thread, and tells the rows. */
async function rows() {
  await write({ kind: "delete", key: "none" });
  const database = new DatabaseSync(path, { readOnly: true });
  const count = (what: string) => database.prepare(`SELECT count(*) AS n FROM ${what}`).get()?.n;
  const result = {
    large: count("workertown_kv_large WHERE staged_at IS NULL"),
    staged: count("workertown_kv_large WHERE staged_at IS NOT NULL"),
    pieces: count("workertown_kv_piece"),
  };
  database.close();
  return result;
}

describe("a staged value", () => {
  test("is seen by nobody before it is written, and comes back after that", async () => {
    const { parts, end } = await staged(10);
    expect(Buffer.from(concat(parts)).toString()).toBe(textOf(10));
    expect(await rows()).toEqual({ large: 0, staged: 1, pieces: 10 });
    expect(await read("a")).toBeNull();
    expect(await write(put("a", parts))).toEqual(["written"]);
    end();
    expect(await rows()).toEqual({ large: 1, staged: 0, pieces: 10 });
    expect(await read("a")).toBe(textOf(10));
  });

  test("is forgotten when it is not written, its condition is refused or its atomic batch is", async () => {
    const first = await staged(10);
    first.end();
    expect(await rows()).toEqual({ large: 0, staged: 0, pieces: 0 });
    const second = await staged(10);
    expect(await write(put("a", second.parts, { ifMatch: "*" }))).toEqual(["refused"]);
    second.end();
    const third = await staged(10);
    const refused: WriteOperation = { kind: "delete", key: "b", condition: { ifMatch: "*" } };
    const outcomes = await storage.write([put("a", third.parts), refused], { now, atomic: true });
    expect(outcomes).toContain("refused");
    third.end();
    expect(await rows()).toEqual({ large: 0, staged: 0, pieces: 0 });
    expect(await read("a")).toBeNull();
  });

  test("can be written in any order beside others, and overwrites what was there", async () => {
    const [a, b] = await Promise.all([staged(10, "x"), staged(7, "y")]);
    await Promise.all([write(put("b", b.parts)), write(put("a", a.parts)), write(put("c", piecesOf(6, "z")))]);
    a.end();
    b.end();
    expect([await read("a"), await read("b"), await read("c")]).toEqual([
      textOf(10, "x"),
      textOf(7, "y"),
      textOf(6, "z"),
    ]);
    const again = await staged(8, "w");
    await write(put("a", again.parts));
    again.end();
    expect(await read("a")).toBe(textOf(8, "w"));
    expect(await rows()).toMatchObject({ large: 3, staged: 0 });
  });

  test("that lacks a piece is not written", async () => {
    const own = stage();
    const pieces = piecesOf(5);
    const parts = [...(await own.add(0, pieces.slice(0, 2))), ...(await own.add(3, pieces.slice(3)))];
    const whole = [...parts, ...piecesOf(1)];
    own.stands(whole);
    await expect(write(put("a", whole))).rejects.toThrow(expect.objectContaining({ code: "unavailable" }));
    own.end();
    expect(await read("a")).toBeNull();
    expect(await rows()).toEqual({ large: 0, staged: 0, pieces: 0 });
  });

  test("that was swept meanwhile is not written", async () => {
    const { parts, end } = await staged(5);
    const other = new DatabaseSync(path);
    other.exec("UPDATE workertown_kv_large SET staged_at = staged_at - 3601");
    other.close();
    await storage.sweep?.(now, 10);
    await expect(write(put("a", parts))).rejects.toThrow(expect.objectContaining({ code: "unavailable" }));
    end();
    expect(await rows()).toEqual({ large: 0, staged: 0, pieces: 0 });
  });

  test("is written all the same where another process held the lock while it came", async () => {
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    const value = await staged(5);
    const written = write(put("a", value.parts));
    other.exec("COMMIT");
    other.close();
    expect(await written).toEqual(["written"]);
    value.end();
    expect(await read("a")).toBe(textOf(5));
    expect(await rows()).toMatchObject({ large: 1, staged: 0 });
  });

  test("is lost with the thread, which is told, and the next thread takes none of it for whole", async () => {
    const own = stage();
    const pieces = piecesOf(6);
    const [first] = await own.add(0, pieces.slice(0, 1));
    await thread.terminate();
    expect(storage.stage?.()).toBeNull();
    await write({ kind: "delete", key: "none" });
    const rest = await own.add(1, pieces.slice(1));
    const parts = [first as Uint8Array, ...rest];
    own.stands(parts);
    await expect(write(put("a", parts))).rejects.toThrow(expect.objectContaining({ code: "unavailable" }));
    own.end();
    expect(await read("a")).toBeNull();
    const lost = stage();
    const adding = lost.add(0, piecesOf(2));
    const next = new Promise<Worker>((resolve) => process.once("worker", resolve));
    await storage.close?.();
    await expect(adding.then(() => "back")).resolves.toBe("back");
    storage = sqliteStorage({ path });
    await write({ kind: "delete", key: "none" });
    await next;
  });
});

test("a value goes from the row to a text to pieces and back, and leaves nothing where it was", async () => {
  const sizes = [2, 600, 262_144, 262_145, 400_000];
  for (const from of sizes) {
    for (const to of sizes) {
      for (const bytes of [from, to]) {
        const entry = { value: Buffer.alloc(bytes, `${bytes} `), metadata: null, expiresAt: null, version: "v" };
        await write({ kind: "put", key: "a", entry });
        expect(await read("a"), `${from} to ${to}`).toBe(entry.value.toString());
      }
      expect(await rows()).toMatchObject({ large: to > 262_144 ? 1 : 0, staged: 0 });
    }
  }
  await write({ kind: "delete", key: "a" });
  expect(await rows()).toEqual({ large: 0, staged: 0, pieces: 0 });
});

describe("a large value that is read often", () => {
  test("comes from memory from the third time on, until it is replaced", async () => {
    await write(put("a", piecesOf(6)));
    expect(storage.get("a")).toBeInstanceOf(Promise);
    for (let turn = 0; turn < 2; turn++) expect(await read("a")).toBe(textOf(6));
    const kept = storage.get("a");
    expect(kept).not.toBeInstanceOf(Promise);
    const { parts } = (await kept) ?? {};
    await write(put("a", piecesOf(6, "b")));
    expect(storage.get("a")).toBeInstanceOf(Promise);
    expect(await read("a")).toBe(textOf(6, "b"));
    expect(Buffer.from(concat(parts ?? [])).toString()).toBe(textOf(6));
    await write({ kind: "delete", key: "a" });
    expect(await read("a")).toBeNull();
  });

  test("is not kept where others have taken its room", async () => {
    const isKept = (key: string) => !(storage.get(key) instanceof Promise);
    const keys = ["a", "b", "c"];
    for (const key of keys) await write(put(key, piecesOf(200, key)));
    for (const key of keys) for (let turn = 0; turn < 2; turn++) await read(key);
    expect(keys.map(isKept)).toEqual([false, true, true]);
    await write(put("d", piecesOf(520)));
    for (let turn = 0; turn < 3; turn++) await read("d");
    expect([...keys, "d"].map(isKept)).toEqual([false, true, true, false]);
  });

  test("has the metadata and the expiry of its entry", async () => {
    const metadata = `"${"m".repeat(300)}"`;
    const entry = inParts(piecesOf(6), { metadata, expiresAt: now + 5, version: "v" });
    await write({ kind: "put", key: "a", entry });
    for (let turn = 0; turn < 3; turn++) {
      expect(await storage.get("a")).toMatchObject({ metadata, expiresAt: now + 5, version: "v" });
    }
    expect(await storage.sweep?.(now + 5, 10)).toBe(1);
    expect(await read("a")).toBeNull();
    expect(await rows()).toEqual({ large: 0, staged: 0, pieces: 0 });
  });
});
