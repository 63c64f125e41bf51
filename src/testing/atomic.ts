import { assert, assertEqual, assertRejects } from "./assert.ts";
import { create, put, texts } from "./batches.ts";
import type { ConformanceTest } from "./conformance.ts";
import { needsAtomic } from "./needs.ts";
import type { SubjectOperation } from "./subject.ts";

export const atomicTests: readonly ConformanceTest[] = [
  {
    name: "batches: an atomic one happens whole, in order",
    skip: needsAtomic(5),
    async run(subject) {
      if (subject.write === undefined) return;
      await subject.put("a", "0");
      const again: SubjectOperation[] = [{ kind: "delete", key: "a" }, create("a", "1"), put("b", "1")];
      const outcomes = await subject.write([...again, { kind: "delete", key: "b" }, create("b", "4")], {
        atomic: true,
      });
      assertEqual(outcomes, ["deleted", "written", "written", "deleted", "written"], "The outcomes");
      assertEqual(await texts(subject, ["a", "b"]), ["1", "4"], "The values");
      const twice = await subject.write([put("c", "1"), create("c", "2")], { atomic: true });
      assert(twice.includes("refused"), `No outcome says "refused": ${twice}`);
      assertEqual(await subject.get("c"), null, "The value that a batch refused for itself");
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
      for (let turn = 1; turn <= 40; turn += 8) {
        const wave = Array.from({ length: 8 }, (_, index) => [write(turn + index), texts(subject, keys)] as const);
        await Promise.all(wave.map(([written]) => written));
        for (const seen of await Promise.all(wave.map(([, read]) => read))) {
          assertEqual(new Set(seen).size, 1, `Distinct values in ${seen}`);
        }
      }
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
      const fresh = operations.slice(1).map((_, index) => put(`fresh${index}`, "1"));
      const outcomes = await subject.write([...fresh, create("k0", "1")], { atomic: true });
      assert(outcomes.includes("refused"), `No outcome says "refused"`);
      assertEqual(await texts(subject, ["fresh0", "fresh998", "k0", "k999"]), [null, null, "0", "999"], "The values");
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
