/**
 * Power cuts. `kill -9` cannot see a missing flush, since the kernel keeps what was written. Here every file system call of
 * the real command is recorded, and disks are made of the record as a cut at some moment may leave them.
 * `POWER_IMAGES=600` makes more of them; `POWER_SEED` repeats the choices, though not the recorded run.
 */
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startCommand } from "../command.ts";
import { random } from "../engines/history.ts";
import { KEY } from "../support.ts";
import { cutPower } from "./images.ts";
import { createLedger, type Ledger } from "./ledger.ts";
import { startLoad } from "./load.ts";
import { buildShim, noShim, type Shim } from "./shim.ts";

const IMAGES = Number(process.env.POWER_IMAGES ?? 60);
const SEED = Number(process.env.POWER_SEED ?? Date.now() % 1_000_000);
/** Of each of the other runs. */
const FEW = Math.ceil(IMAGES / 3);
/** Long enough for several checkpoints, which come at each 4 MiB of log. */
const WRITES = 400;
const LENGTH = 20_000;
/** Of values that are staged, in several steps, before they are written, and how many of those. */
const LARGE_LENGTH = 3_000_000;
const LARGE_WRITES = 30;

if (noShim && process.env.CI) it("power cuts can be tested", () => expect(noShim).toBe(false));

describe.skipIf(noShim)(`power cuts${noShim ? ` (${noShim})` : ""}`, () => {
  let folder: string;
  let shim: Shim;
  let ledger: Ledger;
  const next = random(SEED);

  beforeEach(() => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), "kv-power-")));
    shim = buildShim();
    ledger = createLedger();
  });
  afterEach(() => {
    shim[Symbol.dispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Runs the command under load until so many writes are acknowledged, and ends it. */
  async function run(end: NodeJS.Signals, { writes = WRITES, length = LENGTH, env = {} } = {}) {
    const service = await startCommand(folder, { env: { KV_API_KEY: KEY, ...shim.env(folder), ...env } });
    const load = startLoad({ url: service.url, ledger, random: next, length });
    await expect.poll(() => load.count, { interval: 5, timeout: 60_000 }).toBeGreaterThan(writes);
    if (end === "SIGTERM") await load.stop();
    await service.kill(end);
    await load.stop();
    expect(load.faults).toEqual([]);
  }

  async function images(count = FEW) {
    const calls = shim.records();
    const result = await cutPower({ calls, folder, ledger, images: count, random: next });
    const flushes = calls.filter(({ type }) => type === "F").length;
    const answers = calls.filter(({ type }) => type === "A").length;
    const { faults, ...figures } = result;
    console.info(`seed ${SEED}: ${JSON.stringify({ calls: calls.length, flushes, answers, ...figures })}`);
    return { ...result, calls };
  }

  it(`lose no acknowledged write and leave none in half, in ${IMAGES} images of starts, load, checkpoints and ends`, async () => {
    await run("SIGTERM");
    await run("SIGKILL");
    await run("SIGTERM");
    const { faults, lost, damaged, calls, unflushed } = await images(IMAGES);
    expect(faults).toEqual([]);
    expect({ lost, damaged }).toEqual({ lost: 0, damaged: 0 });
    // There was something to lose, and checkpoints were among it.
    expect(unflushed).toBeGreaterThan(IMAGES);
    expect(checkpointsOf(calls)).toBeGreaterThan(3);
  }, 300_000);

  it(`lose no large value that was acknowledged, and leave none in half, in ${FEW} images`, async () => {
    await run("SIGKILL", { writes: LARGE_WRITES, length: LARGE_LENGTH });
    const { faults, lost, damaged, unflushed } = await images();
    expect(faults).toEqual([]);
    expect({ lost, damaged }).toEqual({ lost: 0, damaged: 0 });
    expect(unflushed).toBeGreaterThan(FEW);
  }, 300_000);

  it.each([
    ["flush", "SIGKILL"],
    ["flush", "SIGTERM"],
    ["database flush", "SIGKILL"],
    ["database flush", "SIGTERM"],
  ] as const)(
    "lose none after a %s that failed, %s and a restart",
    async (fault, end) => {
      const failing = await startCommand(folder, { env: { KV_API_KEY: KEY, ...shim.env(folder) } });
      const load = startLoad({ url: failing.url, ledger, random: next, length: LENGTH });
      await expect.poll(() => load.count, { interval: 5, timeout: 60_000 }).toBeGreaterThan(50);
      shim.set(fault);
      // Every client ends with the first write that is refused.
      await expect.poll(() => load.faults.length, { interval: 5, timeout: 60_000 }).toBe(16);
      await load.stop();
      shim.set("none");
      await failing.kill(end);
      await run("SIGKILL", { writes: 200 });
      const { faults } = await images();
      expect(faults).toEqual([]);
    },
    300_000,
  );

  it("lose some where the database does not flush (synchronous = OFF), so that this test can fail", async () => {
    const env = { NODE_OPTIONS: `--import ${resolve("test/faults/synchronous.ts")}` };
    await run("SIGKILL", { env: { ...env, SYNCHRONOUS: "OFF" } });
    const { lost } = await images();
    expect(lost).toBeGreaterThan(FEW / 10);
  }, 300_000);

  it("lose some, in whole, where only checkpoints flush (synchronous = NORMAL)", async () => {
    const env = { NODE_OPTIONS: `--import ${resolve("test/faults/synchronous.ts")}` };
    await run("SIGKILL", { env: { ...env, SYNCHRONOUS: "NORMAL" } });
    const { lost, damaged } = await images();
    expect(lost).toBeGreaterThan(FEW / 10);
    expect(damaged).toBe(0);
  }, 300_000);
});

/** How often pages went from the log into the database, which was flushed then. */
function checkpointsOf(calls: Awaited<ReturnType<Shim["records"]>>): number {
  const databases = new Set<number>();
  let count = 0;
  for (const { type, descriptor, path } of calls) {
    if (type === "O") databases[path.endsWith(".sqlite") ? "add" : "delete"](descriptor);
    if (type === "F" && databases.has(descriptor)) count += 1;
  }
  return count;
}
