import { decoder, encoder, hexOf, sha256 } from "../core/bytes.ts";
import { isLive } from "../core/entry.ts";
import { KvError } from "../core/errors.ts";
import { utf8Length } from "../core/key.ts";
import type { ListedEntry, StorageAdapter, StoredEntry, WriteOperation } from "./adapter.ts";
import { inParallel } from "./in-parallel.ts";
import { withinBytes } from "./value-budget.ts";

/** What is used of a Workers KV binding. */
export interface KvNamespaceLike {
  getWithMetadata(key: string, type: "arrayBuffer"): Promise<{ value: ArrayBuffer | null; metadata: unknown }>;
  put(key: string, value: Uint8Array, options: { metadata: unknown; expiration?: number }): Promise<void>;
  delete(key: string): Promise<void>;
  list(options: { prefix?: string | undefined; cursor?: string | undefined; limit?: number }): Promise<{
    keys: { name: string; metadata?: unknown }[];
    list_complete: boolean;
    cursor?: string;
  }>;
}

/** What Workers KV takes, in bytes. */
const KEY_BYTES = 512;
const METADATA_BYTES = 1024;
/** How long an entry must live at least for Workers KV to take its expiry, and as long again for the way there. */
const EXPIRATION_SECONDS = 120;
/** The last expiry that the binding takes: it keeps it in 32 bits. */
const LAST_EXPIRATION = 2_147_483_647;
/** How many requests a Worker may have under way at once. */
const PARALLEL = 6;
/** How many values one page reads: a request to a Worker may ask KV 1,000 times in all. */
const VALUES_PER_PAGE = 250;
/** What a value that others wrote is taken to weigh until it is read. */
const UNKNOWN_BYTES = 1_048_576;

/**
 * Storage in a Workers KV namespace, under the keys as they are; `namespace` is the binding. KV is eventually consistent: a
 * read in another place may miss a write for a minute or more. It has no conditions and no atomic batches, and takes about
 * one write a second under one key.
 *
 * The value is KV's value; the rest is KV's metadata, `[version, expiresAt, metadata, bytes]`. KV's own expiry only tidies
 * up: it takes none under a minute, so that reads judge `expiresAt`. What others wrote (`wrangler kv key put`) is read as
 * JSON where it is JSON and as a string otherwise, without metadata and expiry.
 *
 * Rejects with `too_large` where metadata takes more than KV's 1,024 bytes with its envelope, and with `unavailable` where
 * KV refuses or fails.
 *
 * @see https://developers.cloudflare.com/kv/platform/limits/
 */
export function workersKvStorage(namespace: KvNamespaceLike): StorageAdapter {
  async function get(key: string): Promise<StoredEntry | null> {
    const { value, metadata } = await attempt(() => namespace.getWithMetadata(nameOf(key), "arrayBuffer"));
    if (value === null) return null;
    const envelope = envelopeOf(metadata);
    if (envelope === null) return foreignEntry(value);
    return { value: new Uint8Array(value), ...envelope.entry };
  }

  async function put({ key, entry }: WriteOperation & { kind: "put" }, now: number): Promise<void> {
    const { expiresAt, value } = entry;
    const soonest = Math.floor(now / 1000) + EXPIRATION_SECONDS;
    const expiration = expiresAt === null ? Infinity : Math.max(Math.ceil(expiresAt / 1000), soonest);
    const options = { metadata: metadataOf(entry), ...(expiration <= LAST_EXPIRATION && { expiration }) };
    await attempt(() => namespace.put(nameOf(key), value, options));
  }

  return {
    engine: "workers-kv",
    capabilities: {
      consistency: "eventual",
      conditional: false,
      atomic: false,
      ordered: true,
      snapshot: false,
      reportsDelete: false,
      maxKey: KEY_BYTES,
      maxValue: 26_214_400,
      maxMetadata: 900,
    },

    get,

    getMany(keys, valueBytes) {
      const within = withinBytes(valueBytes);
      return inParallel(keys, PARALLEL, async (key) => within(await get(key)));
    },

    /** KV keeps a key that it would refuse with a byte more, and metadata in an envelope. */
    check(operation) {
      if (utf8Length(nameOf(operation.key)) > KEY_BYTES) throw tooLarge("key", KEY_BYTES - 1);
      if (operation.kind !== "put") return;
      const bytes = utf8Length(JSON.stringify(metadataOf(operation.entry)));
      if (bytes > METADATA_BYTES) throw tooLarge("metadata", METADATA_BYTES);
    },

    async write(operations, { now }) {
      // Nobody can see what a later operation on the same key replaces.
      const last = new Map(operations.map((operation) => [operation.key, operation]));
      await inParallel([...last.values()], PARALLEL, async (operation) => {
        if (operation.kind === "put") await put(operation, now);
        if (operation.kind === "delete") await attempt(() => namespace.delete(nameOf(operation.key)));
      });
      return operations.map(({ kind }) => (kind === "put" ? "written" : "deleted"));
    },

    async list({ prefix, cursor, limit, valueBytes, now }) {
      const from: Position = JSON.parse(cursor ?? "{}");
      // KV's simulator finds nothing under a prefix with NUL, and an escaped key may begin as its neighbour does.
      const kvPrefix = prefix.split("\0", 1)[0];
      const page = await attempt(() =>
        namespace.list({
          prefix: kvPrefix || undefined,
          cursor: from.page,
          limit: valueBytes === null ? limit : Math.min(limit, VALUES_PER_PAGE),
        }),
      );
      const after = inOrder(from.after ?? "");
      const found = page.keys
        .map(({ name, metadata }) => ({ key: keyOf(name), ...(envelopeOf(metadata) ?? FOREIGN) }))
        .filter(({ key, entry }) => key.startsWith(prefix) && inOrder(key) > after && isLive(entry, now));
      const next = page.list_complete ? null : JSON.stringify({ page: page.cursor });
      if (valueBytes === null)
        return { entries: found.map(({ key, entry }) => ({ key, value: null, ...entry })), cursor: next };

      const count = countWithin(found, valueBytes);
      const entries = await inParallel(found.slice(0, count), PARALLEL, async ({ key }): Promise<ListedEntry[]> => {
        const entry = await get(key);
        return entry !== null && isLive(entry, now) ? [{ key, ...entry }] : [];
      });
      // KV's cursors point between its pages only. Within one the key goes along: a count would be wrong by the next write.
      const rest = count < found.length ? JSON.stringify({ page: from.page, after: found[count - 1]?.key }) : next;
      return { entries: entries.flat(), cursor: rest };
    },
  };
}

