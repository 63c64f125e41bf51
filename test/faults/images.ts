/** What is left of a recorded run where the power is cut at many moments of it, and what our storage makes of that. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { ListResult } from "../../src/storage/adapter.ts";
import { sqliteStorage } from "../../src/storage/sqlite.ts";
import { CUTS, type Cut, choiceOf } from "./cuts.ts";
import { createDisk, type Disk } from "./disk-model.ts";
import type { Held, Ledger } from "./ledger.ts";
import type { FileCall } from "./shim.ts";

export interface Images {
  images: number;
  /** Of how many a write was lost that had been acknowledged, or was there in half. */
  lost: number;
  /** How many SQLite itself finds damaged. */
  damaged: number;
  /** How many sectors and names were not flushed, over all images. */
  unflushed: number;
  /** What the first few of those were, with how to make them again. */
  faults: string[];
}

export interface ImageOptions {
  calls: readonly FileCall[];
  /** The folder that was recorded. */
  folder: string;
  ledger: Ledger;
  images: number;
  random(): number;
}

/** Cuts the power at random moments, half of them right after an answer. */
export async function cutPower({ calls, folder, ledger, images, random }: ImageOptions): Promise<Images> {
  const result: Images = { images: 0, lost: 0, damaged: 0, unflushed: 0, faults: [] };
  const moments = momentsOf(calls, images, random);
  const disk = createDisk(folder, random);
  const acknowledged = new Set<string>();
  const home = mkdtempSync(join(tmpdir(), "kv-image-"));
  try {
    for (const [at, call] of calls.entries()) {
      disk.apply(at, call);
      if (call.type === "A") for (const id of acknowledgedBy(call.data)) acknowledged.add(id);
      for (; moments[0] === at; moments.shift()) {
        const cut = CUTS[result.images % CUTS.length] as Cut;
        const path = layOut(
          join(home, `${result.images}`),
          disk,
          choiceOf(cut, { random, now: at, window: 60 }),
          random,
        );
        result.images += 1;
        result.unflushed += disk.unflushed;
        const { held, integrity } = await reopened(path);
        const faults = ledger.faults(held, (id) => id === "start" || acknowledged.has(id));
        if (faults.length > 0) result.lost += 1;
        if (integrity !== "ok") result.damaged += 1;
        if (integrity !== "ok") faults.push(integrity);
        if (result.faults.length < 10) result.faults.push(...faults.map((fault) => `cut at ${at}, ${cut}: ${fault}`));
        rmSync(join(home, `${result.images - 1}`), { recursive: true });
      }
    }
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
  return result;
}

function momentsOf(calls: readonly FileCall[], count: number, random: () => number): number[] {
  const answers = calls.flatMap(({ type }, at) => (type === "A" ? [at] : []));
  return Array.from({ length: count }, (_, index) =>
    index % 2 === 0
      ? Math.floor(random() * calls.length)
      : (answers[Math.floor(random() * answers.length)] ?? calls.length - 1),
  ).sort((a, b) => a - b);
}

/** The ids of the requests that were answered 200. */
function acknowledgedBy(answer: Buffer): string[] {
  const text = answer.toString("latin1");
  return [...text.matchAll(/HTTP\/1\.1 200 .*?\r\nx-request-id: (\S+)/gis)].map(([, id]) => id as string);
}

/** Writes an image; the shared memory of the processes that are gone is missing, or is anything. */
function layOut(folder: string, disk: Disk, choose: ReturnType<typeof choiceOf>, random: () => number): string {
  mkdirSync(folder);
  const keepsAll = random() < 0.3;
  const files = disk.image(choose, () => keepsAll || random() < 0.5);
  files.delete("kv.sqlite-shm");
  if (random() < 0.5) files.set("kv.sqlite-shm", Buffer.alloc(32_768, Math.floor(random() * 256)));
  for (const [name, content] of files) writeFileSync(join(folder, name), content);
  return join(folder, "kv.sqlite");
}

/** What our own storage finds in a file, and SQLite. */
async function reopened(path: string): Promise<{ held: Held; integrity: string }> {
  const held = new Map<string, string>();
  try {
    const storage = sqliteStorage({ path });
    let cursor: string | null = null;
    do {
      const query = { prefix: "", cursor, limit: 1000, valueBytes: 10_000_000, now: Date.now() };
      const page: ListResult = await storage.list(query);
      for (const { key, value } of page.entries) held.set(key, JSON.parse(Buffer.from(value ?? []).toString()));
      cursor = page.cursor;
    } while (cursor !== null);
    await storage.close?.();
    const database = new DatabaseSync(path);
    const integrity = String(database.prepare("PRAGMA integrity_check").get()?.integrity_check);
    database.close();
    return { held, integrity };
  } catch (error) {
    return { held, integrity: (error as Error).message };
  }
}
