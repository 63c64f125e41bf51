/** Stores with one fault each, which a checker of histories has to find: with them it shows that it can fail. */
import { setTimeout as sleep } from "node:timers/promises";
import { conditionHolds } from "../../src/core/entry.ts";
import type { StorageAdapter, StoredEntry, WriteOutcome } from "../../src/storage/adapter.ts";

export const BROKEN = { stale, lost, torn, early };

/** A read may be answered with what another one found a little earlier. */
function stale(storage: StorageAdapter): StorageAdapter {
  const found = new Map<string, { entry: StoredEntry | null; until: number }>();
  return {
    ...storage,
    async get(key) {
      const known = found.get(key);
      if (known !== undefined && known.until > Date.now()) return known.entry;
      const entry = await storage.get(key);
      found.set(key, { entry, until: Date.now() + 15 });
      return entry;
    },
  };
}

/** A condition is looked at before the write, not with it. */
function lost(storage: StorageAdapter): StorageAdapter {
  return {
    ...storage,
    async write(operations, options) {
      const [{ key, condition, kind } = { key: "", condition: undefined, kind: "get" }] = operations;
      if (operations.length !== 1 || condition === undefined || kind === "get")
        return storage.write(operations, options);
      const entry = await storage.get(key);
      const live = entry !== null && (entry.expiresAt ?? Number.POSITIVE_INFINITY) > options.now ? entry.version : null;
      if (!conditionHolds(condition, live)) return ["refused"];
      await sleep(3);
      return storage.write(
        operations.map((operation) => ({ ...operation, condition: undefined })),
        options,
      );
    },
  };
}

/** An atomic batch without conditions is made of single writes. */
function torn(storage: StorageAdapter): StorageAdapter {
  return {
    ...storage,
    async write(operations, options) {
      if (operations.some(({ condition }) => condition !== undefined)) return storage.write(operations, options);
      const outcomes: WriteOutcome[] = [];
      for (const operation of operations) {
        outcomes.push(...(await storage.write([operation], options)));
        if (operations.length > 1) await sleep(2);
      }
      return outcomes;
    },
  };
}

/** A put without a condition is answered before it can be seen. */
function early(storage: StorageAdapter): StorageAdapter {
  return {
    ...storage,
    async write(operations, options) {
      const [first] = operations;
      const single = operations.length === 1 && first?.kind === "put" && first.condition === undefined;
      if (!single) return storage.write(operations, options);
      setTimeout(() => void storage.write(operations, options), 5);
      return ["written"];
    },
  };
}
