/** What can be wrong about several writes together. */
import type { Condition } from "../../../src/core/entry.ts";
import type { StorageAdapter, WriteOperation, WriteOptions, WriteOutcome } from "../../../src/storage/adapter.ts";
import { type Fault, judged, puts, under, writing } from "../wrong.ts";

const IN_ORDER = "batches: operations happen in order, the same key twice too, with an outcome each";
const EACH_CONDITION = "batches: each condition sees what earlier operations left, and refuses its own operation only";
const WHOLE = "batches: an atomic one happens whole, in order";
const NOTHING = "batches: an atomic one with a condition that fails changes nothing, wherever it stands";
const READ = "batches: a read in an atomic one sees what earlier operations left, and its condition counts";

/** Each operation in a step of its own. */
async function oneByOne(sound: StorageAdapter, operations: readonly WriteOperation[], options: WriteOptions) {
  const outcomes: WriteOutcome[] = [];
  for (const operation of operations) outcomes.push(...(await sound.write([operation], options)));
  return outcomes;
}

const inSteps = writing(async (sound, operations, options) => {
  const plain = operations.every(({ condition }) => condition === undefined);
  return plain ? oneByOne(sound, operations, options) : sound.write(operations, options);
});

export const batchFaults: readonly Fault[] = [
  {
    fault: "a batch is applied from its end",
    make: writing(async (sound, operations, options) =>
      (await sound.write(operations.toReversed(), options)).toReversed(),
    ),
    caughtBy: IN_ORDER,
  },
  {
    fault: "of two operations on one key the first wins",
    make: writing(async (sound, operations, options) => {
      if (options.atomic) return sound.write(operations, options);
      const outcomes = await sound.write(operations, options);
      const first = new Map(operations.toReversed().map((operation) => [operation.key, under(operation, undefined)]));
      await sound.write([...first.values()], options);
      return outcomes;
    }),
    caughtBy: IN_ORDER,
  },
  {
    fault: "all conditions of a batch are judged before its first operation",
    make: writing(async (sound, operations, options) => {
      if (options.atomic) return sound.write(operations, options);
      const holds = await judged(sound, operations, options.now);
      const refused: Condition = { ifMatch: [] };
      return sound.write(
        operations.map((operation, index) => under(operation, holds[index] ? undefined : refused)),
        options,
      );
    }),
    caughtBy: EACH_CONDITION,
  },
  {
    fault: "a batch ends at the first condition that fails",
    make: writing(async (sound, operations, options) => {
      if (options.atomic) return sound.write(operations, options);
      const outcomes: WriteOutcome[] = [];
      for (const operation of operations) {
        const ended = outcomes.includes("refused");
        outcomes.push(...(ended ? ["refused" as const] : await sound.write([operation], options)));
      }
      return outcomes;
    }),
    caughtBy: EACH_CONDITION,
  },
  {
    fault: "a batch is applied as far as its 500th operation",
    make: writing(async (sound, operations, options) => {
      const outcomes = await sound.write(operations.slice(0, 500), options);
      return [...outcomes, ...operations.slice(500).map(() => "written" as const)];
    }),
    caughtBy: "batches: 1,000 operations",
  },
  {
    fault: "in a batch an expired entry counts",
    make: writing(async (sound, operations, options) =>
      sound.write(operations, { ...options, now: operations.length > 1 ? 0 : options.now }),
    ),
    caughtBy: "batches: an expired entry counts as none",
  },
  {
    fault: "in a batch metadata is lost",
    make: writing(async (sound, operations, options) =>
      sound.write(
        puts(operations, (entry) => (operations.length > 1 ? { ...entry, metadata: null } : entry)),
        options,
      ),
    ),
    caughtBy: "batches: each entry is kept whole, its metadata, expiry and version too",
  },
];

export const atomicFaults: readonly Fault[] = [
  {
    fault: "an atomic batch judges all conditions before its first operation",
    make: writing(async (sound, operations, options) => {
      if (!options.atomic) return sound.write(operations, options);
      const holds = await judged(sound, operations, options.now);
      if (holds.includes(false)) return holds.map((held) => (held ? "written" : "refused"));
      return sound.write(
        operations.map((operation) => under(operation, undefined)),
        options,
      );
    }),
    caughtBy: WHOLE,
  },
  {
    fault: "an atomic batch is applied as far as the condition that fails",
    make: writing(async (sound, operations, options) => {
      const outcomes = await sound.write(operations, options);
      const failed = outcomes.indexOf("refused");
      if (options.atomic && failed > 0) await sound.write(operations.slice(0, failed), options);
      return outcomes;
    }),
    caughtBy: NOTHING,
  },
  {
    fault: "an atomic batch leaves out what is refused and applies the rest",
    make: writing(async (sound, operations, options) => sound.write(operations, { ...options, atomic: false })),
    caughtBy: NOTHING,
  },
  {
    fault: "the reads of an atomic batch see what was there before it",
    make: writing(async (sound, operations, options) => {
      const before = await Promise.all(operations.map(({ key }) => sound.get(key)));
      const outcomes = await sound.write(operations, options);
      return outcomes.map((outcome, index) =>
        typeof outcome === "object" ? { found: before[index] ?? null } : outcome,
      );
    }),
    caughtBy: READ,
  },
  {
    fault: "the condition of a read is ignored",
    make: writing(async (sound, operations, options) =>
      sound.write(
        operations.map((operation) => (operation.kind === "get" ? under(operation, undefined) : operation)),
        options,
      ),
    ),
    caughtBy: READ,
  },
  {
    fault: "a reader sees half of an atomic batch",
    make: inSteps,
    caughtBy: "batches: no read sees a part of an atomic one",
  },
  {
    fault: "two atomic batches mix",
    make: inSteps,
    caughtBy: "batches: atomic ones that cross do not hinder each other",
  },
  {
    fault: "an atomic batch is split into several of 500 operations",
    make: writing(async (sound, operations, options) => [
      ...(await sound.write(operations.slice(0, 500), options)),
      ...(await sound.write(operations.slice(500), options)),
    ]),
    caughtBy: "batches: an atomic one of 1,000 operations",
  },
];
