/** What goes between the service's thread and the one that writes: values of one message lie in one transferred buffer. */
import { lengthOf } from "../core/bytes.ts";
import { KvError, type KvErrorCode } from "../core/errors.ts";
import type { Condition, StoredEntry, WriteOperation, WriteOptions, WriteOutcome } from "./adapter.ts";
import type { CommitCounts } from "./sqlite-counts.ts";
import type { EntryToWrite } from "./sqlite-large.ts";
import type { ReadEntry } from "./sqlite-large-cache.ts";

/** A call of `write`, answered by its id. */
export interface PackedCall {
  id: number;
  operations: readonly WriteOperation[];
  options: WriteOptions;
}

/** Some calls: as JSON, which costs half of what objects do on their way. */
export interface WriteMessage {
  calls: string;
  values: ArrayBuffer;
}

type CallRow = readonly [id: number, options: WriteOptions, operations: readonly OperationRow[]];
/** Of a put the length of its value too, which lies behind those before it, or its stage where it has been staged. */
type OperationRow =
  | readonly ["get" | "delete", key: string, condition: Condition | null]
  | readonly [
      ...["put", key: string, condition: Condition | null],
      ...[metadata: string | null, expiresAt: number | null, version: string, length: number, stage?: number],
    ];

/** What a thread needs to begin. */
export interface WriterData {
  path: string;
  namespace: string;
  /** Whether a flush has failed, in any thread of the process. */
  stop: SharedArrayBuffer;
  /** Where it counts, for others to see. */
  commits?: CommitCounts;
}

export type ToWriter =
  | WriteMessage
  | { sweep: { id: number; now: number; limit: number } }
  | { read: { id: number; key: string } }
  | { stage: { id: number; stage: number; at: number; pieces: readonly Uint8Array[] } }
  | { endStage: { id: number; stage: number } }
  | "close";

/** What became of staged pieces, and their bytes back. */
export interface Staged {
  staged: boolean;
  parts: readonly Uint8Array[];
}

/** A write is done with its outcomes, a sweep with how many entries went, a read with the entry. */
export type Done = WriteOutcome[] | number | ReadEntry | Staged | null;

export type Reply = { id: number } & (
  | { done: Done }
  | { failed: { code: KvErrorCode | null; message: string; cause: string | undefined } }
);

/** Most answers are that one entry was written: of those the ids. */
export type FromWriter = "ready" | { written: number[]; replies: Reply[] };

/** Which stage has the value that is in these parts. */
export type Stages = WeakMap<readonly Uint8Array[], number>;

/** Calls as a message, with copies of their values but for those that are staged. */
export function pack(calls: readonly PackedCall[], stages: Stages = new WeakMap()): WriteMessage {
  // Not by name: to take `value` out of an entry in parts is to copy it.
  const partsOf = (entry: StoredEntry) => {
    if (entry.parts === undefined) return [entry.value];
    return stages.has(entry.parts) ? [] : entry.parts;
  };
  let length = 0;
  for (const { operations } of calls) {
    for (const operation of operations) if (operation.kind === "put") length += lengthOf(partsOf(operation.entry));
  }
  const values = new Uint8Array(length);
  let at = 0;
  const rows = calls.map(({ id, options, operations }): CallRow => {
    const row = (operation: WriteOperation): OperationRow => {
      const { kind, key, condition = null } = operation;
      if (kind !== "put") return [kind, key, condition];
      const { parts, metadata, expiresAt, version } = operation.entry;
      const stage = parts && stages.get(parts);
      if (stage !== undefined)
        return [kind, key, condition, metadata, expiresAt, version, lengthOf(parts ?? []), stage];
      const begin = at;
      for (const part of partsOf(operation.entry)) {
        values.set(part, at);
        at += part.length;
      }
      return [kind, key, condition, metadata, expiresAt, version, at - begin];
    };
    return [id, options, operations.map(row)];
  });
  return { calls: JSON.stringify(rows), values: values.buffer };
}

const EMPTY = new Uint8Array(0);

/** The calls of a message; `idOf` tells under which id a stage has written. */
export function unpack({ calls, values }: WriteMessage, idOf: (stage: number) => number = () => 0): PackedCall[] {
  let at = 0;
  const operation = (row: OperationRow): WriteOperation => {
    const condition = row[2] ?? undefined;
    if (row[0] !== "put") return { kind: row[0], key: row[1], condition };
    const [kind, key, , metadata, expiresAt, version, length, stage] = row;
    const rest = { metadata, expiresAt, version };
    if (stage !== undefined) {
      const entry: EntryToWrite = { value: EMPTY, staged: { id: idOf(stage), bytes: length }, ...rest };
      return { kind, key, condition, entry };
    }
    const value = new Uint8Array(values, at, length);
    at += length;
    return { kind, key, condition, entry: { value, ...rest } };
  };
  const rows: CallRow[] = JSON.parse(calls);
  return rows.map(([id, options, operations]) => ({ id, options, operations: operations.map(operation) }));
}

/** An error as it can be sent: classes do not survive. */
export function failureText(error: unknown) {
  const { message = String(error), stack, cause } = error as Partial<Error>;
  const why = error instanceof KvError ? cause : stack;
  return {
    code: error instanceof KvError ? error.code : null,
    message,
    cause: why === undefined ? undefined : String((why as Partial<Error>).stack ?? why),
  };
}

export function failureFrom({ code, message, cause }: ReturnType<typeof failureText>): Error {
  const reason = cause === undefined ? {} : { cause: Object.assign(new Error(cause), { stack: cause }) };
  return code === null ? new Error(message, reason) : new KvError(code, message, reason);
}
