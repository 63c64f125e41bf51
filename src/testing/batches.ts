import type { StorageCapabilities } from "../storage/adapter.ts";
import { assert, assertEqual, assertRejects } from "./assert.ts";
import type { ConformanceTest } from "./conformance.ts";
import type { Subject, SubjectOperation } from "./subject.ts";

const needsConditions = ({ conditional }: StorageCapabilities) => !conditional && `The engine has no "conditional"`;

/** Why an engine need not pass a test of atomic batches of so many operations. */
function needsAtomic(operations: number) {
  return ({ atomic }: StorageCapabilities) =>
    (atomic === false && `The engine has no "atomic"`) ||
    (atomic !== false &&
      atomic.operations < operations &&
      `The engine has "atomic" for ${atomic.operations} operations`);
}

async function texts(subject: Subject, keys: readonly string[]): Promise<(string | null)[]> {
  return (await subject.getMany(keys)).map((entry) => entry?.text ?? null);
}

const put = (key: string, text: string): SubjectOperation => ({ kind: "put", key, text });
const create = (key: string, text: string): SubjectOperation => ({
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
    name: "batches: an atomic one happens whole, in order",
    skip: needsAtomic(5),
    async run(subject) {
      const operations = [
        create("a", "1"),
        put("a", "2"),
        put("b", "1"),
        { kind: "delete" as const, key: "b" },
        create("b", "4"),
      ];
      const outcomes = await subject.write?.(operations, { atomic: true });
      if (outcomes === undefined) return;
      assertEqual(outcomes, ["written", "written", "written", "deleted", "written"], "The outcomes");
      assertEqual(await texts(subject, ["a", "b"]), ["2", "4"], "The values");
    },
  },
  {
    name: "batches: a read in an atomic one sees what earlier operations left, and its condition counts",
    skip: needsAtomic(6),
    async run(subject) {
      if (subject.write === undefined) return;
      const version = await subject.put("a", "1");
      const get = (key: string, condition?: { ifMatch: string[] }): SubjectOperation => ({
        kind: "get",
        key,
        condition,
      });
      const operations = [
        get("a", { ifMatch: [version] }),
        put("a", "2"),
        get("a"),
        { kind: "delete" as const, key: "a" },
      ];
      const outcomes = await subject.write([...operations, get("a"), get("none")], { atomic: true });
      const expected = [{ found: "1" }, "written", { found: "2" }, "deleted", { found: null }, { found: null }];
      assertEqual(outcomes, expected, "The outcomes");
      const refused = await subject.write([put("b", "1"), get("none", { ifMatch: [version] })], { atomic: true });
      assert(refused.includes("refused"), `No outcome says "refused"`);
      assertEqual(await subject.get("b"), null, "The value after a read whose condition failed");
    },
  },
  {
    name: "batches: an atomic one with a condition that fails changes nothing, wherever it stands",
    skip: needsAtomic(4),
    async run(subject) {
      if (subject.write === undefined) return;
      await subject.put("there", "0");
      await subject.put("other", "0", { metadata: `"m"` });
      const before = await subject.getMany(["there", "other", "new"]);
      const sound: SubjectOperation[] = [put("other", "1"), put("new", "1"), { kind: "delete", key: "there" }];
      for (let at = 0; at <= 2; at++) {
        const outcomes = await subject.write(sound.toSpliced(at, 0, create("there", "2")), { atomic: true });
        assert(outcomes.includes("refused"), `No outcome says "refused": ${outcomes}`);
        assertEqual(await subject.getMany(["there", "other", "new"]), before, "The entries after a refused batch");
        assertEqual((await subject.list({})).entries.length, 2, "The entries listed after a refused batch");
      }
    },
  },
  {
    name: "batches: no read sees a part of an atomic one",
    skip: needsAtomic(3),
    async run(subject) {
      if (subject.write === undefined) return;
      const keys = ["a", "b", "c"];
      const write = (turn: number) =>
        subject.write?.(
          keys.map((key) => put(key, `${turn}`)),
          { atomic: true },
        );
      await write(0);
      const pending: Promise<unknown>[] = [];
      for (let turn = 1; turn <= 40; turn++) {
        pending.push(
          Promise.resolve(write(turn)),
          texts(subject, keys).then((seen) => assertEqual(new Set(seen).size, 1, `Distinct values in ${seen}`)),
        );
        if (turn % 4 === 0) await pending.at(-1);
      }
      await Promise.all(pending);
    },
  },
  {
    name: "batches: atomic ones that cross do not hinder each other",
    skip: needsAtomic(8),
    async run(subject) {
      if (subject.write === undefined) return;
      const keys = Array.from({ length: 8 }, (_, index) => `k${index}`);
      const batches = Array.from({ length: 16 }, (_, turn) => {
        const order = turn % 2 === 0 ? keys : keys.toReversed();
        return subject.write?.(
          order.map((key) => put(key, `${turn}`)),
          { atomic: true },
        );
      });
      for (const outcomes of await Promise.all(batches)) assertEqual(outcomes?.length, 8, "Outcomes");
      assertEqual(new Set(await texts(subject, keys)).size, 1, "Distinct values");
    },
  },
  {
    name: "batches: an atomic one of 1,000 operations",
    skip: needsAtomic(1000),
    async run(subject) {
      if (subject.write === undefined) return;
      const operations = Array.from({ length: 1000 }, (_, index) => create(`k${index}`, `${index}`));
      assertEqual((await subject.write(operations, { atomic: true })).length, 1000, "Outcomes");
      const again = [put("fresh", "1"), ...operations.slice(0, 999)];
      assert((await subject.write(again, { atomic: true })).includes("refused"), `No outcome says "refused"`);
      assertEqual(await texts(subject, ["fresh", "k0", "k999"]), [null, "0", "999"], "The values");
    },
  },
  {
    name: "batches: an engine without atomic ones refuses them and changes nothing",
    skip: ({ atomic }) => atomic !== false && "The engine has them",
    async run(subject) {
      if (subject.write === undefined) return;
      await assertRejects(subject.write([put("k", "1")], { atomic: true }), "unsupported", "An atomic batch");
      assertEqual(await subject.get("k"), null, "The value after a refused batch");
    },
  },
];
