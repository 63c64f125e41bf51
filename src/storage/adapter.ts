/**
 * The contract of a storage engine. An adapter is a factory that returns such an object: `memoryStorage(): StorageAdapter`.
 *
 * An adapter keeps what it is given and decides nothing: keys are valid and in bounds, values and metadata are checked
 * JSON text, times are absolute, and the `Store` has already refused what the capabilities exclude. It never parses JSON,
 * never reads a clock and never sees an option of the service.
 */
import type { Condition, StoredEntry } from "../core/entry.ts";

export type { Condition, StoredEntry } from "../core/entry.ts";

/**
 * A value now or later: an engine in the same process need not wait.
 *
 * What the engine itself cannot do at the moment, a connection that is lost or a server that is down, rejects with a
 * `KvError` `unavailable`. The store waits for an answer for `limits.storageTimeout`; the adapter sees to it that every
 * call ends some time, for the store counts those that have not and asks no more than so many at once.
 */
export type Awaitable<T> = T | Promise<T>;

export interface StorageAdapter {
  /** The engine's name, as `/admin/info` shows it: `sqlite`. */
  readonly engine: string;
  readonly capabilities: StorageCapabilities;

  /** The entry under a key, whether it has expired or not (the store decides), or `null`. */
  get(key: string): Awaitable<StoredEntry | null>;

  /**
   * The entries under several keys, in their order, as `get` has them. Values are included as long as all of them together
   * take at most `valueBytes`; one that would not fit is left out (`value: null`). Left out, the store calls `get` for each.
   */
  getMany?(keys: readonly string[], valueBytes: number): Awaitable<(FoundEntry | null)[]>;

  /**
   * Applies operations in their order, each with its own condition, evaluated against what lives at `options.now` and what
   * earlier operations left. Answers one outcome an operation once they are durable. With `atomic`, either every condition
   * holds and all are applied, or nothing is, and at least one outcome is `"refused"`. Reads (`get`) come with `atomic` only
   * and see the same moment.
   */
  write(operations: readonly WriteOperation[], options: WriteOptions): Awaitable<WriteOutcome[]>;

  /** Takes the bytes of one large value while they arrive, before it is written; `null` where that cannot be had now. */
  stage?(): Stage | null;

  /** Throws `too_large` where the engine has no room for an operation that its `max…` allow: before anything is done. */
  check?(operation: WriteOperation): void;

  /** One page of keys, live at `query.now`. */
  list(query: ListQuery): Awaitable<ListResult>;

  /** What a walk sees that is to show one moment, whatever is written meanwhile; it is closed when the walk has ended. */
  snapshot?(): Awaitable<StorageView>;

  /**
   * Creates or upgrades what the engine needs and names the steps that ran; safe when called twice at once, by several
   * instances too. An adapter does so by itself before its first answer (`migrateFirst`). Throws `unavailable` where a
   * newer version has made what is there.
   */
  migrate?(): Awaitable<string[]>;

  /** Removes up to `limit` entries that expired at or before `now`, in one short step, and says how many went. */
  sweep?(now: number, limit: number): Awaitable<number>;

  /** Resolves when the engine answers. Left out, the store reads a key. */
  ping?(): Awaitable<void>;

  /** What it has counted since it was made, for `/admin/metrics`. */
  counts?(): StorageCounts;

  /** Ends connections and files. Nothing is called afterwards. */
  close?(): Awaitable<void>;
}

/**
 * A value on its way to the engine, seen by nobody. What comes of it is decided by the `write` of an entry that has it as its
 * `parts`; that takes only as long as a short one, where all of it has been staged.
 */
export interface Stage {
  /**
   * Takes pieces, the first of which has the number `at`, and resolves with the same bytes in buffers that may be others:
   * those that were given are empty from then on. Rejects where they are lost.
   */
  add(at: number, pieces: readonly Uint8Array[]): Promise<readonly Uint8Array[]>;
  /** After the last `add` has resolved: all pieces, which have been added by their numbers. */
  stands(parts: readonly Uint8Array[]): void;
  /** Once nobody writes it any more: what was not written is forgotten. */
  end(): void;
}

/** Counts that only the engine itself can take; they never fall. */
export interface StorageCounts {
  /**
   * How many calls of `write` shared one commit: the number at index `n` is that of the commits of up to 2^n calls and of
   * more than 2^(n-1); the last is that of all that are larger. `calls` is how many calls there were.
   */
  readonly commits?: { readonly groups: readonly number[]; readonly calls: number };
  /** Reads that a cache of its own has answered, and those that it has not. */
  readonly cache?: { readonly hits: number; readonly misses: number };
}

/** One moment of a storage. */
export interface StorageView {
  list(query: ListQuery): Awaitable<ListResult>;
  close(): Awaitable<void>;
}

/** What an engine can do, as data. The store refuses the rest with `unsupported` before the adapter is called. */
export interface StorageCapabilities {
  /** `eventual`: a read may for a while miss a write that was answered. The store passes it on; callers must know. */
  readonly consistency: "strong" | "eventual";
  /** Whether conditions are checked and applied in one step. `false`: the store refuses every conditional write. */
  readonly conditional: boolean;
  /** How much one atomic `write` may hold; `false`: the store refuses every atomic batch. */
  readonly atomic: false | { readonly operations: number; readonly bytes: number };
  /** Whether `list` gives keys in the byte order of UTF-8. Otherwise in an order of the engine's own. */
  readonly ordered: boolean;
  /** Whether there is `snapshot`, so that an export shows one moment; it says so where it does not. */
  readonly snapshot: boolean;
  /** Whether a delete knows if there was something to delete. `false`: the store answers `true` always. */
  readonly reportsDelete: boolean;
  /** The longest key, value and metadata in bytes; the store refuses more with `too_large`. */
  readonly maxKey: number;
  readonly maxValue: number;
  readonly maxMetadata: number;
}

export type WriteOperation =
  | {
      readonly kind: "put";
      readonly key: string;
      readonly entry: StoredEntry;
      readonly condition?: Condition | undefined;
    }
  | { readonly kind: "delete"; readonly key: string; readonly condition?: Condition | undefined }
  | { readonly kind: "get"; readonly key: string; readonly condition?: Condition | undefined };

export interface WriteOptions {
  /** Epoch milliseconds: what expired by then counts as absent. */
  readonly now: number;
  readonly atomic: boolean;
  /** For the values of all its reads together, as in `getMany`; 0 where there are none. */
  readonly valueBytes?: number;
}

/** `refused`: the condition did not hold. `absent`: nothing live was there to delete. A read answers what it found. */
export type WriteOutcome = "written" | "deleted" | "absent" | "refused" | { readonly found: FoundEntry | null };

/** An entry whose value may have been left out for its size. */
export interface FoundEntry extends Omit<StoredEntry, "value"> {
  readonly value: Uint8Array | null;
}

export interface ListQuery {
  /** Only keys that begin with these very characters; empty for all. */
  readonly prefix: string;
  /** Where the page before ended, in the adapter's own words, or `null` for the first page. */
  readonly cursor: string | null;
  /** How many entries the page may hold, at least 1. It may hold fewer, even none. */
  readonly limit: number;
  /**
   * `null`: values are left out. Otherwise they are included, and the page also stops after the entry that takes the
   * values to this many bytes or more.
   */
  readonly valueBytes: number | null;
  readonly now: number;
}

export interface ListedEntry extends FoundEntry {
  readonly key: string;
}

export interface ListResult {
  readonly entries: ListedEntry[];
  /** What the next page takes as its `cursor`, or `null` where the walk has ended. */
  readonly cursor: string | null;
}
