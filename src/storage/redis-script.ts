import { isLive } from "../core/entry.ts";
import { keyBytes } from "../core/key.ts";
import type { FoundEntry, ListedEntry, StoredEntry, WriteOperation, WriteOptions, WriteOutcome } from "./adapter.ts";
import { GET_MANY, LIST, SWEEP, WRITE } from "./redis-lua.ts";
import { migrate, migratedFirst } from "./redis-migrate.ts";
import {
  type Expiry,
  entryOf,
  expiryOf,
  fieldsOf,
  outcomeOf,
  type RedisArgument,
  textOf,
  writeArguments,
} from "./redis-wire.ts";
import { partialFailure, type Shard, sharded } from "./sharded.ts";
import { withinBytes } from "./value-budget.ts";

/** Where a namespace is: Redis over its own protocol, or over HTTP. It rejects with a `KvError` where that cannot be reached. */
export interface RedisRunner {
  /** Fields of a hash (`HMGET`). */
  fields(key: string, names: string[]): Promise<unknown>;
  /** A script; `writes`: what it does happens once. */
  script(lua: string, keys: readonly string[], args: readonly RedisArgument[], writes: boolean): Promise<unknown>;
  /** A put without a condition in plain commands, for a value that is too large to be handed to a script. */
  replace?(keys: EntryKeys, fields: Readonly<Record<string, RedisArgument>>, expiry: Expiry | null): Promise<unknown>;
}

export interface EntryKeys {
  entry: string;
  index: string;
  expiries: string;
  name: string;
}

export interface RedisLayout {
  namespace: string;
  shards: number;
  /** How many bytes of values one script is handed, where they need not be written together. */
  partBytes: number;
}

/** A script copies what it is handed several times, while everybody waits: larger values take another way. */
export const INLINE_BYTES = 1_048_576;
const REPLACE_BYTES = 65_536;
/** How many names a list may look at in vain. */
const LOOKS = 1000;
/** How many operations or keys one script is handed: a driver puts all arguments on its stack. */
const PART = 1000;

/** The storage of a namespace, without its capabilities. */
export function redisNamespace(runner: RedisRunner, layout: RedisLayout): Shard & { migrate(): Promise<string[]> } {
  // A brace or a colon in the namespace would end the hash tag or make it another one's.
  const tag = encodeURIComponent(layout.namespace);
  const tags = layout.shards === 1 ? [tag] : Array.from({ length: layout.shards }, (_, index) => `${tag}:${index}`);
  const migrateLayout = () => migrate(runner, `workertown_kv:{${tag}}:schema`, layout);
  const migrated = migratedFirst(runner, migrateLayout);
  const shards = tags.map((each) => shardStorage(migrated, `workertown_kv:{${each}}:`, layout.partBytes));
  return { ...(shards.length === 1 ? (shards[0] as Shard) : sharded(shards)), migrate: migrateLayout };
}

const FIELDS = ["version", "metadata", "expires_at", "value"];

/** Those fields of an entry; the value may be its length alone. */
type Row = unknown[] | null;

