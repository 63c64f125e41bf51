/** The only door to storage: keys, limits, expiry, versions and conditions are settled here, whatever the engine. */

import { base64UrlOf } from "../core/bytes.ts";
import {
  type Condition,
  type Expiry,
  expiresAtOf,
  inParts,
  isLive,
  type StoredEntry,
  valueLength,
} from "../core/entry.ts";
import { faulty, KvError, type KvIssue, onPurpose } from "../core/errors.ts";
import { checkKey, utf8Length } from "../core/key.ts";
import {
  CALLS,
  FORGET_MS,
  LIST_VALUE_BYTES,
  type Limits,
  PING_TIMEOUT,
  WALK_LIMIT,
  WALK_VALUE_BYTES,
} from "../core/limits.ts";
import { LATE, within } from "../core/within.ts";
import type {
  Awaitable,
  ListedEntry,
  ListResult,
  StorageAdapter,
  StorageCapabilities,
  WriteOperation,
} from "./adapter.ts";
import { type BatchAdapter, type BatchResult, resultsOf, runAtomic, runBatch } from "./batch.ts";
import { decodeCursor, encodeCursor } from "./cursor.ts";
import { OUTCOME_UNKNOWN } from "./failures.ts";

/** A value to store: checked JSON text, with when it expires. */
export interface NewEntry extends Expiry {
  value: Uint8Array;
  /** As in `StoredEntry`. */
  parts?: readonly Uint8Array[];
  metadata: string | null;
}

/** One operation of a batch. */
export type BatchOperation =
  | { kind: "get" | "delete"; key: string; condition?: Condition | undefined }
  | { kind: "put"; key: string; entry: NewEntry; condition?: Condition | undefined };

export interface LoadedEntry extends NewEntry {
  key: string;
}

export type LoadOutcome = "imported" | "skipped" | KvError;

export interface ListRequest {
  prefix: string;
  limit: number;
  /** As the page before gave it, or `null` for the first page. */
  cursor: string | null;
  values: boolean;
}

export interface ListPage {
  entries: ListedEntry[];
  /** What the next page takes, or `null` where the list is complete. */
  cursor: string | null;
}

export interface Store {
  readonly engine: string;
  readonly capabilities: StorageCapabilities;
  /** What holds here: the service's limits, or the engine's where they are lower. */
  readonly limits: Limits;
  /** The live entry under a key, or `null`. */
  get(key: string): Awaitable<StoredEntry | null>;
  /** Stores an entry and answers it; throws `precondition_failed` where the condition does not hold. */
  put(key: string, entry: NewEntry, condition?: Condition): Promise<StoredEntry>;
  /** Whether there was a live entry to delete (`true` always where the engine cannot tell). */
  delete(key: string, condition?: Condition): Promise<boolean>;
  /** As `StorageAdapter.stage`. */
  readonly stage: StorageAdapter["stage"];
  list(request: ListRequest): Promise<ListPage>;
  /**
   * Operations in their order, an answer each; with `atomic` all or none. Throws with nothing done where an operation can
   * be seen to be wrong (`issues` lead to each), where the engine lacks what is asked (`unsupported`), and where a
   * condition of an atomic batch does not hold (`precondition_failed`).
   */
  batch(operations: readonly BatchOperation[], options: { atomic: boolean }): Promise<BatchResult[]>;
  /** Every live entry under a prefix, page by page, as of one moment where the engine has snapshots. */
  walk(prefix: string): AsyncGenerator<ListedEntry[], void, void>;
  /** Stores entries as an import does, each for itself: one that has expired is skipped, one that cannot be says why. */
  load(entries: readonly LoadedEntry[]): Promise<LoadOutcome[]>;
  /** The steps that ran. */
  migrate(): Promise<string[]>;
  /** Resolves when the engine answers; rejects where it does not in so many seconds, by default in under one. */
  ping(seconds?: number): Promise<void>;
  close(): Promise<void>;
}

export interface StoreOptions {
  limits: Limits;
  /** Epoch milliseconds. */
  now(): number;
  /** Makes the version of one write; 72 random bits by default. */
  version?: (() => string) | undefined;
  /** How long an answer of the engine may take, in seconds. */
  timeout: number;
}

