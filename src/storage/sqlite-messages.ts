/** What goes between the service's thread and the one that writes: values of one message lie in one transferred buffer. */
import { KvError, type KvErrorCode } from "../core/errors.ts";
import type { StoredEntry, WriteOperation, WriteOptions, WriteOutcome } from "./adapter.ts";
import type { CommitCounts } from "./sqlite-counts.ts";

/** Some calls of `write`; each is answered by its id. */
export interface WriteMessage {
  calls: { id: number; operations: PackedOperation[]; options: WriteOptions }[];
  values: ArrayBuffer;
}

type PackedEntry = Omit<StoredEntry, "value"> & { start: number; end: number };
type PackedOperation =
  | (Omit<WriteOperation & { kind: "put" }, "entry"> & { entry: PackedEntry })
  | (WriteOperation & { kind: "get" | "delete" });

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
export type Done = WriteOutcome[] | number | StoredEntry | null;

export type Reply = { id: number } & (
  | { done: Done }
  | { failed: { code: KvErrorCode | null; message: string; cause: string | undefined } }
);

export type FromWriter = "ready" | Reply[];

/** Calls as a message, with copies of their values. */
export function pack(calls: readonly { id: number; operations: readonly WriteOperation[]; options: WriteOptions }[]) {
  let length = 0;
  for (const { operations } of calls) {
    for (const operation of operations) if (operation.kind === "put") length += operation.entry.value.length;
  }
  const values = new Uint8Array(length);
  let at = 0;
  const packed = calls.map(({ id, operations, options }) => ({
    id,
    options,
    operations: operations.map((operation): PackedOperation => {
      if (operation.kind !== "put") return operation;
      const { value, ...entry } = operation.entry;
      const start = at;
      values.set(value, start);
      at += value.length;
      return { ...operation, entry: { ...entry, start, end: at } };
    }),
  }));
  return { calls: packed, values: values.buffer } satisfies WriteMessage;
}

/** The operations of a call of a message. */
export function unpack(operations: readonly PackedOperation[], values: ArrayBuffer): WriteOperation[] {
  return operations.map((operation) => {
    if (operation.kind !== "put") return operation;
    const { start, end, ...entry } = operation.entry;
    return { ...operation, entry: { ...entry, value: new Uint8Array(values, start, end - start) } };
  });
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
