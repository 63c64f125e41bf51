import { execFileSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startCommand } from "../command.ts";
import { random } from "../engines/history.ts";
import { KEY, request } from "../support.ts";
import { createLedger } from "./ledger.ts";
import { heldBy, startLoad } from "./load.ts";
import { buildShim, noShim } from "./shim.ts";

let folder: string;
let path: string;
const env = { KV_API_KEY: KEY };

beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "kv-disk-")));
  path = join(folder, "kv.sqlite");
});
afterEach(() => {
  chmodSync(folder, 0o700);
  rmSync(folder, { recursive: true, force: true });
});

const get = (url: string, key: string) => request(`${url}/v1/kv/${key}`, "GET");
const put = (url: string, key: string, value: unknown) => request(`${url}/v1/kv/${key}`, "PUT", { body: { value } });

/** Root may write everywhere: without this right it is a user like others. */
const AS_USER = process.getuid?.() === 0 ? ["setpriv", "--bounding-set", "-dac_override"] : [];

/** The one line of a start that is refused. */
async function refusal(): Promise<string> {
  const error: Error = await startCommand(folder, { env, through: AS_USER }).then(
    async (service) => {
      await service.kill("SIGKILL");
      throw new Error("It started");
    },
    (reason: Error) => reason,
  );
  expect(error.message).toMatch(/^the command ended with 1: [^\n]+\n$/);
  return error.message;
}

/** A file with 1,000 keys in it, `key-0` to `key-999`, on many pages. */
async function fillFile(): Promise<void> {
  const service = await startCommand(folder, { env });
  const operations = Array.from({ length: 1000 }, (_, index) => ({
    op: "put",
    key: `key-${index}`,
    value: `value-${index}-${"x".repeat(300)}`,
  }));
  expect((await request(`${service.url}/v1/kv`, "POST", { body: { operations } })).status).toBe(200);
  expect(await service.kill("SIGTERM")).toBe(0);
}

/** Overwrites the beginning of the page on which a text stands. */
function damagePageOf(text: string): void {
  const content = readFileSync(path);
  const size = content.readUInt16BE(16);
  const at = content.indexOf(text);
  expect(at).toBeGreaterThan(0);
  const file = openSync(path, "r+");
  writeSync(file, Buffer.alloc(16, 0xa5), 0, 16, at - (at % size));
  closeSync(file);
}

describe("a file that may only be read", () => {
  it("is one line at start that says to look at the permissions", async () => {
    await fillFile();
    chmodSync(path, 0o444);
    expect(await refusal()).toContain(
      "it cannot be read and written; check the permissions of the file and of its folder",
    );
  });

  it("or whose folder may only be read, likewise", async () => {
    await fillFile();
    chmodSync(folder, 0o555);
    expect(await refusal()).toContain(
      "it cannot be read and written; check the permissions of the file and of its folder",
    );
  });

  it.skipIf(noShim)(
    "while it runs, refuses writes with 503 and goes on reading, until it may be written again",
    async () => {
      using shim = buildShim();
      await using service = await startCommand(folder, { env: { ...env, ...shim.env(folder) } });
      expect((await put(service.url, "a", 1)).status).toBe(200);
      shim.set("read-only");
      const refused = await put(service.url, "a", 2);
      expect([refused.status, refused.json.error]).toEqual([503, "unavailable"]);
      expect((await get(service.url, "a")).json.data).toBe(1);
      expect(service.output()).toContain(
        "disk I/O error; the disk cannot be read or written; see the log of the system",
      );
      shim.set("none");
      expect((await put(service.url, "a", 3)).status).toBe(200);
      expect((await get(service.url, "a")).json.data).toBe(3);
    },
  );
});

