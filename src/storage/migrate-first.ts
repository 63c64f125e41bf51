import type { Awaitable, StorageAdapter } from "./adapter.ts";

/** How long calls wait for a migration that another one has begun. On Workers it ends with the request that began it. */
const JOIN_MS = 1000;

/** An adapter that migrates before its first answer, and again before the next one where that failed. */
export function migrateFirst(adapter: StorageAdapter & Required<Pick<StorageAdapter, "migrate">>): StorageAdapter {
  let running: { migration: Promise<void>; since: number } | undefined;
  let done = false;

  async function migrate(): Promise<void> {
    try {
      await adapter.migrate();
      done = true;
    } finally {
      running = undefined;
    }
  }

  function migrated<A extends unknown[], T>(call: (...given: A) => Awaitable<T>): (...given: A) => Awaitable<T> {
    return (...given) => {
      if (done) return call(...given);
      if (running === undefined || Date.now() - running.since > JOIN_MS) {
        running = { migration: migrate(), since: Date.now() };
      }
      return running.migration.then(() => call(...given));
    };
  }

  const { getMany, snapshot, sweep } = adapter;
  return {
    ...adapter,
    get: migrated(adapter.get),
    ...(getMany && { getMany: migrated(getMany) }),
    write: migrated(adapter.write),
    list: migrated(adapter.list),
    ...(snapshot && { snapshot: migrated(snapshot) }),
    ...(sweep && { sweep: migrated(sweep) }),
  };
}