/** Where a page begins: KV's cursor, and within that page after a key. */
interface Position {
  page?: string;
  after?: string;
}

/** What sorts as KV sorts the key: by the bytes of its UTF-8. */
function inOrder(key: string): string {
  return String.fromCharCode(...encoder.encode(key));
}

/** How many of the entries a page holds that stops after the one that takes its values to `valueBytes`. */
function countWithin(found: readonly { bytes: number }[], valueBytes: number): number {
  let count = 0;
  for (let total = 0; count < found.length && total < valueBytes; count++) total += found[count]?.bytes ?? 0;
  return count;
}

interface Envelope {
  entry: Omit<StoredEntry, "value">;
  bytes: number;
}

/** An entry of others, as far as a list without its value can tell. */
const FOREIGN: Envelope = { entry: { version: "0", expiresAt: null, metadata: null }, bytes: UNKNOWN_BYTES };

function metadataOf({ version, expiresAt, metadata, value }: StoredEntry) {
  return [version, expiresAt, metadata, value.length];
}

/** What our own metadata says, or `null` for that of others. */
function envelopeOf(kvMetadata: unknown): Envelope | null {
  if (!Array.isArray(kvMetadata)) return null;
  const [version, expiresAt, metadata, bytes] = kvMetadata as unknown[];
  if (typeof version !== "string" || typeof bytes !== "number") return null;
  if (expiresAt !== null && typeof expiresAt !== "number") return null;
  if (metadata !== null && typeof metadata !== "string") return null;
  return { entry: { version, expiresAt, metadata }, bytes };
}

/** What others wrote: JSON as it is, all else as a string; its version is its digest, so that a change shows. */
async function foreignEntry(value: ArrayBuffer): Promise<StoredEntry> {
  const digest = await sha256(value);
  const text = decoder.decode(value);
  let json = text.trim();
  try {
    JSON.parse(text);
  } catch {
    json = JSON.stringify(text);
  }
  return { ...FOREIGN.entry, value: encoder.encode(json), version: hexOf(digest.subarray(0, 9)) };
}

// KV refuses the keys "." and "..". They get a NUL at their end, and so does what already looks like that, so that every
// key stays its own, in its order and under its prefixes.
function nameOf(key: string): string {
  return /^\.{1,2}\0*$/.test(key) ? `${key}\0` : key;
}

function keyOf(name: string): string {
  return /^\.{1,2}\0+$/.test(name) ? name.slice(0, -1) : name;
}

function tooLarge(path: "key" | "metadata", limit: number): KvError {
  const message = `Expected ${path} of at most ${limit} bytes in Workers KV, escapes and envelope included`;
  return new KvError("too_large", message, { issues: [{ path, message }] });
}

async function attempt<T>(step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    const message = error instanceof Error ? error.message : "";
    // The binding's errors carry their status in their text only: "KV PUT failed: 429 Too Many Requests".
    if (!/failed: (429|5\d\d)|^Network connection lost|^Too many/i.test(message)) throw error;
    throw new KvError("unavailable", "Workers KV cannot be used at the moment", { cause: error });
  }
}
