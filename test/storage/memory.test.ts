import { test } from "vitest";
import { memoryStorage } from "../../src/storage/memory.ts";
import { adapterSubject, storageConformance } from "../../src/testing/conformance.ts";

for (const { name, skip, run } of storageConformance()) {
  if (skip?.(memoryStorage().capabilities)) continue;
  test(name, () => run(adapterSubject(memoryStorage(), { now: Date.now() })));
}
