/** How much a sliding window holds, apart from the other tests of it because it takes its time. */
import { expect, it } from "vitest";
import { slidingWindow } from "../../src/access/sliding-window.ts";

it("keeps a million names in under 64 MiB", () => {
  const hit = slidingWindow({ limit: 2, window: 10 }, () => 1_800_000_000_000);
  const before = process.memoryUsage().arrayBuffers;
  for (let index = 0; index < 1_000_000; index++) hit(`name ${index}`);
  let kept = 0;
  for (let index = 0; index < 1_000_000; index += 1000) if (hit(`name ${index}`, 0).remaining === 1) kept++;
  expect(kept).toBeGreaterThan(990);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 * 1024);
});
