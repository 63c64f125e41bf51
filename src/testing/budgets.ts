/** What an adapter reads at once is bounded, so that a few large values cannot fill the memory of a Worker. */
import type { FoundEntry, StorageAdapter } from "../storage/adapter.ts";
import { assert, assertEqual } from "./assert.ts";
import type { ConformanceTest } from "./conformance.ts";
import { needsAtomic } from "./needs.ts";
import { type Subject, storedEntry } from "./subject.ts";

const SIZES: Readonly<Record<string, number>> = { a: 10, b: 30, c: 20, d: 6 };
const METADATA = `"m"`;

/** Puts a value of its size under each key. They have more bytes than characters: the budget is one of bytes. */
async function fill({ clock }: Subject, adapter: StorageAdapter): Promise<void> {
  const operations = Object.entries(SIZES).map(([key, bytes]) => {
    const entry = storedEntry(`"${"é".repeat((bytes - 2) / 2)}"`, { metadata: METADATA, version: key });
    return { kind: "put" as const, key, entry };
  });
  await adapter.write(operations, { now: clock.now, atomic: false });
}

/** Checks that the values take at most `valueBytes`, that each that was left out had no room, and that all else is there. */
function assertWithin(found: readonly (FoundEntry | null)[], keys: readonly string[], valueBytes: number): void {
  assertEqual(found.length, keys.length, "Entries");
  const total = found.reduce((sum, entry) => sum + (entry?.value?.length ?? 0), 0);
  assert(total <= valueBytes, `Values of ${total} bytes where ${valueBytes} were asked for`);
  for (const [index, key] of keys.entries()) {
    const { value, ...rest } = found[index] ?? {};
    const size = SIZES[key];
    if (size === undefined) assertEqual(found[index], null, `The entry under the missing key "${key}"`);
    else {
      const expected = { version: key, metadata: METADATA, expiresAt: null };
      const { version, metadata, expiresAt } = rest as Partial<FoundEntry>;
      assertEqual({ version, metadata, expiresAt }, expected, `What stands beside the value of "${key}"`);
      if (value === null) assert(size > valueBytes - total, `The value of "${key}" was left out, but fits`);
      else assertEqual(value?.length, size, `The bytes of "${key}"`);
    }
  }
}

const BUDGETS: readonly number[] = [0, 1, 6, 26, 36, 65, 66, 75, 76, Number.MAX_SAFE_INTEGER];

export const budgetTests: readonly ConformanceTest[] = [
  {
    name: "budgets: getMany leaves out the values that do not fit, and nothing else",
    async run(subject) {
      const { adapter } = subject;
      if (adapter?.getMany === undefined) return;
      await fill(subject, adapter);
      for (const keys of [
        ["a", "x", "b", "a", "c", "d"],
        ["d", "c", "b", "a"],
      ]) {
        for (const valueBytes of BUDGETS) assertWithin(await adapter.getMany(keys, valueBytes), keys, valueBytes);
      }
    },
  },
  {
    name: "budgets: a page stops after the value that takes it to its bytes, and the next goes on from there",
    async run(subject) {
      const { adapter, clock } = subject;
      if (adapter === undefined) return;
      await fill(subject, adapter);
      for (const limit of [2, 1000]) {
        for (const valueBytes of BUDGETS.filter((bytes) => bytes > 0)) {
          const seen: string[] = [];
          let cursor: string | null = null;
          for (let turn = 0; turn === 0 || cursor !== null; turn++) {
            assert(turn < 20, `The list in pages of ${valueBytes} bytes does not end`);
            const page = await adapter.list({ prefix: "", cursor, limit, valueBytes, now: clock.now });
            const sizes = page.entries.map(({ value }) => value?.length ?? 0);
            const before = sizes.slice(0, -1).reduce((sum, size) => sum + size, 0);
            assert(sizes.length < 2 || before < valueBytes, `A page goes on past ${before} of ${valueBytes} bytes`);
            seen.push(...page.entries.map(({ key, value }) => `${key} ${value?.length}`));
            cursor = page.cursor;
          }
          const expected = Object.entries(SIZES).map(([key, bytes]) => `${key} ${bytes}`);
          assertEqual(adapter.capabilities.ordered ? seen : seen.sort(), expected, `Pages of ${valueBytes} bytes`);
        }
      }
    },
  },
  {
    name: "budgets: the reads of an atomic batch leave out the values that do not fit, and nothing else",
    skip: needsAtomic(6),
    async run(subject) {
      const { adapter, clock } = subject;
      if (adapter === undefined) return;
      await fill(subject, adapter);
      const keys = ["a", "x", "b", "a", "c", "d"];
      for (const valueBytes of BUDGETS) {
        const gets = keys.map((key) => ({ kind: "get" as const, key }));
        const outcomes = await adapter.write(gets, { now: clock.now, atomic: true, valueBytes });
        const found = outcomes.map((outcome) => {
          assert(typeof outcome === "object", `A read answered "${String(outcome)}"`);
          return outcome.found;
        });
        assertWithin(found, keys, valueBytes);
      }
    },
  },
];
