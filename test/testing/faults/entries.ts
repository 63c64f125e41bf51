/** What can be wrong about one entry: its key, its value, what stands beside it, when it ends. */
import { type Fault, kept, underKey, wrong } from "../wrong.ts";

const decoder = new TextDecoder();
const encoder = new TextEncoder();
const parsed = (text: string) => JSON.stringify(JSON.parse(text));

const OWN_KEY = "keys: each hostile key is its own key";
const MANY = "keys: getMany answers in the order asked, with duplicates and misses";
const REPLACED = "values: a write replaces the whole entry, its metadata and its expiry too";
const DELETED = "values: a delete says whether there was something";
const TEXT = "values: the text comes back as it came";
const EXPIRY = "expiry: exact to the millisecond on every read, for short and long ones";
const SWEEP = "expiry: a sweep removes what has expired, a few at a time, and nothing else";

export const keyFaults: readonly Fault[] = [
  { fault: "keys are put in lower case", make: underKey((key) => key.toLowerCase()), caughtBy: OWN_KEY },
  { fault: "keys lose the spaces at their end", make: underKey((key) => key.trimEnd()), caughtBy: OWN_KEY },
  { fault: "keys are normalised", make: underKey((key) => key.normalize("NFC")), caughtBy: OWN_KEY },
  { fault: "keys end at a NUL", make: underKey((key) => key.split("\0")[0] as string), caughtBy: OWN_KEY },
  { fault: "keys end after 255 characters", make: underKey((key) => key.slice(0, 255)), caughtBy: OWN_KEY },
  { fault: "keys are percent-decoded", make: underKey((key) => key.replace("%2F", "/")), caughtBy: OWN_KEY },
  { fault: "keys that look like numbers are numbers", make: underKey(asNumber), caughtBy: OWN_KEY },
  {
    fault: "a missing key has an empty value",
    make: wrong((sound) => ({
      get: async (key) =>
        (await sound.get(key)) ?? { value: encoder.encode('""'), metadata: null, expiresAt: null, version: "0" },
    })),
    caughtBy: "keys: a missing key is null",
  },
  {
    fault: "a delete takes every key under the one that it names",
    make: wrong((sound) => ({
      async write(operations, options) {
        const { entries } = await sound.list({ prefix: "", cursor: null, limit: 1000, valueBytes: null, now: 0 });
        const under = operations.flatMap((operation) =>
          operation.kind === "delete" ? entries.filter(({ key }) => key.startsWith(operation.key)) : [],
        );
        const outcomes = await sound.write(operations, options);
        const deletes = under.map(({ key }) => ({ kind: "delete" as const, key }));
        await sound.write(deletes, { ...options, atomic: false });
        return outcomes;
      },
    })),
    caughtBy: "keys: a delete leaves its neighbours alone",
  },
  {
    fault: "getMany leaves out the misses",
    make: wrong((sound) => ({
      getMany: async (keys, bytes) => ((await sound.getMany?.(keys, bytes)) ?? []).filter((entry) => entry !== null),
    })),
    caughtBy: MANY,
  },
  {
    fault: "getMany answers in the order of the keys",
    make: wrong((sound) => ({ getMany: (keys, bytes) => sound.getMany?.(keys.toSorted(), bytes) ?? [] })),
    caughtBy: MANY,
  },
  {
    fault: "getMany answers a key once, however often it was asked for",
    make: wrong((sound) => ({ getMany: (keys, bytes) => sound.getMany?.([...new Set(keys)], bytes) ?? [] })),
    caughtBy: MANY,
  },
];

