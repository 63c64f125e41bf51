/** What wrong adapters are made of: the sound one, with one thing done otherwise. */
import { type Condition, conditionHolds, isLive } from "../../src/core/entry.ts";
import { compareKeys } from "../../src/core/key.ts";
import type {
  ListedEntry,
  ListQuery,
  StorageAdapter,
  StoredEntry,
  WriteOperation,
  WriteOptions,
  WriteOutcome,
} from "../../src/storage/adapter.ts";
import { memoryStorage } from "../../src/storage/memory.ts";

export interface Fault {
  fault: string;
  make: () => StorageAdapter;
  /** The name of the test that is there for it. */
  caughtBy: string;
  /** Whether it takes the tests of large values to see it. */
  large?: boolean;
}

/** The reference, with snapshots and a migration too, so that every test of the suite has something to judge. */
export function soundStorage(): StorageAdapter {
  const memory = memoryStorage();
  let migrated = false;
  return {
    ...memory,
    capabilities: { ...memory.capabilities, snapshot: true },
    async snapshot() {
      const copy = memoryStorage();
      const entries = await allOf(memory, { now: Number.NEGATIVE_INFINITY });
      const puts = entries.map(({ key, ...entry }) => ({ kind: "put" as const, key, entry: entry as StoredEntry }));
      await copy.write(puts, { now: 0, atomic: false });
      return { list: copy.list, close: () => {} };
    },
    migrate() {
      const steps = migrated ? [] : ["0001-nothing"];
      migrated = true;
      return steps;
    },
  };
}

/** A factory of the sound adapter with some members replaced. */
export function wrong(change: (sound: StorageAdapter) => Partial<StorageAdapter>): () => StorageAdapter {
  return () => {
    const sound = soundStorage();
    return { ...sound, ...change(sound) };
  };
}

/** Keeps each entry under another key than the one that was given. */
export function underKey(keyOf: (key: string) => string): () => StorageAdapter {
  return wrong((sound) => ({
    get: (key) => sound.get(keyOf(key)),
    getMany: (keys, valueBytes) => sound.getMany?.(keys.map(keyOf), valueBytes) ?? [],
    write: (operations, options) =>
      sound.write(
        operations.map((operation) => ({ ...operation, key: keyOf(operation.key) })),
        options,
      ),
  }));
}

/** Keeps something else than the entry that was given; `before` is what stands under the key. */
export function kept(entryOf: (entry: StoredEntry, before: StoredEntry | null) => StoredEntry): () => StorageAdapter {
  return wrong((sound) => ({
    write(operations, options) {
      const before = (key: string) => sound.get(key) as StoredEntry | null;
      return sound.write(
        puts(operations, (entry, key) => entryOf(entry, before(key))),
        options,
      );
    },
  }));
}

/** The operations with other entries in their puts. */
export function puts(
  operations: readonly WriteOperation[],
  entryOf: (entry: StoredEntry, key: string) => StoredEntry,
): WriteOperation[] {
  return operations.map((operation) =>
    operation.kind === "put" ? { ...operation, entry: entryOf(operation.entry, operation.key) } : operation,
  );
}

/** A factory of the sound adapter with another `write`. */
export function writing(
  write: (
    sound: StorageAdapter,
    operations: readonly WriteOperation[],
    options: WriteOptions,
  ) => Promise<WriteOutcome[]>,
): () => StorageAdapter {
  return wrong((sound) => ({ write: (operations, options) => write(sound, operations, options) }));
}
/** The operation under another condition. */
export const under = (operation: WriteOperation, condition: Condition | undefined): WriteOperation => ({
  ...operation,
  condition,
});

/** Whether each condition holds for what is there now, before any of the operations. */
export async function judged(
  sound: StorageAdapter,
  operations: readonly WriteOperation[],
  now: number,
): Promise<boolean[]> {
  const entries = await Promise.all(operations.map(({ key }) => sound.get(key)));
  return operations.map(({ condition }, index) => {
    const entry = entries[index];
    return conditionHolds(condition, entry && isLive(entry, now) ? entry.version : null);
  });
}

/** Lists what `pick` makes of all live entries, page by page; `isAfter` says what comes after the key of a cursor. */
export function listing(
  pick: (entries: ListedEntry[], query: ListQuery) => ListedEntry[],
  isAfter = (key: string, cursor: string) => compareKeys(key, cursor) > 0,
): () => StorageAdapter {
  return wrong((sound) => ({
    async list(query) {
      const { cursor } = query;
      const picked = pick(await allOf(sound, query), query);
      const from = cursor === null ? 0 : picked.findIndex(({ key }) => isAfter(key, cursor));
      const page = pageOf(from < 0 ? [] : picked.slice(from), query);
      return { entries: page.entries, cursor: page.complete ? null : (page.entries.at(-1)?.key ?? null) };
    },
  }));
}

/** The first entries, as many as a page holds. */
export function pageOf(entries: readonly ListedEntry[], { limit, valueBytes }: ListQuery) {
  let count = 0;
  for (let bytes = 0; count < Math.min(limit, entries.length) && bytes < (valueBytes ?? Infinity); count++) {
    bytes += entries[count]?.value?.length ?? 0;
  }
  const page = entries.slice(0, count).map((entry) => (valueBytes === null ? { ...entry, value: null } : entry));
  return { entries: page, complete: count === entries.length };
}

/** Every live entry in order, with its value. */
export async function allOf({ list }: StorageAdapter, { now }: { now: number }): Promise<ListedEntry[]> {
  const most = Number.MAX_SAFE_INTEGER;
  return (await list({ prefix: "", cursor: null, limit: most, valueBytes: most, now })).entries;
}
