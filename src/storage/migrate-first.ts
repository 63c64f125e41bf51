import type { Awaitable, StorageAdapter } from "./adapter.ts";

/** An adapter that migrates before its first answer, and again before the next one where that failed. */
export function migrateFirst(adapter: StorageAdapter & Required<Pick<StorageAdapter, "migrate">>): StorageAdapter {
  let migration: Promise<unknown> | undefined;
  let done = false;

  function migrated<A extends unknown[], T>(call: (...given: A) => Awaitable<T>): (...given: A) => Awaitable<T> {
    return (...given) => {
      if (done) return call(...given);
      migration ??= (async () => adapter.migrate())().then(
        () => {
          done = true;
        },
        (error) => {
          migration = undefined;
          throw error;
        },
      );
      return migration.then(() => call(...given));
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
