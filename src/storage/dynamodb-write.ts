import { isLive } from "../core/entry.ts";
import { KvError } from "../core/errors.ts";
import type { FoundEntry, StorageAdapter, StoredEntry, WriteOperation, WriteOptions, WriteOutcome } from "./adapter.ts";
import { decide } from "./decide.ts";
import { conditionOf, entryOf, expiresAtOf, guardOf, type Item, itemOf, type Layout } from "./dynamodb-item.ts";
import type { Reads } from "./dynamodb-read.ts";
import { ATTEMPTS, backoff, type Send } from "./dynamodb-request.ts";
import { OUTCOME_UNKNOWN, unavailable } from "./failures.ts";
import { inParallel } from "./in-parallel.ts";

/** What BatchWriteItem takes: so many, and 16 MB, of which a value with all its quotes escaped is twice its own. */
const BATCH = 25;
const BATCH_BYTES = 6_000_000;
const PARALLEL = 16;
/** How often an atomic batch tries again where others are faster: for four seconds or so. */
const ATOMIC_ATTEMPTS = 16;

/** Why a transaction is cancelled that may happen the next time. */
const TRANSIENT = /^(None|ConditionalCheckFailed|TransactionConflict|ProvisionedThroughputExceeded|ThrottlingError)$/;

/** A change without a condition: what the key holds afterwards. */
type Change = readonly [key: string, entry: StoredEntry | null];

/** Operations on one key in their order, each with its place among all. */
type Group = { readonly operation: WriteOperation; readonly index: number }[];

export function writeOf(send: Send, { table, keyOf }: Layout, { find }: Reads): StorageAdapter["write"] {
  /** One operation in one request. */
  async function writeOne(operation: WriteOperation, options: WriteOptions): Promise<WriteOutcome> {
    const { now } = options;
    const guard = conditionOf(operation.condition, now);
    if (guard === null) return (await writeAtomic([operation], { ...options, atomic: true }))[0] as WriteOutcome;
    const refusal = "ConditionalCheckFailedException";
    if (operation.kind === "put") {
      const Item = itemOf(keyOf(operation.key), operation.entry, now);
      const answer = await send("PutItem", { TableName: table, Item, ...guard }, [refusal]);
      return answer.refusal === null ? "written" : "refused";
    }
    const request = { TableName: table, Key: keyOf(operation.key), ReturnValues: "ALL_OLD", ...guard };
    const answer = await send<{ Attributes: Item }>("DeleteItem", request, [refusal]);
    if (answer.refusal !== null) return "refused";
    const { Attributes: old } = answer.body;
    return old !== undefined && isLive({ expiresAt: expiresAtOf(old) }, now) ? "deleted" : "absent";
  }

  /** Changes of distinct keys, up to 25 in a request. */
  async function writeBatch(changes: readonly Change[], now: number): Promise<void> {
    let left: object[] = changes.map(([key, entry]) =>
      entry === null
        ? { DeleteRequest: { Key: keyOf(key) } }
        : { PutRequest: { Item: itemOf(keyOf(key), entry, now) } },
    );
    for (let attempt = 0; left.length > 0; attempt++) {
      if (attempt === ATTEMPTS) throw unavailable(new Error("BatchWriteItem left items unprocessed"), true);
      if (attempt > 0) await backoff(attempt);
      const request = { RequestItems: { [table]: left } };
      const { body } = await send<{ UnprocessedItems: Record<string, object[]> }>("BatchWriteItem", request);
      left = body.UnprocessedItems?.[table] ?? [];
    }
  }

  /** Each key for itself: the operations on one in their order, different keys side by side. */
  async function writeMany(operations: readonly WriteOperation[], options: WriteOptions): Promise<WriteOutcome[]> {
    const outcomes: WriteOutcome[] = [];
    const changes: Change[] = [];
    const singles: Group[] = [];
    for (const group of groupsOf(operations)) {
      // After a put without a condition all is known; what was there before changes nothing.
      if (!isBlind(group[0]?.operation)) {
        singles.push(group);
        continue;
      }
      const decision = decide(
        group.map(({ operation }) => operation),
        options,
        () => null,
      );
      group.forEach(({ index }, at) => {
        outcomes[index] = decision.outcomes[at] as WriteOutcome;
      });
      changes.push(...decision.changes);
    }
    const steps = [
      ...batchesOf(changes).map((batch) => () => writeBatch(batch, options.now)),
      ...singles.map((group) => async () => {
        for (const { operation, index } of group) outcomes[index] = await writeOne(operation, options);
      }),
    ];
    await inParallel(steps, PARALLEL, (step) => step()).catch(partly);
    return outcomes;
  }

  /** All or nothing: what was read is what is there at the moment of the write, or all begins again. */
  async function writeAtomic(operations: readonly WriteOperation[], options: WriteOptions): Promise<WriteOutcome[]> {
    const firsts = [...groupsOf(operations)].flatMap(([first]) => first?.operation ?? []);
    const consulted = firsts.filter((operation) => !isBlind(operation)).map(({ key }) => key);
    const reads = operations.filter(({ kind }) => kind === "get").length;
    const readsOnly = reads === operations.length;
    for (let attempt = 0; attempt < ATOMIC_ATTEMPTS; attempt++) {
      if (attempt > 0) await backoff(attempt);
      const stored = await (readsOnly && consulted.length > 1 ? findAtOnce(consulted) : find(consulted, reads > 0));
      if (stored === null) continue;
      const { outcomes, changes } = decide(operations, options, (key) => stored.get(key) ?? null);
      if (readsOnly || outcomes.includes("refused")) return outcomes;
      const actions = firsts.map((operation) => {
        const { key } = operation;
        const guard = isBlind(operation) ? {} : guardOf(stored.get(key) ?? null);
        const entry = changes.get(key);
        if (entry === undefined) return { ConditionCheck: { TableName: table, Key: keyOf(key), ...guard } };
        if (entry === null) return { Delete: { TableName: table, Key: keyOf(key), ...guard } };
        return { Put: { TableName: table, Item: itemOf(keyOf(key), entry, options.now), ...guard } };
      });
      if ((await transact("TransactWriteItems", actions)) !== null) return outcomes;
    }
    throw unavailable(new Error("Other writes of the same keys were always faster"));
  }

  /** The entries under up to 100 keys as of one moment; `null` where one of them was just being written. */
  async function findAtOnce(keys: readonly string[]): Promise<Map<string, FoundEntry> | null> {
    const actions = keys.map((key) => ({ Get: { TableName: table, Key: keyOf(key) } }));
    const body = await transact<{ Responses: { Item?: Item }[] }>("TransactGetItems", actions);
    if (body === null) return null;
    return new Map(
      keys.flatMap((key, index) => {
        const item = body.Responses?.[index]?.Item;
        return item === undefined ? [] : [[key, entryOf(item)] as const];
      }),
    );
  }

  /** The answer to a transaction; `null` where it was cancelled and may happen the next time. */
  async function transact<T>(action: string, TransactItems: object[]): Promise<Partial<T> | null> {
    const expected = ["TransactionCanceledException", "ValidationException"];
    const { refusal, message, body } = await send<T & Cancelled>(action, { TransactItems }, expected);
    if (refusal === null) return body;
    const reasons = body.CancellationReasons ?? [];
    if (refusal !== "ValidationException" && reasons.every(({ Code }) => TRANSIENT.test(Code))) return null;
    const said = [message, ...reasons.map(({ Message }) => Message ?? "")].join(" ").trim();
    if (/size/i.test(said)) throw tooLarge();
    throw new Error(`DynamoDB refused ${action}: ${said}`);
  }

  return async (operations, options) => {
    if (operations.length === 0) return [];
    if (options.atomic) return writeAtomic(operations, options);
    const [only] = operations;
    return operations.length === 1 && only !== undefined
      ? [await writeOne(only, options)]
      : writeMany(operations, options);
  };
}