describe("a damaged file", () => {
  it("refuses what stands on the damaged page with 503, says in the log what to do, and serves the rest", async () => {
    await fillFile();
    damagePageOf("value-500-");
    await using service = await startCommand(folder, { env });
    const broken = await get(service.url, "key-500");
    expect([broken.status, broken.json.error]).toEqual([503, "unavailable"]);
    expect(service.output()).toContain(
      "database disk image is malformed; the file is damaged; stop the service and restore it from a backup",
    );
    const statuses = await Promise.all(
      [0, 100, 250, 750, 999].map(async (key) => (await get(service.url, `key-${key}`)).status),
    );
    expect(statuses).toEqual(Array(5).fill(200));
    // Writes that share a commit do not share its fate.
    const writes = await Promise.all(
      [0, 500, 250, 999].map(async (key) => (await put(service.url, `key-${key}`, 1)).status),
    );
    expect(writes).toEqual([200, 503, 200, 200]);
    expect((await get(service.url, "key-0")).json.data).toBe(1);
    expect((await request(`${service.url}/health`, "GET")).status).toBe(200);
  });

  it("is one line at start where nothing can be read of it", async () => {
    await fillFile();
    const file = openSync(path, "r+");
    writeSync(file, Buffer.alloc(200, 0xa5), 0, 200, 100);
    closeSync(file);
    expect(await refusal()).toContain("it is damaged; restore it from a backup or name another path");
  });

  it("that was cut is one line at start", async () => {
    await fillFile();
    truncateSync(path, statSync(path).size / 2);
    expect(await refusal()).toContain("it is damaged; restore it from a backup or name another path");
  });

  it("that is cut while it runs is 503 for what is gone, and the process stays", async () => {
    await fillFile();
    await using service = await startCommand(folder, { env });
    truncateSync(path, 8192);
    const statuses = await Promise.all([0, 500, 999].map(async (key) => (await get(service.url, `key-${key}`)).status));
    expect(statuses).toContain(503);
    expect(service.output()).toContain("error GET failed: unavailable");
    expect((await request(`${service.url}/health`, "GET")).status).toBe(200);
  });
});

it("a file of a newer version is one line at start, and stays as it is", async () => {
  await fillFile();
  const database = new DatabaseSync(path);
  database.exec("PRAGMA user_version = 99");
  database.close();
  const before = readFileSync(path);
  expect(await refusal()).toContain("it was made by a newer version (its schema is 99");
  expect(readFileSync(path).equals(before)).toBe(true);
});

it("two processes on one file both write and lose nothing, also when one of them is killed", async () => {
  const next = random(Date.now() % 1_000_000);
  const ledger = createLedger();
  const [one, two] = await Promise.all([startCommand(folder, { env }), startCommand(folder, { env })]);
  const loads = [one, two].map(({ url }, index) => startLoad({ url, ledger, random: next, name: `${index}/` })) as [
    ReturnType<typeof startLoad>,
    ReturnType<typeof startLoad>,
  ];
  const bothWrite = () => Math.min(...loads.map(({ count }) => count));
  await expect.poll(bothWrite, { interval: 5, timeout: 20_000 }).toBeGreaterThan(200);
  await one.kill("SIGKILL");
  const before = loads[1].count;
  await expect.poll(() => loads[1].count - before, { interval: 5, timeout: 20_000 }).toBeGreaterThan(200);
  await using third = await startCommand(folder, { env });
  await Promise.all(loads.map((load) => load.stop()));
  expect(loads.flatMap(({ faults }) => faults)).toEqual([]);
  for (const { url } of [two, third]) expect(ledger.faults(await heldBy(url))).toEqual([]);
  expect(await two.kill("SIGTERM")).toBe(0);
});

it("a backup by VACUUM INTO under load is one moment, and restored it is served", async () => {
  const ledger = createLedger();
  const service = await startCommand(folder, { env });
  const load = startLoad({ url: service.url, ledger, random: random(1) });
  await expect.poll(() => load.count, { interval: 5, timeout: 20_000 }).toBeGreaterThan(200);
  const acknowledged = new Set(ledger.acknowledged);
  const database = new DatabaseSync(path);
  database.exec(`VACUUM INTO '${join(folder, "backup.sqlite")}'`);
  database.close();
  await load.stop();
  expect(load.faults).toEqual([]);
  await service.kill("SIGTERM");
  execFileSync("mv", [join(folder, "backup.sqlite"), path]);
  await using restored = await startCommand(folder, { env });
  expect(ledger.faults(await heldBy(restored.url), (id) => acknowledged.has(id))).toEqual([]);
});