/** Keys that share one hash tag, and so one slot of a cluster. */
function shardStorage(runner: RedisRunner, base: string, partBytes: number): Shard {
  const entryBase = `${base}entry:`;
  const indexes = [`${base}index`, `${base}expiries`] as const;
  /** Where the name begins in the key of an entry, as Lua counts. */
  const start = keyBytes(entryBase).length + 1;

  const keyOf = (name: string) => entryBase + name;

  async function get(key: string): Promise<StoredEntry | null> {
    const fields = (await runner.fields(keyOf(key), FIELDS)) as unknown[];
    return fields[0] === null ? null : (entryOf(fields) as StoredEntry);
  }

  /** The entries of rows, with the values that did not come along; what has grown past `valueBytes` is left out. */
  async function complete(keys: readonly string[], rows: readonly Row[], valueBytes: number) {
    const entries = rows.map((row) => row && entryOf(row));
    await Promise.all(
      groupsOf(rows).map(async (group) => {
        const names = group.map((index) => keys[index] as string);
        const budgets = [`${INLINE_BYTES}`, `${INLINE_BYTES}`];
        const again = names.length === 1 ? [] : await runner.script(GET_MANY, names.map(keyOf), budgets, false);
        for (const [at, name] of names.entries()) {
          const row = (again as Row[])[at];
          entries[group[at] as number] = row != null && row[3] !== null ? entryOf(row) : await get(name);
        }
      }),
    );
    return entries.map(withinBytes(valueBytes));
  }

  async function writePart(operations: readonly WriteOperation[], options: WriteOptions): Promise<WriteOutcome[]> {
    const keys = [...indexes, ...operations.map(({ key }) => keyOf(key))];
    const reply = await runner.script(WRITE, keys, writeArguments(operations, options, start), true);
    return (reply as unknown[]).map(outcomeOf);
  }

  return {
    get,

    async getMany(keys, valueBytes) {
      const found: (FoundEntry | null)[] = [];
      let left = valueBytes;
      for (let at = 0; at < keys.length; at += PART) {
        const part = keys.slice(at, at + PART);
        const budgets = [`${left}`, `${Math.min(left, INLINE_BYTES)}`];
        const rows = await runner.script(GET_MANY, part.map(keyOf), budgets, false);
        for (const entry of await complete(part, rows as Row[], left)) {
          found.push(entry);
          left -= entry?.value?.length ?? 0;
        }
      }
      return found;
    },

    async write(operations, options) {
      const [only] = operations;
      if (operations.length === 1 && runner.replace !== undefined && isLargePut(only)) {
        const [entry, index, expiries] = [keyOf(only.key), ...indexes];
        await runner.replace({ entry, index, expiries, name: only.key }, fieldsOf(only.entry), expiryOf(only.entry));
        return ["written"];
      }
      const outcomes: WriteOutcome[] = [];
      for (const part of options.atomic ? [operations] : partsOf(operations, partBytes)) {
        try {
          outcomes.push(...(await writePart(part, options)));
        } catch (error) {
          throw outcomes.length === 0 ? error : partialFailure(error);
        }
      }
      return outcomes;
    },

    async list({ prefix, cursor, limit, valueBytes, now }) {
      const budgets = [valueBytes === null ? "" : `${valueBytes}`, `${INLINE_BYTES}`];
      const args = [entryBase, prefix, cursor ?? "", `${limit}`, `${now}`, `${limit + LOOKS}`, ...budgets];
      const [last, rows] = (await runner.script(LIST, indexes, args, false)) as [unknown, unknown[][]];
      const keys = rows.map(([name]) => textOf(name));
      const found = await complete(
        keys,
        rows.map(([, ...row]) => row),
        Infinity,
      );
      const entries = keys.flatMap((key, index): ListedEntry[] => {
        const entry = found[index] ?? null;
        // What went away since it was listed.
        return entry === null || !isLive(entry, now) ? [] : [{ key, ...entry }];
      });
      return { entries, cursor: last === null ? null : textOf(last) };
    },

    sweep: async (now, limit) =>
      (await runner.script(SWEEP, indexes, [entryBase, `${now}`, `${limit}`], false)) as number,
  };
}

function isLargePut(operation: WriteOperation | undefined): operation is WriteOperation & { kind: "put" } {
  if (operation?.kind !== "put" || operation.entry.value.length < REPLACE_BYTES) return false;
  const { ifMatch, ifNoneMatch } = operation.condition ?? {};
  return ifMatch === undefined && ifNoneMatch === undefined;
}

/** The indexes of the rows whose values did not come along, as many together as come along the next time. */
function groupsOf(rows: readonly Row[]): number[][] {
  const groups: number[][] = [];
  let bytes = 0;
  for (const [index, row] of rows.entries()) {
    const size = row?.[3];
    if (typeof size !== "number") continue;
    bytes += size;
    if (groups.length === 0 || bytes > INLINE_BYTES) {
      groups.push([index]);
      bytes = size;
    } else groups.at(-1)?.push(index);
  }
  return groups;
}

/** Neighbours that are handed over together. */
function partsOf(operations: readonly WriteOperation[], partBytes: number): WriteOperation[][] {
  const parts: WriteOperation[][] = [];
  let bytes = 0;
  for (const operation of operations) {
    const size = operation.kind === "put" ? operation.entry.value.length : 0;
    const part = parts.at(-1);
    if (part === undefined || part.length === PART || bytes + size > partBytes) {
      parts.push([operation]);
      bytes = size;
    } else {
      part.push(operation);
      bytes += size;
    }
  }
  return parts;
}
