/** Shows that the conformance suite catches what an adapter can do wrong: one deliberately wrong adapter a fault. */
import { describe, expect, it } from "vitest";
import type { StorageAdapter } from "../../src/storage/adapter.ts";
import { AssertionError, adapterSubject, storageConformance } from "../../src/testing/conformance.ts";
import { atomicFaults, batchFaults } from "./faults/batches.ts";
import { budgetFaults } from "./faults/budgets.ts";
import { conditionFaults } from "./faults/conditions.ts";
import { expiryFaults, keyFaults, valueFaults } from "./faults/entries.ts";
import { lifecycleFaults } from "./faults/lifecycle.ts";
import { listFaults } from "./faults/lists.ts";
import { soundStorage } from "./wrong.ts";

const faults = [
  ...keyFaults,
  ...listFaults,
  ...valueFaults,
  ...budgetFaults,
  ...conditionFaults,
  ...expiryFaults,
  ...batchFaults,
  ...atomicFaults,
  ...lifecycleFaults,
];

const { capabilities } = soundStorage();
const NOW = Date.UTC(2026, 0, 1);

const testsFor = (large: boolean) => storageConformance({ large }).filter(({ skip }) => !skip?.(capabilities));

/** The tests that an adapter fails, by their names, with what they say. */
async function failuresOf(make: () => StorageAdapter, large = false): Promise<Map<string, unknown>> {
  const failures = new Map<string, unknown>();
  for (const { name, run } of testsFor(large)) {
    await run(adapterSubject(make(), { now: NOW })).catch((error: unknown) => failures.set(name, error));
  }
  return failures;
}

describe("the conformance suite", () => {
  it("has nothing to say about a sound adapter", async () => {
    expect([...(await failuresOf(soundStorage, true))]).toEqual([]);
  });

  it.each(faults)("catches it where $fault", async ({ make, caughtBy, large }) => {
    const failures = await failuresOf(make, large);
    expect([...failures.keys()]).toContain(caughtBy);
    // The test says what is wrong; it does not stumble over it.
    expect(failures.get(caughtBy)).toBeInstanceOf(AssertionError);
  });

  it("has no test without a fault that it is there for", () => {
    const used = new Set(faults.map(({ caughtBy }) => caughtBy));
    expect(
      testsFor(true)
        .map(({ name }) => name)
        .filter((name) => !used.has(name)),
    ).toEqual([]);
  });
});
