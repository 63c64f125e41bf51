import { isLive } from "../core/entry.ts";
import { KvError } from "../core/errors.ts";
import { compareKeys, keyBytes } from "../core/key.ts";
import type { FoundEntry, ListedEntry, ListResult, StorageAdapter, WriteOutcome } from "./adapter.ts";
import { OUTCOME_UNKNOWN } from "./failures.ts";

/** One of several places with keys of its own, listed in their order, where the cursor of a page is the last key it saw. */
export type Shard = Required<Pick<StorageAdapter, "get" | "getMany" | "write" | "list" | "sweep">>;

/** Several shards as one, its lists in one order. Each operation keeps its promises; an atomic `write` is not one of them. */
export function sharded(shards: readonly Shard[]): Shard {
  const shardFor = (key: string) => shards[shardOf(key, shards.length)] as Shard;

  /** The indexes of keys by the shard that they belong to. */
  function grouped(keys: readonly string[], wanted: (index: number) => boolean = () => true): [Shard, number[]][] {
    const groups = new Map<Shard, number[]>();
    for (const [index, key] of keys.entries()) {
      if (!wanted(index)) continue;
      const shard = shardFor(key);
      const group = groups.get(shard);
      if (group === undefined) groups.set(shard, [index]);
      else group.push(index);
    }
    return [...groups];
  }

  /** Each shard gives the share of its keys at once; what is left goes to the values that had no room, shard by shard. */
  async function getMany(keys: readonly string[], valueBytes: number): Promise<(FoundEntry | null)[]> {
    const found = new Array<FoundEntry | null>(keys.length).fill(null);
    let left = valueBytes;
    const read = async ([shard, indexes]: [Shard, number[]], bytes: number) => {
      const entries = await shard.getMany(
        indexes.map((index) => keys[index] as string),
        bytes,
      );
      for (const [at, index] of indexes.entries()) {
        const entry = entries[at] ?? null;
        found[index] = entry;
        left -= entry?.value?.length ?? 0;
      }
    };
    const share = Math.min(valueBytes, Number.MAX_SAFE_INTEGER) / (keys.length || 1);
    await Promise.all(grouped(keys).map((group) => read(group, Math.floor(share * group[1].length))));
    for (const group of grouped(keys, (index) => found[index]?.value === null)) if (left > 0) await read(group, left);
    return found;
  }

  /** A page with its values, which ends after the one that takes them to `valueBytes`. */
  async function withValues({ entries, cursor }: ListResult, valueBytes: number, now: number): Promise<ListResult> {
    const keys = entries.map(({ key }) => key);
    const found = await getMany(keys, valueBytes);
    const page: ListedEntry[] = [];
    let bytes = 0;
    for (const [index, key] of keys.entries()) {
      if (bytes >= valueBytes && page.length > 0) return { entries: page, cursor: keys[index - 1] ?? null };
      let entry = found[index] ?? null;
      if (entry?.value === null) entry = await shardFor(key).get(key);
      // What went away since it was listed.
      if (entry === null || !isLive(entry, now)) continue;
      page.push({ ...entry, key });
      bytes += entry.value?.length ?? 0;
    }
    return { entries: page, cursor };
  }

  return {
    get: (key) => shardFor(key).get(key),

    getMany,

    async write(operations, options) {
      const outcomes = new Array<WriteOutcome>(operations.length);
      const groups = grouped(operations.map(({ key }) => key));
      const steps = groups.map(async ([shard, indexes]) => {
        const group = indexes.map((index) => operations[index] as (typeof operations)[number]);
        const answers = await shard.write(group, options);
        for (const [at, index] of indexes.entries()) outcomes[index] = answers[at] as WriteOutcome;
      });
      const failed = (await Promise.allSettled(steps)).filter((step) => step.status === "rejected");
      if (failed.length === steps.length && failed.length > 0) throw failed[0]?.reason;
      if (failed.length > 0) throw partialFailure(failed[0]?.reason);
      return outcomes;
    },

    async list({ valueBytes, ...query }) {
      const bare = { ...query, limit: query.limit + 1, valueBytes: null };
      const page = merge(await Promise.all(shards.map((shard) => shard.list(bare))), query.limit);
      return valueBytes === null ? page : withValues(page, valueBytes, query.now);
    },

    async sweep(now, limit) {
      let removed = 0;
      for (const shard of shards) if (removed < limit) removed += await shard.sweep(now, limit - removed);
      return removed;
    },
  };
}

/** The shard of a key: FNV-1a (32 bits) of its UTF-8 bytes, modulo the number of shards. It may never change. */
export function shardOf(key: string, shards: number): number {
  let hash = 0x811c9dc5;
  for (const byte of keyBytes(key)) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0) % shards;
}

/** The first `limit` entries of all pages in one order, as far as every shard has looked. */
function merge(pages: readonly ListResult[], limit: number): ListResult {
  const [end = null] = pages.flatMap(({ cursor }) => cursor ?? []).sort(compareKeys);
  const entries = pages
    .flatMap((page) => page.entries)
    .filter(({ key }) => end === null || compareKeys(key, end) <= 0)
    .sort((a, b) => compareKeys(a.key, b.key));
  if (entries.length <= limit) return { entries, cursor: end };
  const page = entries.slice(0, limit);
  return { entries: page, cursor: page.at(-1)?.key ?? null };
}

/** The failure of a write of which a part has happened. */
export function partialFailure(error: unknown): unknown {
  if (!(error instanceof KvError) || error.message.endsWith(OUTCOME_UNKNOWN)) return error;
  return new KvError(error.code, `${error.message}${OUTCOME_UNKNOWN}`, { cause: error });
}