/** A store over an adapter. Everything that it throws on purpose is a `KvError`. */
export function createStore(adapter: StorageAdapter, options: StoreOptions): Store {
  const { now, version = randomVersion, timeout } = options;
  const { capabilities } = adapter;
  const limits: Limits = {
    ...options.limits,
    key: Math.min(options.limits.key, capabilities.maxKey),
    value: Math.min(options.limits.value, capabilities.maxValue),
    metadata: Math.min(options.limits.metadata, capabilities.maxMetadata),
  };

  /** The calls that the engine has not answered, and when they began. */
  const waiting = new Map<Promise<unknown>, number>();

  function isOverloaded(): boolean {
    if (waiting.size < CALLS) return false;
    for (const [call, since] of waiting) if (Date.now() - since > FORGET_MS) waiting.delete(call);
    return waiting.size >= CALLS;
  }

  /** What the engine answers; rejects with `unavailable` where that takes too long or too many wait already. */
  function ask<T>(call: () => Awaitable<T>, unknown = "", seconds = timeout): Awaitable<T> {
    if (isOverloaded()) throw new KvError("unavailable", "The storage is overloaded");
    const answer = call();
    return answer instanceof Promise ? inTime(answer, unknown, seconds) : answer;
  }

  async function inTime<T>(answer: Promise<T>, unknown: string, seconds: number): Promise<T> {
    waiting.set(answer, Date.now());
    const end = () => waiting.delete(answer);
    answer.then(end, end);
    const result = await within(seconds * 1000, answer);
    if (result !== LATE) return result;
    throw new KvError("unavailable", `The storage did not answer in ${seconds} s${unknown}`);
  }

  /** What the adapter is given for an operation; throws where it cannot be. */
  function checked(operation: BatchOperation, at: number): WriteOperation {
    checkKey(operation.key, limits.key);
    const write = operation.kind === "put" ? { ...operation, entry: storedEntry(operation.entry, at) } : operation;
    adapter.check?.(write);
    if (write.kind !== "get" && write.condition !== undefined && !capabilities.conditional) {
      throw unsupported("conditional");
    }
    return write;
  }

  function storedEntry(entry: NewEntry, at: number): StoredEntry {
    const { metadata, parts } = entry;
    checkSize("value", valueLength(entry), limits.value);
    if (metadata !== null) checkSize("metadata", utf8Length(metadata), limits.metadata);
    const rest = { metadata, expiresAt: expiresAtOf(entry, at), version: version() };
    return parts ? inParts(parts, rest) : { value: entry.value, ...rest };
  }

  /** Each operation as the adapter is given it; throws with the code of the first that is wrong and an issue for each. */
  function checkedAll(operations: readonly BatchOperation[], at: number): WriteOperation[] {
    const issues: KvIssue[] = [];
    let first: KvError | undefined;
    const all = operations.flatMap((operation, index) => {
      try {
        return [checked(operation, at)];
      } catch (thrown) {
        const error = onPurpose(thrown);
        if (error.code === "unsupported") throw error;
        first ??= error;
        const { path, message } = error.issues?.[0] ?? { path: "key", message: error.message };
        issues.push({ path: `operations.${index}.${path}`, message });
        return [];
      }
    });
    if (first === undefined) return all;
    throw faulty(first.code, issues);
  }

  function checkAtomic(operations: readonly WriteOperation[]): void {
    const { atomic } = capabilities;
    let bytes = 0;
    for (const operation of operations) if (operation.kind === "put") bytes += operation.entry.value.length;
    if (atomic === false || operations.length > atomic.operations || bytes > atomic.bytes) throw unsupported("atomic");
  }

  function unsupported(capability: "atomic" | "conditional"): KvError {
    const has = JSON.stringify(capabilities[capability]);
    return new KvError(
      "unsupported",
      `The storage engine "${adapter.engine}" cannot do that: its capability "${capability}" is ${has}`,
    );
  }

  /** What a cursor is good for: another engine's would mean nothing here. */
  const scopeOf = (prefix: string) => `${adapter.engine} ${prefix}`;

  async function* pages(prefix: string): AsyncGenerator<ListedEntry[], void, void> {
    const view = (await ask(() => adapter.snapshot?.())) ?? { list: adapter.list, close: () => {} };
    const query = { prefix, limit: WALK_LIMIT, valueBytes: WALK_VALUE_BYTES };
    try {
      let cursor: string | null = null;
      do {
        const page: ListResult = await ask(() => view.list({ ...query, cursor, now: now() }));
        const at = now();
        yield page.entries.filter((entry) => isLive(entry, at));
        cursor = page.cursor;
      } while (cursor !== null);
    } finally {
      await view.close();
    }
  }

  /** The adapter as batches use it. */
  const asked: BatchAdapter = {
    capabilities,
    getMany: (keys, valueBytes) =>
      ask(() => adapter.getMany?.(keys, valueBytes) ?? Promise.all(keys.map((key) => adapter.get(key)))),
    write: (operations, options) => ask(() => adapter.write(operations, options), OUTCOME_UNKNOWN),
  };

  /** What becomes of a write by itself; throws where it fails. */
  async function write(operation: BatchOperation): Promise<BatchResult> {
    const at = now();
    const operations = [checked(operation, at)];
    const outcomes = await asked.write(operations, { now: at, atomic: false });
    const [result] = resultsOf(asked, operations, outcomes, at) as [BatchResult];
    if (result.kind === "failed") throw result.error;
    return result;
  }

  return {
    engine: adapter.engine,
    capabilities,
    limits,
    stage: adapter.stage,

    get(key) {
      const live = (entry: StoredEntry | null) => (entry !== null && isLive(entry, now()) ? entry : null);
      const found = ask(() => adapter.get(checkKey(key, limits.key)));
      return found instanceof Promise ? found.then(live) : live(found);
    },

    async put(key, entry, condition) {
      const result = await write({ kind: "put", key, entry, condition });
      return (result as BatchResult & { kind: "written" }).entry;
    },

    async delete(key, condition) {
      const result = await write({ kind: "delete", key, condition });
      return (result as BatchResult & { kind: "deleted" }).existed;
    },

    async batch(operations, { atomic }) {
      const at = now();
      const checkedOperations = checkedAll(operations, at);
      if (atomic) checkAtomic(checkedOperations);
      if (checkedOperations.length === 0) return [];
      return (atomic ? runAtomic : runBatch)(asked, checkedOperations, at);
    },

    async list({ prefix, limit, cursor, values }) {
      checkPrefix(prefix, limits.key);
      const at = now();
      const query = {
        prefix,
        limit,
        cursor: cursor === null ? null : decodeCursor(cursor, scopeOf(prefix)),
        valueBytes: values ? LIST_VALUE_BYTES : null,
        now: at,
      };
      const page = await ask(() => adapter.list(query));
      const isLiveNow = (entry: ListedEntry) => isLive(entry, at);
      return {
        // The same list where it can be, so that what was made of it can be told by it.
        entries: page.entries.every(isLiveNow) ? page.entries : page.entries.filter(isLiveNow),
        cursor: page.cursor === null ? null : encodeCursor(page.cursor, scopeOf(prefix)),
      };
    },

    walk(prefix) {
      checkPrefix(prefix, limits.key);
      return pages(prefix);
    },

    async load(entries) {
      const at = now();
      const writes: WriteOperation[] = [];
      const outcomes = entries.map(({ key, ...entry }): LoadOutcome => {
        try {
          checkKey(key, limits.key);
          if (entry.expiration != null && entry.expiration * 1000 <= at) return "skipped";
          writes.push(checked({ kind: "put", key, entry }, at));
          return "imported";
        } catch (error) {
          return onPurpose(error);
        }
      });
      if (writes.length > 0) await asked.write(writes, { now: at, atomic: false });
      return outcomes;
    },

    async migrate() {
      return (await adapter.migrate?.()) ?? [];
    },

    async ping(seconds = PING_TIMEOUT) {
      await ask<unknown>(() => (adapter.ping ? adapter.ping() : adapter.get("ready")), "", seconds);
    },

    async close() {
      await adapter.close?.();
    },
  };
}

function checkPrefix(prefix: string, maxBytes: number): void {
  if (prefix === "") return;
  try {
    checkKey(prefix, maxBytes);
  } catch (error) {
    const message = `Expected a prefix that a key can have: ${(error as Error).message}`;
    throw new KvError("invalid_request", message, { issues: [{ path: "prefix", message }] });
  }
}

function checkSize(what: "value" | "metadata", bytes: number, limit: number): void {
  if (bytes <= limit) return;
  const message = `Expected a ${what} of at most ${limit} bytes of JSON text, got ${bytes}`;
  throw new KvError("too_large", message, { issues: [{ path: what, message }] });
}

/** Random text for many versions, 6 bits a character: to ask for it is dear. */
let pool = "";

function randomVersion(): string {
  if (pool === "") pool = base64UrlOf(crypto.getRandomValues(new Uint8Array(900)));
  const version = pool.slice(0, 12);
  pool = pool.slice(12);
  return version;
}
