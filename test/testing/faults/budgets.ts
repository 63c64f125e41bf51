/** What can be wrong about how much is read at once. */
import { type Fault, wrong } from "../wrong.ts";

const MANY_BYTES = "budgets: getMany leaves out the values that do not fit, and nothing else";
const PAGE_BYTES = "budgets: a page stops after the value that takes it to its bytes, and the next goes on from there";

export const budgetFaults: readonly Fault[] = [
  {
    fault: "getMany ignores its budget",
    make: wrong((sound) => ({ getMany: (keys) => sound.getMany?.(keys, Number.MAX_SAFE_INTEGER) ?? [] })),
    caughtBy: MANY_BYTES,
  },
  {
    fault: "getMany gives each value the whole budget",
    make: wrong((sound) => ({
      getMany: async (keys, bytes) =>
        (await Promise.all(keys.map(async (key) => (await sound.getMany?.([key], bytes)) ?? []))).flat(),
    })),
    caughtBy: MANY_BYTES,
  },
  {
    fault: "getMany takes a value that does not fit for a miss",
    make: wrong((sound) => ({
      getMany: async (keys, bytes) =>
        ((await sound.getMany?.(keys, bytes)) ?? []).map((entry) => (entry?.value === null ? null : entry)),
    })),
    caughtBy: MANY_BYTES,
  },
  {
    fault: "a page ignores the bytes of its values",
    make: wrong((sound) => ({
      list: (query) => sound.list({ ...query, valueBytes: query.valueBytes && Number.MAX_SAFE_INTEGER }),
    })),
    caughtBy: PAGE_BYTES,
  },
  {
    fault: "a page of 10 MiB goes on",
    make: wrong((sound) => ({
      list: (query) => sound.list({ ...query, valueBytes: query.valueBytes && query.valueBytes * 10 }),
    })),
    caughtBy: "values: a page stops at 10 MiB of values and goes on after it",
    large: true,
  },
  {
    fault: "a page stops before a value that it has no room for, even where it is the first",
    make: wrong((sound) => ({
      async list(query) {
        const page = await sound.list(query);
        const total = page.entries.reduce((sum, { value }) => sum + (value?.length ?? 0), 0);
        if (query.valueBytes === null || total <= query.valueBytes) return page;
        const entries = page.entries.slice(0, -1);
        return { entries, cursor: entries.at(-1)?.key ?? query.cursor };
      },
    })),
    caughtBy: PAGE_BYTES,
  },
  {
    fault: "the reads of an atomic batch ignore their budget",
    make: wrong((sound) => ({
      write: (operations, options) => sound.write(operations, { ...options, valueBytes: Number.MAX_SAFE_INTEGER }),
    })),
    caughtBy: "budgets: the reads of an atomic batch leave out the values that do not fit, and nothing else",
  },
];
