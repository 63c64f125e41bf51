import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { startCommand } from "./command.ts";
import { KEY, request } from "./support.ts";

const ROUNDS = 20;
const CONNECTIONS = 32;

it(`kill -9 in the middle of ${CONNECTIONS} writing connections, ${ROUNDS} times, loses no acknowledged write`, async () => {
  const folder = mkdtempSync(join(tmpdir(), "kv-crash-"));
  const acknowledged = new Map<string, number>();
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const service = await startCommand(folder, { env: { KV_API_KEY: KEY } });
      let stopped = false;
      let writes = 0;
      const writers = Array.from({ length: CONNECTIONS }, async (_, writer) => {
        for (let count = 0; !stopped; count++) {
          const key = `${writer}/${count % 50}`;
          const value = round * 1_000_000 + count;
          const answer = await request(`${service.url}/v1/kv/${key}`, "PUT", { body: { value } }).catch(
            () => undefined,
          );
          if (answer?.status !== 200) return;
          acknowledged.set(key, value);
          writes += 1;
        }
      });
      // The moment differs each round, from the first writes on.
      await expect.poll(() => writes, { interval: 1, timeout: 10_000 }).toBeGreaterThan(0);
      await new Promise((resolve) => setTimeout(resolve, round * 10));
      await service.kill("SIGKILL");
      stopped = true;
      await Promise.all(writers);
    }
    const service = await startCommand(folder, { env: { KV_API_KEY: KEY } });
    for (const [key, value] of acknowledged) {
      const { json } = await request(`${service.url}/v1/kv/${key}`, "GET");
      // A later write may have reached the disk without its answer reaching us, an earlier one never replaces it.
      expect(json.data, key).toBeGreaterThanOrEqual(value);
    }
    await service.kill("SIGKILL");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 120_000);
