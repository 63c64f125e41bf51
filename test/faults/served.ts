/** Serves what its first argument names over the SQLite file that its second one names, on a free port. */
import { kv } from "../../src/index.ts";
import { serve } from "../../src/node.ts";
import type { Runtime } from "../../src/runtimes/runtime.ts";
import type { StorageAdapter } from "../../src/storage/adapter.ts";
import { memoryStorage } from "../../src/storage/memory.ts";
import { sqliteStorage } from "../../src/storage/sqlite.ts";
import { BROKEN } from "./broken.ts";

const [, , what = "", path = ":memory:", delay = "0"] = process.argv;

/** One write after the other, each as long as the last argument says, in milliseconds. */
function slow(storage: StorageAdapter): StorageAdapter {
  let before: Promise<unknown> = Promise.resolve();
  return {
    ...storage,
    write(operations, options) {
      const mine = before.then(() => storage.write(operations, options));
      before = mine.then(() => new Promise((resolve) => setTimeout(resolve, Number(delay))));
      return mine;
    },
  };
}

const RUNTIMES: Record<string, () => Runtime> = {
  // Without a file there is no thread that writes.
  local: () => ({ storage: sqliteStorage({ path: ":memory:" }) }),
  cached: () => ({ storage: sqliteStorage({ path }), cache: { maxBytes: 1_000_000, maxAge: 60 } }),
  slow: () => ({ storage: slow(sqliteStorage({ path })) }),
  ...Object.fromEntries(
    Object.entries(BROKEN).map(([name, broken]) => [name, () => ({ storage: broken(memoryStorage()) })]),
  ),
};

const runtime = RUNTIMES[what];
if (runtime === undefined) throw new TypeError(`Expected one of ${Object.keys(RUNTIMES)}, got ${what}`);
const { url } = await serve(kv({ logger: false, runtime }), { port: 0 });
console.info(url);
