/** What can be wrong about a write under a condition. */
import { type Fault, judged, under, writing } from "../wrong.ts";

const TABLE = "conditions: the whole table, on a put and on a delete, with an entry, without one, with an expired one";

/** Checks, waits, writes: what two callers do at once is checked by both before either writes. */
const checkThenWrite = writing(async (sound, operations, options) => {
  if (operations.length > 1) return sound.write(operations, options);
  const [holds] = await judged(sound, operations, options.now);
  return holds === false
    ? ["refused"]
    : sound.write(
        operations.map((operation) => under(operation, undefined)),
        options,
      );
});

export const conditionFaults: readonly Fault[] = [
  {
    fault: "an expired entry stands in the way of a create",
    make: writing(async (sound, operations, options) => sound.write(operations, { ...options, now: 0 })),
    caughtBy: TABLE,
  },
  {
    fault: "a delete ignores its condition",
    make: writing(async (sound, operations, options) =>
      sound.write(
        operations.map((operation) => (operation.kind === "delete" ? under(operation, undefined) : operation)),
        options,
      ),
    ),
    caughtBy: TABLE,
  },
  {
    fault: "of several versions only the first is compared",
    make: writing(async (sound, operations, options) =>
      sound.write(
        operations.map((operation) => {
          const { ifMatch } = operation.condition ?? {};
          if (!Array.isArray(ifMatch)) return operation;
          return under(operation, { ...operation.condition, ifMatch: ifMatch.slice(0, 1) });
        }),
        options,
      ),
    ),
    caughtBy: TABLE,
  },
  {
    fault: "a create is checked in one step and made in the next",
    make: checkThenWrite,
    caughtBy: "conditions: of 100 creates at once one wins",
  },
  {
    fault: "an update is lost between its check and its write",
    make: checkThenWrite,
    caughtBy: "conditions: 16 callers that compare and swap lose no increment",
  },
];
