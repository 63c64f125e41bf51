import type { Condition } from "../core/entry.ts";
import { assert, assertEqual, assertRejects } from "./assert.ts";
import type { ConformanceTest } from "./conformance.ts";
import { needsConditions as skip } from "./needs.ts";
import type { Subject } from "./subject.ts";

/** What holds for a key: [condition, with an entry of version V there, with none]. */
function conditionTable(version: string): [Condition, boolean, boolean][] {
  return [
    [{}, true, true],
    [{ ifMatch: "*" }, true, false],
    [{ ifMatch: [version] }, true, false],
    [{ ifMatch: ["other", version] }, true, false],
    [{ ifMatch: ["other"] }, false, false],
    [{ ifMatch: [] }, false, false],
    [{ ifNoneMatch: "*" }, false, true],
    [{ ifNoneMatch: [version] }, false, true],
    [{ ifNoneMatch: ["other", version] }, false, true],
    [{ ifNoneMatch: ["other"] }, true, true],
    [{ ifNoneMatch: [] }, true, true],
    [{ ifMatch: "*", ifNoneMatch: ["other"] }, true, false],
    [{ ifMatch: [version], ifNoneMatch: "*" }, false, false],
    [{ ifMatch: ["other"], ifNoneMatch: ["other"] }, false, false],
  ];
}

/** Tries a write under a condition and checks that it happened, or that it was refused and nothing changed. */
async function attempt(subject: Subject, kind: "put" | "delete", condition: Condition, holds: boolean): Promise<void> {
  const what = `${kind} under ${JSON.stringify(condition)}`;
  const before = await subject.get("k");
  const write = kind === "put" ? subject.put("k", `"new"`, { condition }) : subject.delete("k", { condition });
  if (holds) {
    const refused = await write.then(
      () => false,
      (error: { code?: unknown }) => error.code === "precondition_failed" || Promise.reject(error),
    );
    assert(!refused, `A ${what} was refused`);
  } else await assertRejects(write, "precondition_failed", what);
  const after = await subject.get("k");
  if (!holds) assertEqual(after, before, `The entry after a refused ${what}`);
  else assertEqual(after?.text ?? null, kind === "put" ? `"new"` : null, `The value after a ${what}`);
}

export const conditionTests: readonly ConformanceTest[] = [
  {
    name: "conditions: the whole table, on a put and on a delete, with an entry, without one, with an expired one",
    skip,
    async run(subject) {
      for (const kind of ["put", "delete"] as const) {
        for (let row = 0; row < conditionTable("").length; row++) {
          for (const there of [true, false]) {
            await subject.delete("k");
            const version = await subject.put("k", "1", there ? {} : { expiresAt: subject.clock.now + 60_000 });
            if (!there) subject.clock.now += 60_000;
            const [condition, withEntry, without] = conditionTable(version)[row] as [Condition, boolean, boolean];
            await attempt(subject, kind, condition, there ? withEntry : without);
            if (there) continue;
            await subject.delete("k");
            await attempt(subject, kind, condition, without);
          }
        }
      }
    },
  },
  {
    name: "conditions: of 100 creates at once one wins",
    skip,
    async run(subject) {
      const creates = Array.from({ length: 100 }, (_, index) =>
        subject.put("k", `${index}`, { condition: { ifNoneMatch: "*" } }),
      );
      const outcomes = await Promise.allSettled(creates);
      const winners = outcomes.flatMap(({ status }, index) => (status === "fulfilled" ? [index] : []));
      assertEqual(winners.length, 1, "Winners");
      assertEqual((await subject.get("k"))?.text, `${winners[0]}`, "The value");
      for (const outcome of outcomes) {
        if (outcome.status === "rejected") assertEqual(outcome.reason?.code, "precondition_failed", "A loser's error");
      }
    },
  },
  {
    name: "conditions: 16 callers that compare and swap lose no increment",
    skip,
    async run(subject) {
      await subject.put("n", "0");
      const increment = async () => {
        for (let attempts = 0; attempts < 1000; attempts++) {
          const entry = await subject.get("n");
          assert(entry !== null, "The counter is missing");
          const swap = subject.put("n", `${Number(entry.text) + 1}`, { condition: { ifMatch: [entry.version] } });
          const error = await swap.then(
            () => null,
            (reason: { code?: unknown }) => reason,
          );
          if (error === null) return;
          if (error.code !== "precondition_failed") throw error;
        }
        assert(false, "A caller never got its turn");
      };
      await Promise.all(
        Array.from({ length: 16 }, async () => {
          for (let turn = 0; turn < 8; turn++) await increment();
        }),
      );
      assertEqual((await subject.get("n"))?.text, "128", "The counter");
    },
  },
  {
    name: "conditions: an engine without them refuses and changes nothing",
    skip: ({ conditional }) => conditional && "The engine has them",
    async run(subject) {
      await assertRejects(
        subject.put("k", "1", { condition: { ifNoneMatch: "*" } }),
        "unsupported",
        "A conditional put",
      );
      assertEqual(await subject.get("k"), null, "The value after a refused put");
      await subject.put("k", "1");
      await assertRejects(subject.delete("k", { condition: { ifMatch: "*" } }), "unsupported", "A conditional delete");
      assertEqual((await subject.get("k"))?.text, "1", "The value after a refused delete");
    },
  },
];
