import { assert, assertEqual } from "./assert.ts";
import type { ConformanceTest } from "./conformance.ts";
import { needsConditions } from "./needs.ts";
import { type Subject, type SubjectOperation, storedEntry } from "./subject.ts";

/** The values under keys, `null` where there is none. */
export async function texts(subject: Subject, keys: readonly string[]): Promise<(string | null)[]> {
  return (await subject.getMany(keys)).map((entry) => entry?.text ?? null);
}

export const put = (key: string, text: string): SubjectOperation => ({ kind: "put", key, text });
export const create = (key: string, text: string): SubjectOperation => ({
  ...put(key, text),
  condition: { ifNoneMatch: "*" },
});

export const batchTests: readonly ConformanceTest[] = [
  {
    name: "batches: operations happen in order, the same key twice too, with an outcome each",
    async run(subject) {
      await subject.put("a", "0");
      const outcomes = await subject.write?.(
        [put("a", "1"), { kind: "delete", key: "a" }, put("b", "2"), { kind: "delete", key: "c" }, put("b", "3")],
        { atomic: false },
      );
      if (outcomes === undefined) return;
      const absent = subject.capabilities.reportsDelete ? "absent" : "deleted";
      assertEqual(outcomes, ["written", "deleted", "written", absent, "written"], "The outcomes");
      assertEqual(await texts(subject, ["a", "b", "c"]), [null, "3", null], "The values");
      assertEqual(await subject.write?.([], { atomic: false }), [], "The outcomes of no operations");
    },
  },
  {
    name: "batches: each condition sees what earlier operations left, and refuses its own operation only",
    skip: needsConditions,
    async run(subject) {
      const outcomes = await subject.write?.(
        [create("a", "1"), create("a", "2"), put("b", "1"), { kind: "delete", key: "a" }, create("a", "3")],
        { atomic: false },
      );
      if (outcomes === undefined) return;
      assertEqual(outcomes, ["written", "refused", "written", "deleted", "written"], "The outcomes");
      assertEqual(await texts(subject, ["a", "b"]), ["3", "1"], "The values");
    },
  },
  {
    name: "batches: 1,000 operations",
    async run(subject) {
      const keys = Array.from({ length: 1000 }, (_, index) => `k${index}`);
      const outcomes = await subject.write?.(
        keys.map((key, index) => put(key, `${index}`)),
        { atomic: false },
      );
      if (outcomes === undefined) return;
      assert(outcomes.length === 1000 && outcomes.every((outcome) => outcome === "written"), "Not all were written");
      assertEqual(
        await texts(subject, keys),
        keys.map((_, index) => `${index}`),
        "The values",
      );
    },
  },
  {
    name: "batches: an expired entry counts as none",
    async run(subject) {
      const expiresAt = subject.clock.now + 1000;
      for (const key of ["a", "b"]) await subject.put(key, "0", { expiresAt });
      subject.clock.now = expiresAt;
      const { conditional, reportsDelete } = subject.capabilities;
      const outcomes = await subject.write?.(
        [conditional ? create("a", "1") : put("a", "1"), { kind: "delete", key: "b" }],
        { atomic: false },
      );
      if (outcomes === undefined) return;
      assertEqual(outcomes, ["written", reportsDelete ? "absent" : "deleted"], "The outcomes");
      assertEqual(await texts(subject, ["a", "b"]), ["1", null], "The values");
    },
  },
  {
    name: "batches: each entry is kept whole, its metadata, expiry and version too",
    async run(subject) {
      const { adapter, clock } = subject;
      if (adapter === undefined) return;
      const first = { metadata: `{"m":1}`, expiresAt: clock.now + 90_000, version: "first" };
      const second = { metadata: null, expiresAt: null, version: "second" };
      for (const atomic of adapter.capabilities.atomic === false ? [false] : [false, true]) {
        await adapter.write(
          [
            { kind: "put", key: "a", entry: storedEntry("1", first) },
            { kind: "put", key: "b", entry: storedEntry("2", second) },
          ],
          { now: clock.now, atomic },
        );
        const expected = [
          { text: "1", ...first },
          { text: "2", ...second },
        ];
        assertEqual([await subject.get("a"), await subject.get("b")], expected, "The entries");
      }
    },
  },
];
