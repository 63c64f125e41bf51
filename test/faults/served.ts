/** Serves what its first argument names over the SQLite file that its second one names, on a free port. */
import { kv } from "../../src/index.ts";
import { serve } from "../../src/node.ts";
import type { Runtime } from "../../src/runtimes/runtime.ts";
import type { StorageAdapter } from "../../src/storage/adapter.ts";
import { memoryStorage } from "../../src/storage/memory.ts";
import { sqliteStorage } from "../../src/storage/sqlite.ts";
import { BROKEN } from "./broken.ts";

const [, , what = "", path = ":memory:", perSecond = "0"] = process.argv;

/** So many writes a second as the last argument says, however long the turns of the event loop are. */
function slow(storage: StorageAdapter): StorageAdapter {
  const waiting: (() => void)[] = [];
  let from = performance.now();
  setInterval(() => {
    const now = performance.now();
    const due = Math.floor(((now - from) / 1000) * Number(perSecond));
    from = waiting.length > due ? from + (due / Number(perSecond)) * 1000 : now;
    for (const go of waiting.splice(0, due)) go();
  }, 5).unref();
  return {
    ...storage,
    async write(operations, options) {
      await new Promise<void>((resolve) => waiting.push(resolve));
      return storage.write(operations, options);
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
