import type { FoundEntry, StorageAdapter, StoredEntry, WriteOperation, WriteOptions, WriteOutcome } from "./adapter.ts";
import { inKeyOrder } from "./in-order.ts";
import type { MysqlReads } from "./mysql-read.ts";
import { unconditionalPut } from "./mysql-single.ts";
import type { Put } from "./mysql-sql.ts";
import { type MysqlWrites, retried } from "./mysql-write.ts";

/** How many statements of one kind run at once, and how many calls one of them may answer. */
const PARALLEL = 4;
const CALLS = 64;
/** Values of up to so many bytes go with others, longer ones alone. */
const SHORT_BYTES = 65_536;

/** Reads of a key, and writes of a short value without a condition, which share a statement where many come at once. */
export function gatheredGet({ get, getMany }: MysqlReads): (key: string) => Promise<StoredEntry | null> {
  const whole = (key: string, entry: FoundEntry | null) =>
    entry === null || entry.value !== null ? (entry as StoredEntry | null) : get(key);

  return gathered(async (keys: readonly string[]) => {
    const [only] = keys;
    if (only !== undefined && keys.length === 1) return [await get(only)];
    const entries = await getMany(keys, SHORT_BYTES * keys.length);
    return Promise.all(keys.map((key, index) => whole(key, entries[index] ?? null)));
  });
}

export function gatheredWrite({ write, putAll }: MysqlWrites): StorageAdapter["write"] {
  const put = gathered(async (puts: readonly Put[]) => {
    await retried(() => putAll(puts));
    return puts;
  });

  async function writeOnce(operations: readonly WriteOperation[], options: WriteOptions): Promise<WriteOutcome[]> {
    const [only] = operations;
    const single = only && operations.length === 1 ? unconditionalPut(only, options.now) : undefined;
    if (single === undefined || single.entry.value.length > SHORT_BYTES) return write(operations, options);
    await put(single);
    return ["written"];
  }

  const inOrder = inKeyOrder();
  return (operations, options) => {
    const keys = operations.filter(({ kind }) => kind !== "get").map(({ key }) => key);
    return inOrder([...new Set(keys)], () => writeOnce(operations, options));
  };
}

interface Waiting<C, R> {
  call: C;
  resolve(result: R): void;
  reject(error: unknown): void;
}

/**
 * Calls that find all statements busy wait and are then sent together by one: `send` answers them in their order. A call is
 * answered by a statement that was sent after it was made, so that a read sees every write that was answered before.
 */
function gathered<C, R>(send: (calls: readonly C[]) => Promise<readonly R[]>): (call: C) => Promise<R> {
  let waiting: Waiting<C, R>[] = [];
  let running = 0;

  async function next(): Promise<void> {
    if (running === PARALLEL || waiting.length === 0) return;
    const calls = waiting.slice(0, CALLS);
    waiting = waiting.slice(CALLS);
    running += 1;
    try {
      const results = await send(calls.map(({ call }) => call));
      for (const [index, { resolve }] of calls.entries()) resolve(results[index] as R);
    } catch (error) {
      for (const { reject } of calls) reject(error);
    } finally {
      running -= 1;
      next();
    }
  }

  return (call) =>
    new Promise((resolve, reject) => {
      waiting.push({ call, resolve, reject });
      next();
    });
}
