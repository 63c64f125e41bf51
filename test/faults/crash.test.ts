/** `kill -9` at random moments. `CRASH_ROUNDS=1000` makes the run long; `CRASH_SEED` repeats one, as far as chance allows. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, it } from "vitest";
import { startCommand } from "../command.ts";
import { random } from "../engines/history.ts";
import { KEY } from "../support.ts";
import { createLedger } from "./ledger.ts";
import { heldBy, startLoad } from "./load.ts";

const ROUNDS = Number(process.env.CRASH_ROUNDS ?? 10);
const SEED = Number(process.env.CRASH_SEED ?? Date.now() % 1_000_000);

it(
  `kill -9 under load, ${ROUNDS} times, loses no acknowledged write and leaves none in half`,
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "kv-crash-"));
    const next = random(SEED);
    const ledger = createLedger();
    const start = () => startCommand(folder, { env: { KV_API_KEY: KEY } });
    const killed = { load: 0, start: 0, stop: 0 };
    let acknowledged = 0;
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const where = `seed ${SEED}, round ${round}`;
        if (next() < 0.2) {
          killed.start += 1;
          await startAndKill(folder, next() * 500);
        }
        const service = await start();
        const held = await heldBy(service.url);
        expect(ledger.faults(held), where).toEqual([]);
        ledger.settle(held);
        expect(integrityOf(join(folder, "kv.sqlite")), where).toBe("ok");

        const load = startLoad({ url: service.url, ledger, random: next });
        await expect.poll(() => load.count, { interval: 1, timeout: 20_000 }).toBeGreaterThan(0);
        await pause(next() * 400);
        // A shutdown that is killed is a crash as well.
        if (next() < 0.2) {
          killed.stop += 1;
          void service.kill("SIGTERM");
          await pause(next() * 60);
        } else killed.load += 1;
        const output = service.output();
        await service.kill("SIGKILL");
        await load.stop();
        // Whoever is refused while the service stops is told so.
        expect(
          load.faults.filter((fault) => !fault.includes("shutting down")),
          `${where}\n${output}`,
        ).toEqual([]);
        acknowledged += load.count;
      }
      await using service = await start();
      expect(ledger.faults(await heldBy(service.url)), `seed ${SEED}, at the end`).toEqual([]);
      expect(integrityOf(join(folder, "kv.sqlite"))).toBe("ok");
      console.info(`seed ${SEED}: ${acknowledged} writes acknowledged, killed ${JSON.stringify(killed)}, 0 lost`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
  60_000 + ROUNDS * 10_000,
);

/** Starts the command and kills it at a moment of its start. */
async function startAndKill(folder: string, after: number): Promise<void> {
  const abort = new AbortController();
  const started = startCommand(folder, { env: { KV_API_KEY: KEY }, signal: abort.signal }).catch(() => null);
  await pause(after);
  abort.abort();
  await (await started)?.kill("SIGKILL");
}

/** What SQLite itself says of the file, read beside the service. */
function integrityOf(path: string): unknown {
  const database = new DatabaseSync(path);
  try {
    return database.prepare("PRAGMA integrity_check").get()?.integrity_check;
  } finally {
    database.close();
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
