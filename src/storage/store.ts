/** The only door to storage: keys, limits, expiry, versions and conditions are settled here, whatever the engine. */
import { type Condition, type Expiry, expiresAtOf, isLive, type StoredEntry } from "../core/entry.ts";
import { KvError } from "../core/errors.ts";
import { checkKey, utf8Length } from "../core/key.ts";
import { LIST_VALUE_BYTES, type Limits } from "../core/limits.ts";
import type { ListedEntry, StorageAdapter, StorageCapabilities } from "./adapter.ts";
import { decodeCursor, encodeCursor } from "./cursor.ts";

/** A value to store: checked JSON text, with when it expires. */
export interface NewEntry extends Expiry {
  value: Uint8Array;
  metadata: string | null;
}

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
  get(key: string): Promise<StoredEntry | null>;
  /** Stores an entry and answers it; throws `precondition_failed` where the condition does not hold. */
  put(key: string, entry: NewEntry, condition?: Condition): Promise<StoredEntry>;
  /** Whether there was a live entry to delete (`true` always where the engine cannot tell). */
  delete(key: string, condition?: Condition): Promise<boolean>;
  list(request: ListRequest): Promise<ListPage>;
  /** The steps that ran. */
  migrate(): Promise<string[]>;
  /** Resolves when the engine answers. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

export interface StoreOptions {
  limits: Limits;
  /** Epoch milliseconds. */
  now(): number;
  /** Makes the version of one write; 72 random bits by default. */
  version?(): string;
}

/** A store over an adapter. Everything that it throws on purpose is a `KvError`. */
export function createStore(adapter: StorageAdapter, options: StoreOptions): Store {
  const { now, version = randomVersion } = options;
  const { capabilities } = adapter;
  const limits: Limits = {
    ...options.limits,
    key: Math.min(options.limits.key, capabilities.maxKey),
    value: Math.min(options.limits.value, capabilities.maxValue),
    metadata: Math.min(options.limits.metadata, capabilities.maxMetadata),
  };

  async function writeOne(operation: Parameters<StorageAdapter["write"]>[0][number], at: number) {
    if (operation.condition !== undefined && !capabilities.conditional) {
      throw new KvError(
        "unsupported",
        `The storage engine "${adapter.engine}" has no conditional writes (capability "conditional"); leave out If-Match and If-None-Match`,
      );
    }
    const [outcome] = await adapter.write([operation], { now: at, atomic: false });
    if (outcome === "refused") {
      throw new KvError("precondition_failed", "The condition did not hold; nothing was changed");
    }
    return outcome;
  }

  return {
    engine: adapter.engine,
    capabilities,
    limits,

    async get(key) {
      const entry = await adapter.get(checkKey(key, limits.key));
      return entry !== null && isLive(entry, now()) ? entry : null;
    },

    async put(key, { value, metadata, ttl, expiration }, condition) {
      checkKey(key, limits.key);
      checkSize("value", value.length, limits.value);
      if (metadata !== null) checkSize("metadata", utf8Length(metadata), limits.metadata);
      const at = now();
      const entry: StoredEntry = {
        value,
        metadata,
        expiresAt: expiresAtOf({ ttl, expiration }, at),
        version: version(),
      };
      await writeOne({ kind: "put", key, entry, condition }, at);
      return entry;
    },

    async delete(key, condition) {
      const outcome = await writeOne({ kind: "delete", key: checkKey(key, limits.key), condition }, now());
      return outcome === "deleted" || !capabilities.reportsDelete;
    },

    async list({ prefix, limit, cursor, values }) {
      checkPrefix(prefix, limits.key);
      const at = now();
      const page = await adapter.list({
        prefix,
        limit,
        cursor: cursor === null ? null : decodeCursor(cursor, prefix),
        valueBytes: values ? LIST_VALUE_BYTES : null,
        now: at,
      });
      return {
        entries: page.entries.filter((entry) => isLive(entry, at)),
        cursor: page.cursor === null ? null : encodeCursor(page.cursor, prefix),
      };
    },

    async migrate() {
      return (await adapter.migrate?.()) ?? [];
    },

    async ping() {
      await adapter.get("ready");
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
  throw new KvError("too_large", `Expected a ${what} of at most ${limit} bytes of JSON text, got ${bytes}`);
}

function randomVersion(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_");
}
