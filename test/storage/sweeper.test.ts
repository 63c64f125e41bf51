import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { memoryStorage } from "../../src/storage/memory.ts";
import { SWEEP_BUSY_MS, SWEEP_IDLE_MS, SWEEP_LIMIT, SWEEP_START_MS, startSweeper } from "../../src/storage/sweeper.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const NOW = 1_000_000;
const value = new TextEncoder().encode("1");

async function filled(expired: number) {
  const storage = memoryStorage();
  const put = (key: string, expiresAt: number | null) => ({
    kind: "put" as const,
    key,
    entry: { value, metadata: null, expiresAt, version: "v" },
  });
  const operations = Array.from({ length: expired }, (_, index) => put(`old-${index}`, NOW));
  await storage.write([...operations, put("later", NOW + 1), put("stays", null)], { now: 0, atomic: false });
  const count = async () => {
    const keys = [...operations.map(({ key }) => key), "later", "stays"];
    return ((await storage.getMany?.(keys, 1000)) ?? []).filter((entry) => entry !== null).length;
  };
  return { storage, count };
}

it("removes what has expired in small steps, at once where there is more, and nothing else", async () => {
  const { storage, count } = await filled(SWEEP_LIMIT * 2 + 1);
  const stop = startSweeper(storage, () => NOW, expect.unreachable);
  await vi.advanceTimersByTimeAsync(SWEEP_START_MS - SWEEP_BUSY_MS);
  expect(await count()).toBe(SWEEP_LIMIT * 2 + 3);
  for (const left of [SWEEP_LIMIT + 3, 3, 2, 2]) {
    await vi.advanceTimersByTimeAsync(SWEEP_BUSY_MS);
    expect(await count()).toBe(left);
  }
  expect(await storage.get("later")).not.toBeNull();
  stop();
  expect(vi.getTimerCount()).toBe(0);
});

it("keeps up with 10,000 entries that expire in a second", async () => {
  const { storage, count } = await filled(10_000);
  const stop = startSweeper(storage, () => NOW, expect.unreachable);
  await vi.advanceTimersByTimeAsync(SWEEP_START_MS + 1000);
  expect(await count()).toBe(2);
  stop();
});

it("leaves an engine that is slow at least half of its time", async () => {
  const sweep = vi.fn(() => new Promise<number>((resolve) => setTimeout(resolve, 500, SWEEP_LIMIT)));
  const stop = startSweeper({ ...memoryStorage(), sweep }, () => NOW, expect.unreachable);
  await vi.advanceTimersByTimeAsync(SWEEP_START_MS + 10_000 - SWEEP_BUSY_MS);
  expect(sweep).toHaveBeenCalledTimes(10);
  stop();
});

it("tries again after a failure, and reports it once until it has succeeded", async () => {
  const warnings: string[] = [];
  const warning = "Expired entries could not be removed: busy";
  const sweep = vi.fn((): Promise<number> => Promise.reject(new Error("busy")));
  const stop = startSweeper(
    { ...memoryStorage(), sweep },
    () => NOW,
    (message) => warnings.push(message),
  );
  await vi.advanceTimersByTimeAsync(SWEEP_START_MS + SWEEP_IDLE_MS);
  expect([sweep.mock.calls.length, warnings]).toEqual([2, [warning]]);
  sweep.mockResolvedValueOnce(0);
  await vi.advanceTimersByTimeAsync(SWEEP_IDLE_MS * 2);
  expect([sweep.mock.calls.length, warnings]).toEqual([4, [warning, warning]]);
  stop();
});

it("does nothing where the engine needs none", () => {
  const { sweep: _, ...storage } = memoryStorage();
  startSweeper(storage, () => NOW, expect.unreachable);
  expect(vi.getTimerCount()).toBe(0);
});