interface Cancelled {
  CancellationReasons: { Code: string; Message?: string }[];
}

/** Whether an operation leaves the same behind whatever is there, and its outcome is known before. */
function isBlind(operation: WriteOperation | undefined): boolean {
  const { ifMatch, ifNoneMatch } = operation?.condition ?? {};
  return operation?.kind === "put" && ifMatch === undefined && ifNoneMatch === undefined;
}

function groupsOf(operations: readonly WriteOperation[]): Iterable<Group> {
  const numbered = operations.map((operation, index) => ({ operation, index }));
  return Map.groupBy(numbered, ({ operation }) => operation.key).values();
}

function batchesOf(changes: readonly Change[]): Change[][] {
  const batches: Change[][] = [];
  let bytes = 0;
  for (const change of changes) {
    const size = change[1]?.value.length ?? 0;
    const last = batches.at(-1);
    if (last !== undefined && last.length < BATCH && bytes + size <= BATCH_BYTES) {
      last.push(change);
      bytes += size;
    } else {
      batches.push([change]);
      bytes = size;
    }
  }
  return batches;
}

/** The failure of one request of several: others may have been carried out. */
function partly(error: unknown): never {
  if (!(error instanceof KvError) || error.code !== "unavailable" || error.message.endsWith(OUTCOME_UNKNOWN))
    throw error;
  throw unavailable(error.cause, true);
}

function tooLarge(): KvError {
  const message =
    "Expected an atomic batch of at most 4 MB, counting what stands under the keys that it reads or deletes";
  return new KvError("too_large", message, { issues: [{ path: "operations", message }] });
}
