import { compareKeys, keyBytes } from "../core/key.ts";
import type { FoundEntry, ListedEntry, ListQuery, ListResult, StorageAdapter, StoredEntry } from "./adapter.ts";
import { binary, entryOf, type Item, type Layout, nameOf, namesOf, number, projected } from "./dynamodb-item.ts";
import { ATTEMPTS, backoff, type Send } from "./dynamodb-request.ts";
import { unavailable } from "./failures.ts";
import { inParallel } from "./in-parallel.ts";
import { withinBytes } from "./value-budget.ts";

/** What BatchGetItem takes at once, and how many of these are under way together. */
const BATCH = 100;
const PARALLEL = 4;

/** How often a page asks on where all that it found has expired, or DynamoDB stopped at its 1 MB. */
const ROUNDS = 16;

/** The reads, all of them strongly consistent. */
export interface Reads extends Required<Pick<StorageAdapter, "get" | "getMany" | "list">> {
  /** The entries under distinct keys, each as it is when it is read. */
  find(keys: readonly string[], values: boolean): Promise<Map<string, FoundEntry>>;
}

export function readsOf(send: Send, layout: Layout): Reads {
  const { table, keyOf } = layout;

  async function find(keys: readonly string[], values: boolean): Promise<Map<string, FoundEntry>> {
    const batches = Array.from({ length: Math.ceil(keys.length / BATCH) }, (_, index) =>
      keys.slice(index * BATCH, (index + 1) * BATCH),
    );
    const items = await inParallel(batches, PARALLEL, (batch) => findBatch(batch.map(keyOf), values));
    return new Map(items.flat().map((item) => [nameOf(item), entryOf(item)]));
  }

  /** Up to 100 items; DynamoDB answers 16 MB of them at most, and fewer where it has no capacity. */
  async function findBatch(keys: Item[], values: boolean): Promise<Item[]> {
    const names = namesOf(...projected(values));
    const how = {
      ConsistentRead: true,
      ProjectionExpression: Object.keys(names).join(),
      ExpressionAttributeNames: names,
    };
    const items: Item[] = [];
    let left = keys;
    for (let attempt = 0; left.length > 0; ) {
      const { body } = await send<{
        Responses: Record<string, Item[]>;
        UnprocessedKeys: Record<string, { Keys: Item[] }>;
      }>("BatchGetItem", { RequestItems: { [table]: { ...how, Keys: left } } });
      items.push(...(body.Responses?.[table] ?? []));
      const rest = body.UnprocessedKeys?.[table]?.Keys ?? [];
      if (rest.length === left.length) {
        if (++attempt === ATTEMPTS) throw unavailable(new Error("BatchGetItem processed nothing"));
        await backoff(attempt);
      }
      left = rest;
    }
    return items;
  }

  return {
    find,

    async get(key) {
      const request = { TableName: table, Key: keyOf(key), ConsistentRead: true };
      const { body } = await send<{ Item: Item }>("GetItem", request);
      return body.Item === undefined ? null : (entryOf(body.Item) as StoredEntry);
    },

    async getMany(keys, valueBytes) {
      const within = withinBytes(valueBytes);
      const found: (FoundEntry | null)[] = [];
      let left = valueBytes;
      for (let start = 0; start < keys.length; start += PARALLEL * BATCH) {
        const wave = keys.slice(start, start + PARALLEL * BATCH);
        // The length of a value is not known before it is read; where nothing fits any more, none is.
        const entries = await find([...new Set(wave)], left > 0);
        for (const key of wave) {
          const entry = within(entries.get(key) ?? null);
          left -= entry?.value?.length ?? 0;
          found.push(entry);
        }
      }
      return found;
    },

    list: (query) => listOf(send, layout, query),
  };
}

/** A shard of a list: what is known of it and has not been taken, last first, and from where on nothing is. */
interface Shard {
  readonly partition: string;
  entries: ListedEntry[];
  /** The key after which it goes on: everything up to it is known. */
  after: string | null;
  ended: boolean;
}

