import { KvError } from "../core/errors.ts";
import type { FoundEntry, StorageAdapter, StoredEntry, WriteOperation, WriteOutcome } from "./adapter.ts";
import { CANNOT_BE_USED, FULL, isFull, type ObjectAnswer, type ObjectMessage } from "./durable-object-class.ts";
import type { ObjectEntries } from "./durable-object-entries.ts";
import { decodeMessage, encodeMessage } from "./durable-object-message.ts";
import { OUTCOME_UNKNOWN } from "./failures.ts";

export { KvDurableObject } from "./durable-object-class.ts";

/** What is used of the binding of a Durable Object class. */
export interface DurableObjectNamespaceLike {
  idFromName(name: string): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: the id is the binding's own, of a type that is not ours
  get(id: any, options?: { locationHint?: any }): DurableObjectStubLike;
}

export interface DurableObjectStubLike {
  fetch(
    url: string,
    // biome-ignore lint/suspicious/noExplicitAny: Cloudflare's types of a body and a signal differ from the DOM's
    init: { method: string; body: any; signal: any },
  ): Promise<{ arrayBuffer(): Promise<ArrayBuffer> }>;
}

export interface DurableObjectStorageOptions {
  /** The name of the object: adapters with different namespaces see nothing of each other. Default `default`. */
  namespace?: string;
  /** Where the object is made if there is none yet, such as `weur`. Default near the first request. */
  locationHint?: string;
}

/** What the values of one message to the object take at most: that much is in its memory of 128 MB at once. */
const MESSAGE_BYTES = 33_554_432;
const ATOMIC_OPERATIONS = 10_000;
/** How long an answer may take. */
const CALL_MS = 10_000;

/**
 * Storage in a Cloudflare Durable Object with SQLite: one object for each `namespace`, which all Workers everywhere ask. It
 * does one thing after another, so that a read sees every write that was answered, conditions are exact and a batch
 * happens whole. A write is answered when the object's storage has confirmed it.
 *
 * `binding` is that of {@link KvDurableObject}. Throws a `TypeError` where it is none; rejects with `unavailable` where
 * the object cannot be reached, is overloaded or was reset, and with `storage_full` where it holds its 10 GB.
 *
 * @see https://developers.cloudflare.com/durable-objects/platform/limits/
 */
export function durableObjectStorage(
  binding: DurableObjectNamespaceLike,
  { namespace = "default", locationHint }: DurableObjectStorageOptions = {},
): StorageAdapter {
  if (typeof binding?.idFromName !== "function") {
    const got = binding == null ? "nothing" : `a ${typeof binding} of another kind`;
    throw new TypeError(
      `binding: Expected the binding of a Durable Object class, got ${got}; add it to durable_objects in wrangler.jsonc`,
    );
  }
  if (typeof namespace !== "string" || namespace === "") {
    throw new TypeError(`namespace: Expected a name, got ${JSON.stringify(namespace)}`);
  }
  const id = binding.idFromName(namespace);

  async function send(message: ObjectMessage): Promise<ObjectAnswer> {
    // A stub belongs to the request that made it, and is broken for ever by its first error.
    const stub = binding.get(id, locationHint === undefined ? {} : { locationHint });
    const signal = AbortSignal.timeout(CALL_MS);
    const response = await stub.fetch("http://object/", { method: "POST", body: encodeMessage(message), signal });
    return decodeMessage(await response.arrayBuffer()) as ObjectAnswer;
  }

  async function call<K extends keyof ObjectEntries>(
    name: K,
    ...given: Parameters<ObjectEntries[K]>
  ): Promise<ReturnType<ObjectEntries[K]>> {
    const message = { call: name, given };
    const isRead = name === "getMany" || name === "list";
    // What the object refuses or throws comes as an answer: an error is the platform's.
    const answer = await send(message)
      .catch((error) => {
        if (isRead && isPassing(error)) return send(message);
        throw error;
      })
      .catch((cause) => {
        if (isFull(cause)) throw new KvError("storage_full", FULL, { cause });
        const unknown = name === "write" ? OUTCOME_UNKNOWN : "";
        throw new KvError("unavailable", CANNOT_BE_USED + unknown, { cause });
      });
    if ("result" in answer) return answer.result as ReturnType<ObjectEntries[K]>;
    const { code, message: detail, cause } = answer.error;
    if (code === null) throw new Error(`The Durable Object failed: ${detail}`);
    throw new KvError(code, detail, cause === undefined ? {} : { cause: new Error(cause) });
  }

  return {
    engine: "durable-object",
    capabilities: {
      consistency: "strong",
      conditional: true,
      atomic: { operations: ATOMIC_OPERATIONS, bytes: MESSAGE_BYTES },
      ordered: true,
      snapshot: false,
      reportsDelete: true,
      maxKey: 65_536,
      maxValue: 26_214_400,
      maxMetadata: 65_536,
    },

    async get(key) {
      const [entry] = await call("getMany", [key], Number.MAX_SAFE_INTEGER);
      return (entry ?? null) as StoredEntry | null;
    },

    async getMany(keys, valueBytes) {
      const found: (FoundEntry | null)[] = [];
      let left = valueBytes;
      while (found.length < keys.length) {
        const part = await call("getMany", keys.slice(found.length), left);
        for (const entry of part) left -= entry?.value?.length ?? 0;
        found.push(...part);
      }
      return found;
    },

    async write(operations, options) {
      const outcomes: WriteOutcome[] = [];
      for (const part of options.atomic ? [operations] : partsOf(operations)) {
        outcomes.push(...(await call("write", part, options)));
      }
      return outcomes;
    },

    list: (query) => call("list", query),
    migrate: () => call("migrate"),
    sweep: (now, limit) => call("sweep", now, limit),
  };
}

/** Operations in their order, in parts whose values fit into one message. */
function partsOf(operations: readonly WriteOperation[]): WriteOperation[][] {
  const parts: WriteOperation[][] = [];
  let room = 0;
  for (const operation of operations) {
    const bytes = operation.kind === "put" ? operation.entry.value.length : 0;
    const part = parts.at(-1);
    if (part !== undefined && bytes <= room) part.push(operation);
    else {
      parts.push([operation]);
      room = MESSAGE_BYTES;
    }
    room -= bytes;
  }
  return parts;
}

/** Whether another try may help at once. */
function isPassing(error: unknown): boolean {
  const { retryable, durableObjectReset, overloaded, name } = error as Record<string, unknown>;
  return (retryable === true || durableObjectReset === true) && overloaded !== true && name !== "TimeoutError";
}
