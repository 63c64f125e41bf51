/** What can be wrong about snapshots and migrations. */
import type { Awaitable, ListQuery, StorageView } from "../../../src/storage/adapter.ts";
import { allOf, type Fault, soundStorage, wrong } from "../wrong.ts";

const MOMENT = "snapshot: a walk of one shows its moment, whatever is written meanwhile";
const MIGRATE = "migrate: twice at once each step runs once, later none does, and what is stored stays";

const none = { entries: [], cursor: null };

export const lifecycleFaults: readonly Fault[] = [
  {
    fault: "a snapshot is stated and not there",
    make: () => {
      const { snapshot: _, ...rest } = soundStorage();
      return rest;
    },
    caughtBy: "snapshot: it is there where the capabilities state it, and only there",
  },
  {
    fault: "a snapshot shows the present",
    make: wrong((sound) => ({ snapshot: () => ({ list: sound.list, close: () => {} }) })),
    caughtBy: MOMENT,
  },
  {
    fault: "a snapshot begins with its first page",
    make: wrong((sound) => ({
      snapshot() {
        let begun: Awaitable<StorageView> | undefined;
        const list = async (query: ListQuery) => {
          begun ??= sound.snapshot?.();
          return (await begun)?.list(query) ?? none;
        };
        return { list, close: () => {} };
      },
    })),
    caughtBy: MOMENT,
  },
  {
    fault: "a migration looks, waits and runs again",
    make: wrong(() => {
      let migrated = false;
      return {
        async migrate() {
          if (migrated) return [];
          await Promise.resolve();
          migrated = true;
          return ["0001-nothing"];
        },
      };
    }),
    caughtBy: MIGRATE,
  },
  {
    fault: "a migration that has run begins with an empty table again",
    make: wrong((sound) => ({
      async migrate() {
        const deletes = (await allOf(sound, { now: 0 })).map(({ key }) => ({ kind: "delete" as const, key }));
        await sound.write(deletes, { now: 0, atomic: false });
        return sound.migrate?.() ?? [];
      },
    })),
    caughtBy: MIGRATE,
  },
];
