import { type Condition, isLive } from "../core/entry.ts";
import { KvError } from "../core/errors.ts";
import { LIST_VALUE_BYTES } from "../core/limits.ts";
import type {
  FoundEntry,
  ListedEntry,
  StorageAdapter,
  StorageCapabilities,
  StoredEntry,
  WriteOperation,
  WriteOutcome,
} from "../storage/adapter.ts";
import { assert } from "./assert.ts";

/** An entry as a {@link Subject} shows it: the value as its JSON text. */
export interface SubjectEntry {
  text: string;
  metadata: string | null;
  /** Epoch milliseconds, or `null` for never. */
  expiresAt: number | null;
  version: string;
}

export interface SubjectListed extends Omit<SubjectEntry, "text"> {
  key: string;
  /** `null` where values were not asked for. */
  text: string | null;
}

/** A batch's operation, with the value as its JSON text. */
export type SubjectOperation =
  | { kind: "put"; key: string; text: string; condition?: Condition | undefined }
  | { kind: "delete" | "get"; key: string; condition?: Condition | undefined };

/** What became of it; a read answers the text that it found. */
export type SubjectOutcome = Exclude<WriteOutcome, object> | { found: string | null };

/**
 * What the conformance suite drives: an adapter ({@link adapterSubject}), a store, or a client over HTTP. It must be empty
 * at first. What it refuses, it rejects with an error whose `code` is that of a `KvError`.
 */
export interface Subject {
  readonly capabilities: StorageCapabilities;
  /** `false` where a value passes through `JSON.parse` on the way: then texts are compared as values. */
  readonly exact: boolean;
  /** What the subject takes for the present, in epoch milliseconds; the tests move it forward. */
  readonly clock: { now: number };
  get(key: string): Promise<SubjectEntry | null>;
  getMany(keys: readonly string[]): Promise<(SubjectEntry | null)[]>;
  /** Answers the version. */
  put(key: string, text: string, options?: SubjectPutOptions): Promise<string>;
  delete(key: string, options?: { condition?: Condition }): Promise<boolean>;
  /** A page with values stops after the entry that takes them to 10 MiB. */
  list(query: SubjectQuery): Promise<{ entries: SubjectListed[]; cursor: string | null }>;
  /** A batch. The tests of batches pass at once where it is missing. */
  write?(operations: readonly SubjectOperation[], options: { atomic: boolean }): Promise<SubjectOutcome[]>;
  /** What is driven, for the promises that only an adapter makes. Their tests pass at once where it is missing. */
  readonly adapter?: StorageAdapter;
}

export interface SubjectPutOptions {
  metadata?: string;
  expiresAt?: number;
  condition?: Condition;
}

export interface SubjectQuery {
  prefix?: string;
  limit?: number;
  cursor?: string;
  values?: boolean;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A subject that drives an adapter as the store does, so that the suite needs nothing else. */
export function adapterSubject(adapter: StorageAdapter, clock: { now: number }): Subject {
  let writes = 0;

  function operationOf(operation: SubjectOperation, options: SubjectPutOptions = {}): WriteOperation {
    if (operation.kind !== "put") return operation;
    const { key, text, condition } = operation;
    return { kind: "put", key, condition, entry: storedEntry(text, { ...options, version: `v${++writes}` }) };
  }

  async function writeOne(operation: WriteOperation): Promise<string> {
    adapter.check?.(operation);
    if (operation.condition !== undefined && !adapter.capabilities.conditional) throw unsupported("conditional");
    const [outcome] = await adapter.write([operation], { now: clock.now, atomic: false });
    if (outcome === "refused") throw new KvError("precondition_failed", "The condition did not hold");
    return outcome as string;
  }

  function live(entry: FoundEntry | null): SubjectEntry | null {
    if (entry === null || !isLive(entry, clock.now)) return null;
    const { value, metadata, expiresAt, version } = entry;
    assert(value !== null, "A value was left out that fits");
    return { text: decoder.decode(value), metadata, expiresAt, version };
  }

  return {
    capabilities: adapter.capabilities,
    exact: true,
    clock,
    get: async (key) => live(await adapter.get(key)),
    async getMany(keys) {
      const entries = await (adapter.getMany?.(keys, Number.MAX_SAFE_INTEGER) ??
        Promise.all(keys.map((key) => adapter.get(key))));
      return entries.map(live);
    },
    async put(key, text, { condition, ...options } = {}) {
      const operation = operationOf({ kind: "put", key, text, condition }, options);
      await writeOne(operation);
      return operation.kind === "put" ? operation.entry.version : "";
    },
    async delete(key, { condition } = {}) {
      return (await writeOne({ kind: "delete", key, condition })) === "deleted";
    },
    async list({ prefix = "", limit = 1000, cursor, values = false }) {
      const valueBytes = values ? LIST_VALUE_BYTES : null;
      const page = await adapter.list({ prefix, limit, cursor: cursor ?? null, valueBytes, now: clock.now });
      return { entries: page.entries.map(listed), cursor: page.cursor };
    },
    async write(operations, { atomic }) {
      if (atomic && adapter.capabilities.atomic === false) throw unsupported("atomic");
      if (!adapter.capabilities.conditional && operations.some(({ condition }) => condition !== undefined)) {
        throw unsupported("conditional");
      }
      const given = operations.map((operation) => operationOf(operation));
      for (const operation of given) adapter.check?.(operation);
      const outcomes = await adapter.write(given, { now: clock.now, atomic, valueBytes: Number.MAX_SAFE_INTEGER });
      return outcomes.map((outcome) =>
        typeof outcome === "string" ? outcome : { found: live(outcome.found)?.text ?? null },
      );
    },
    adapter,
  };
}

/** An entry as an adapter is given it. */
export function storedEntry(
  text: string,
  {
    metadata = null,
    expiresAt = null,
    version,
  }: { metadata?: string | null; expiresAt?: number | null; version: string },
): StoredEntry {
  return { value: view(text), metadata, expiresAt, version };
}

function listed({ value, ...entry }: ListedEntry): SubjectListed {
  return { ...entry, text: value === null ? null : decoder.decode(value) };
}

/** Bytes in the middle of a longer buffer, as they come out of a request's body. */
function view(text: string): Uint8Array {
  const bytes = encoder.encode(text);
  const buffer = new Uint8Array(bytes.length + 6).fill(0x21);
  buffer.set(bytes, 3);
  return buffer.subarray(3, 3 + bytes.length);
}

function unsupported(capability: string): KvError {
  return new KvError("unsupported", `This storage engine lacks the capability "${capability}"`);
}