export const valueFaults: readonly Fault[] = [
  {
    fault: "values go through JSON.parse",
    make: kept((entry) => ({ ...entry, value: encoder.encode(parsed(decoder.decode(entry.value))) })),
    caughtBy: TEXT,
  },
  {
    fault: "the value null is taken for none",
    make: wrong((sound) => ({
      async get(key) {
        const entry = await sound.get(key);
        return entry === null || decoder.decode(entry.value) === "null" ? null : entry;
      },
    })),
    caughtBy: TEXT,
  },
  {
    fault: "the whole buffer of a view is kept",
    make: kept((entry) => ({ ...entry, value: new Uint8Array(entry.value.buffer) })),
    caughtBy: TEXT,
  },
  {
    fault: "values end after 64 KiB",
    make: kept((entry) => ({ ...entry, value: entry.value.subarray(0, 65_535) })),
    caughtBy: TEXT,
  },
  {
    fault: "values end after 16 MiB",
    make: kept((entry) => ({ ...entry, value: entry.value.subarray(0, 16_777_216) })),
    caughtBy: "values: the largest comes back as it came",
    large: true,
  },
  {
    fault: "metadata goes through JSON.parse",
    make: kept((entry) => ({ ...entry, metadata: entry.metadata && parsed(entry.metadata) })),
    caughtBy: "values: metadata comes back as it came",
  },
  {
    fault: "getMany has no metadata",
    make: wrong((sound) => ({
      getMany: async (keys, bytes) =>
        ((await sound.getMany?.(keys, bytes)) ?? []).map((entry) => entry && { ...entry, metadata: null }),
    })),
    caughtBy: "values: many come back as one does, with metadata, expiry and version",
  },
  {
    fault: "metadata outlives its value",
    make: kept((entry, before) => ({ ...entry, metadata: entry.metadata ?? before?.metadata ?? null })),
    caughtBy: REPLACED,
  },
  {
    fault: "an expiry outlives its value",
    make: kept((entry, before) => ({ ...entry, expiresAt: entry.expiresAt ?? before?.expiresAt ?? null })),
    caughtBy: REPLACED,
  },
  {
    fault: "the version of the first write stays",
    make: kept((entry, before) => ({ ...entry, version: before?.version ?? entry.version })),
    caughtBy: REPLACED,
  },
  {
    fault: "the version is kept as a number where it looks like one",
    make: kept((entry) => ({ ...entry, version: asNumber(entry.version) })),
    caughtBy: "values: a version is kept as it is",
  },
  {
    fault: "a value that is already there is not written again",
    make: kept((entry, before) =>
      before !== null && decoder.decode(before.value) === decoder.decode(entry.value) ? before : entry,
    ),
    caughtBy: "values: the same value written again has another version",
  },
  {
    fault: "every delete says that it deleted",
    make: wrong((sound) => ({
      write: async (operations, options) =>
        (await sound.write(operations, options)).map((outcome) => (outcome === "absent" ? "deleted" : outcome)),
    })),
    caughtBy: DELETED,
  },
];

export const expiryFaults: readonly Fault[] = [
  { fault: "the expiry is not kept", make: kept((entry) => ({ ...entry, expiresAt: null })), caughtBy: EXPIRY },
  {
    fault: "the expiry is kept in whole seconds",
    make: kept((entry) => ({ ...entry, expiresAt: entry.expiresAt && Math.ceil(entry.expiresAt / 1000) * 1000 })),
    caughtBy: EXPIRY,
  },
  {
    fault: "the expiry is kept in 32 bits of seconds",
    make: kept((entry) => ({ ...entry, expiresAt: entry.expiresAt && Math.min(entry.expiresAt, 2 ** 32 * 1000) })),
    caughtBy: "expiry: the last moment of a date is kept exactly",
  },
  {
    fault: "a list shows what has expired",
    make: wrong((sound) => ({ list: (query) => sound.list({ ...query, now: 0 }) })),
    caughtBy: EXPIRY,
  },
  {
    fault: "a list drops an entry a millisecond late",
    make: wrong((sound) => ({ list: (query) => sound.list({ ...query, now: query.now - 1 }) })),
    caughtBy: EXPIRY,
  },
  {
    fault: "a delete finds what has expired",
    make: wrong((sound) => ({
      write: (operations, options) =>
        sound.write(operations, { ...options, now: operations[0]?.kind === "delete" ? 0 : options.now }),
    })),
    caughtBy: "expiry: a delete of an expired entry finds nothing, and the key can be written again",
  },
  {
    fault: "a sweep takes what is about to expire",
    make: wrong((sound) => ({ sweep: (now, limit) => sound.sweep?.(now + 1000, limit) ?? 0 })),
    caughtBy: SWEEP,
  },
  {
    fault: "a sweep takes all at once",
    make: wrong((sound) => ({ sweep: (now) => sound.sweep?.(now, Number.MAX_SAFE_INTEGER) ?? 0 })),
    caughtBy: SWEEP,
  },
  {
    fault: "a sweep leaves what expires at that very millisecond",
    make: wrong((sound) => ({ sweep: (now, limit) => sound.sweep?.(now - 1, limit) ?? 0 })),
    caughtBy: SWEEP,
  },
];

function asNumber(text: string): string {
  return /^\d[\d.e]*$/.test(text) ? String(Number(text)) : text;
}