/** One page out of all shards in the order of their keys. */
async function listOf(send: Send, { table, partitions }: Layout, query: ListQuery): Promise<ListResult> {
  const { limit, valueBytes } = query;
  const shards = partitions.map((partition): Shard => ({ partition, entries: [], after: query.cursor, ended: false }));
  const page: ListedEntry[] = [];
  let bytes = 0;
  const isFull = () => page.length === limit || (valueBytes !== null && page.length > 0 && bytes >= valueBytes);

  for (let round = 1; ; round++) {
    const wanted = Math.ceil((limit + 1 - page.length) / shards.length) + (shards.length > 1 ? 8 : 0);
    // Many that have expired are passed in longer and longer strides.
    const Limit = Math.max(wanted, Math.min(2 ** round, 1000));
    const empty = shards.filter(({ entries, ended }) => entries.length === 0 && !ended);
    await Promise.all(empty.map((shard) => refill(send, table, shard, query, Limit)));
    const known = horizonOf(shards);
    for (let next = firstOf(shards); next !== null; next = firstOf(shards)) {
      const entry = next.entries.at(-1) as ListedEntry;
      if (isFull()) return { entries: page, cursor: page.at(-1)?.key ?? null };
      if (known !== null && compareKeys(entry.key, known) > 0) break;
      next.entries.pop();
      page.push(entry);
      bytes += entry.value?.length ?? 0;
    }
    if (known === null || round === ROUNDS) return { entries: page, cursor: known };
  }
}

/** The last key up to which every shard is known, `null` where all have ended. */
function horizonOf(shards: readonly Shard[]): string | null {
  const ends = shards.flatMap(({ after, ended }) => (ended ? [] : [after as string]));
  return ends.reduce<string | null>(
    (least, end) => (least === null || compareKeys(end, least) < 0 ? end : least),
    null,
  );
}

/** The shard with the first entry. */
function firstOf(shards: readonly Shard[]): Shard | null {
  let first: Shard | null = null;
  for (const shard of shards) {
    const [entry, least] = [shard.entries.at(-1), first?.entries.at(-1)];
    if (entry === undefined) continue;
    if (least === undefined || compareKeys(entry.key, least.key) < 0) first = shard;
  }
  return first;
}

/** Asks for the next items of a shard, as many as DynamoDB looks at in one request. */
async function refill(send: Send, table: string, shard: Shard, query: ListQuery, Limit: number): Promise<void> {
  const { prefix, valueBytes, now } = query;
  const attributes = projected(valueBytes !== null);
  const { body } = await send<{ Items: Item[]; LastEvaluatedKey: Item }>("Query", {
    TableName: table,
    ConsistentRead: true,
    Limit,
    // Bounds instead of begins_with: that refuses to go on at a key which is not under the prefix.
    KeyConditionExpression: "#partition = :partition AND #name BETWEEN :lower AND :upper",
    FilterExpression: "attribute_not_exists(#expires_at) OR #expires_at > :now",
    ProjectionExpression: Object.keys(namesOf(...attributes)).join(),
    ExpressionAttributeNames: namesOf("partition", ...attributes),
    ExpressionAttributeValues: {
      ":partition": { S: shard.partition },
      ":lower": binary(keyBytes(shard.after === null ? prefix || "\0" : `${shard.after}\0`)),
      ":upper": binary(Uint8Array.of(...keyBytes(prefix), 0xff)),
      ":now": number(now),
    },
  });
  shard.entries = (body.Items ?? []).map((item) => ({ key: nameOf(item), ...entryOf(item) })).reverse();
  shard.ended = body.LastEvaluatedKey === undefined;
  if (body.LastEvaluatedKey !== undefined) shard.after = nameOf(body.LastEvaluatedKey);
}
