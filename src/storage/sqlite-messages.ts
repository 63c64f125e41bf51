/** What goes between the service's thread and the one that writes: values of one message lie in one transferred buffer. */
import { KvError, type KvErrorCode } from "../core/errors.ts";
import type { Condition, WriteOperation, WriteOptions, WriteOutcome } from "./adapter.ts";
import type { CommitCounts } from "./sqlite-counts.ts";
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
/** Of a put the length of its value too, which lies behind those before it. */
type OperationRow =
  | readonly ["get" | "delete", key: string, condition: Condition | null]
  | readonly [
      ...["put", key: string, condition: Condition | null],
      ...[metadata: string | null, expiresAt: number | null, version: string, length: number],
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
  | "close";

/** A write is done with its outcomes, a sweep with how many entries went, a read with the entry. */
export type Done = WriteOutcome[] | number | ReadEntry | null;

export type Reply = { id: number } & (
  | { done: Done }
  | { failed: { code: KvErrorCode | null; message: string; cause: string | undefined } }
);

/** Most answers are that one entry was written: of those the ids. */
export type FromWriter = "ready" | { written: number[]; replies: Reply[] };

/** Calls as a message, with copies of their values. */
export function pack(calls: readonly PackedCall[]): WriteMessage {
  let length = 0;
  for (const { operations } of calls) {
    for (const operation of operations) if (operation.kind === "put") length += operation.entry.value.length;
  }
  const values = new Uint8Array(length);
  let at = 0;
  const rows = calls.map(({ id, options, operations }): CallRow => {
    const row = (operation: WriteOperation): OperationRow => {
      const { kind, key, condition = null } = operation;
      if (kind !== "put") return [kind, key, condition];
      const { value, metadata, expiresAt, version } = operation.entry;
      values.set(value, at);
      at += value.length;
      return [kind, key, condition, metadata, expiresAt, version, value.length];
    };
    return [id, options, operations.map(row)];
  });
  return { calls: JSON.stringify(rows), values: values.buffer };
}

/** The calls of a message. */
export function unpack({ calls, values }: WriteMessage): PackedCall[] {
  let at = 0;
  const operation = (row: OperationRow): WriteOperation => {
    const condition = row[2] ?? undefined;
    if (row[0] !== "put") return { kind: row[0], key: row[1], condition };
    const [kind, key, , metadata, expiresAt, version, length] = row;
    const value = new Uint8Array(values, at, length);
    at += length;
    return { kind, key, condition, entry: { value, metadata, expiresAt, version } };
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
