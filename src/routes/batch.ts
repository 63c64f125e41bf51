import type { Principal } from "../auth/principal.ts";
import { KvError } from "../core/errors.ts";
import type { JsonScannerOptions } from "../core/json-scanner.ts";
import { BATCH_BYTES, BATCH_OVERHEAD_BYTES, type Limits } from "../core/limits.ts";
import type { BatchResult } from "../storage/batch.ts";
import type { BatchOperation, Store } from "../storage/store.ts";
import { checkJsonType, newEntry, putBody, type RequestBody, readBody } from "./body.ts";
import { parseCondition } from "./conditions.ts";
import { attributes, ENTRY_OPEN, type Piece, refusal, text } from "./respond.ts";
import { type KvContext, permit } from "./route.ts";
import { BATCH_BODY, type BatchBody, type BatchItem, parse } from "./schema.ts";

/** `POST` of several operations, each with an answer of its own. */
export async function batch(c: KvContext): Promise<Response> {
  const { store, principal } = c.var;
  checkJsonType(c);
  return text(c, await runBody(store, principal, await readBody(c, batchBody(store.limits))));
}

/** How the body of a batch is read. */
export function batchBody(limits: Limits): JsonScannerOptions & { maxBytes: number } {
  return { ...putBody(limits), levels: 3, ownBytes: BATCH_OVERHEAD_BYTES, maxBytes: BATCH_BYTES };
}

/** Does what the body of a batch says, for whom it is allowed, and makes the data of its answer. */
export async function runBody(store: Store, principal: Principal, { body, text }: RequestBody): Promise<Piece[]> {
  checkCount(body, store.limits.batch);
  const { operations: items, atomic = false } = parse<BatchBody>(BATCH_BODY, body);
  if (items.some(({ op }) => op !== "get")) permit(principal, "write");
  const operations = items.map((item, index) => operationOf(item, index, text));
  return resultPieces(await store.batch(operations, { atomic }));
}

/** Before the schema, which would look at each of them. */
function checkCount(body: unknown, limit: number): void {
  const { operations } = Object(body) as { operations?: unknown };
  if (!Array.isArray(operations) || operations.length <= limit) return;
  throw new KvError("too_large", `Expected at most ${limit} operations in a batch, got ${operations.length}`);
}

function operationOf(item: BatchItem, index: number, textOf: RequestBody["text"]): BatchOperation {
  const { op: kind, key, ifMatch, ifNoneMatch } = item;
  const name = `operations.${index}.if`;
  const condition =
    (ifMatch ?? ifNoneMatch) === undefined
      ? undefined
      : parseCondition({ name: `${name}Match`, field: ifMatch }, { name: `${name}NoneMatch`, field: ifNoneMatch });
  return kind === "put" ? { kind, key, condition, entry: newEntry(item, textOf) } : { kind, key, condition };
}

/** The single routes' answers to the operations, as a list; a put leaves its value out. */
function resultPieces(results: readonly BatchResult[]): Piece[] {
  const pieces: Piece[] = [];
  let run = "[";
  let comma = "";
  for (const result of results) {
    run += comma;
    comma = ",";
    if (result.kind === "failed") {
      run += JSON.stringify(refusal(result.error));
    } else if (result.kind === "deleted") {
      run += `${ENTRY_OPEN}${result.existed}}`;
    } else {
      const { kind, entry } = result;
      run += kind === "unchanged" ? '{"status":304,"success":true,"data":' : ENTRY_OPEN;
      if (kind === "entry" && entry.value !== null) {
        pieces.push(run, entry.value);
        run = "";
      } else run += "null";
      run += `${kind === "unchanged" ? "" : attributes(entry)},"etag":"\\"${entry.version}\\""}`;
    }
  }
  pieces.push(`${run}]`);
  return pieces;
}
