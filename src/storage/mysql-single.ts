import { keyBytes } from "../core/key.ts";
import type { WriteOperation, WriteOutcome } from "./adapter.ts";
import { create, insert, type Put, type Result, removeLive, replace, type Statement } from "./mysql-sql.ts";

export interface Single {
  statement: Statement;
  outcome(result: Result): WriteOutcome;
}

/** The put that an operation is, where it has no condition. */
export function unconditionalPut({ kind, key, condition, ...operation }: WriteOperation, now: number): Put | undefined {
  if (kind !== "put" || condition !== undefined) return;
  return { key, entry: (operation as Put).entry, now };
}

/**
 * The one statement that is enough for an operation, with what its result means; `undefined` where none is. Without
 * `insertIds` a creation is refused by an error where something is there, be it expired.
 */
export function singleStatement(
  namespace: Uint8Array,
  operation: WriteOperation,
  now: number,
  insertIds: boolean,
): Single | undefined {
  const { kind, key, condition: { ifMatch, ifNoneMatch } = {} } = operation;
  if (kind === "get" || ifMatch?.length === 0) return;
  if (kind === "delete") {
    if (ifNoneMatch !== undefined) return;
    return {
      statement: removeLive(namespace, keyBytes(key), ifMatch ?? "*", now),
      outcome: ({ affectedRows }) => (affectedRows > 0 ? "deleted" : ifMatch === undefined ? "absent" : "refused"),
    };
  }
  const put = { key, entry: operation.entry, now };
  if (ifMatch !== undefined && ifNoneMatch === undefined) {
    return {
      statement: replace(namespace, put, ifMatch),
      outcome: ({ affectedRows }) => (affectedRows > 0 ? "written" : "refused"),
    };
  }
  if (ifMatch !== undefined || ifNoneMatch !== "*") return;
  return {
    statement: insertIds ? create(namespace, put) : insert(namespace, put),
    outcome: ({ insertId }) => (insertIds && insertId !== 0 ? "refused" : "written"),
  };
}
