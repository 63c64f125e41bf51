/** What is counted of the storage: around each call of its engine. */
import type { StorageAdapter } from "../storage/adapter.ts";
import { type CacheOptions, cached } from "../storage/cache.ts";
import { counters, distribution, type Family, histograms, type Labels, reading } from "./families.ts";
import { LATENCY_BOUNDS } from "./requests.ts";

/** The calls that are timed; the others are seldom or are streams. */
const TIMED = ["get", "getMany", "write", "list", "sweep"] as const;
const OTHERS = ["stage", "check", "snapshot", "migrate", "ping", "counts", "close"] as const;

/** No call has more than two arguments. */
type Method = (first?: unknown, second?: unknown) => unknown;

export function storageMetrics() {
  const durations = histograms(
    "workertown_kv_storage_duration_seconds",
    "Time of a call of the storage engine.",
    LATENCY_BOUNDS,
    0.001,
  );
  const failures = counters("workertown_kv_storage_failures_total", "Calls of the storage engine that failed.");
  const swept = counters("workertown_kv_swept_entries_total", "Expired entries removed in the background.");
  const sweptCell = swept.of({});
  const lookups = counters("workertown_kv_cache_lookups_total", "Reads by whether the read cache had the entry.");
  const cell = (result: string) => lookups.of({ cache: "runtime", result });
  const engines: StorageAdapter[] = [];

  /** A call that is timed from its beginning to its answer, which is passed on as it is. */
  function timed(call: string, method: Method): Method {
    const histogram = durations.of({ call });
    const failed = failures.of({ call });
    const fail = () => {
      failed.value += 1;
    };
    return (first, second) => {
      const since = performance.now();
      try {
        const answer = method(first, second);
        if (answer instanceof Promise) answer.then(() => histogram.observe(performance.now() - since), fail);
        else histogram.observe(performance.now() - since);
        return answer;
      } catch (error) {
        fail();
        throw error;
      }
    };
  }

  return {
    families: [durations, failures, swept, ...engineFamilies(engines, lookups)],

    /** A cache in front of an adapter, which it asks at once or not at all. */
    cached(adapter: StorageAdapter, options: CacheOptions): StorageAdapter {
      const hits = cell("hit");
      const misses = cell("miss");
      let asked = false;
      const get: StorageAdapter["get"] = (key) => {
        asked = true;
        return adapter.get(key);
      };
      const cache = cached({ ...adapter, get }, options);
      return {
        ...cache,
        get(key) {
          asked = false;
          const answer = cache.get(key);
          (asked ? misses : hits).value += 1;
          return answer;
        },
      };
    },

    /** The same adapter, each call of which is counted. */
    watched(adapter: StorageAdapter): StorageAdapter {
      engines.push(adapter);
      const methods = adapter as unknown as Record<string, Method | undefined>;
      const watched: Record<string, unknown> = { engine: adapter.engine, capabilities: adapter.capabilities };
      for (const name of [...TIMED, ...OTHERS]) {
        if (methods[name] === undefined) continue;
        // On the adapter itself: it may be an instance of a class.
        const method: Method = (first, second) => methods[name]?.(first, second);
        watched[name] = (TIMED as readonly string[]).includes(name) ? timed(snake(name), method) : method;
      }
      const { sweep } = watched as Partial<StorageAdapter>;
      if (sweep !== undefined) watched.sweep = sweepCounted(sweep);
      return watched as unknown as StorageAdapter;
    },
  };

  function sweepCounted(sweep: NonNullable<StorageAdapter["sweep"]>): NonNullable<StorageAdapter["sweep"]> {
    return async (now, limit) => {
      const removed = await sweep(now, limit);
      sweptCell.value += removed;
      return removed;
    };
  }
}

/** What the engines count themselves: several, where the environment has several. */
function engineFamilies(engines: readonly StorageAdapter[], lookups: Family): Family[] {
  const counts = () => engines.flatMap((engine) => engine.counts?.() ?? []);
  const byEngine = reading("counter", lookups.name, lookups.help, () => {
    const caches = counts().flatMap(({ cache }) => cache ?? []);
    const sum = (of: "hits" | "misses") => caches.reduce((total, cache) => total + cache[of], 0);
    const row = (result: string, value: number): [Labels, number] => [{ cache: "engine", result }, value];
    return caches.length === 0 ? [] : [row("hit", sum("hits")), row("miss", sum("misses"))];
  });
  const name = "workertown_kv_commit_group_size";
  return [
    { ...lookups, lines: () => [...byEngine.lines(), ...lookups.lines()] },
    {
      name,
      type: "histogram",
      help: "Writes that shared one commit, by engines that commit in groups.",
      lines() {
        const commits = counts().flatMap((one) => one.commits ?? []);
        const groups = commits[0]?.groups.map((_, at) => commits.reduce((sum, one) => sum + (one.groups[at] ?? 0), 0));
        const les = groups?.slice(1).map((_, at) => String(2 ** at)) ?? [];
        const calls = commits.reduce((sum, one) => sum + one.calls, 0);
        return groups === undefined ? [] : distribution(name, "", les, groups, calls);
      },
    },
  ];
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
