import { describe, expect, it, test } from "vitest";
import { decide } from "../../src/storage/decide.ts";
import { memoryStorage } from "../../src/storage/memory.ts";
import { adapterSubject, storageConformance } from "../../src/testing/conformance.ts";
import { storedEntry } from "../../src/testing/subject.ts";

const NOW = 1_700_000_000_000;
const put = (key: string, text = "1") => ({ kind: "put" as const, key, entry: storedEntry(text, { version: key }) });
const remove = (key: string) => ({ kind: "delete" as const, key });

for (const { name, skip, run } of storageConformance()) {
  if (skip?.(memoryStorage().capabilities)) continue;
  test(name, () => run(adapterSubject(memoryStorage(), { now: NOW })));
}

describe("memory", () => {
  const query = { prefix: "", cursor: null, limit: 10, valueBytes: null, now: NOW };

  it("says what it can", () => {
    const most = Number.MAX_SAFE_INTEGER;
    expect(memoryStorage()).toMatchObject({
      engine: "memory",
      capabilities: {
        consistency: "strong",
        conditional: true,
        atomic: { operations: most, bytes: most },
        ordered: true,
        snapshot: false,
        reportsDelete: true,
        maxKey: most,
        maxValue: most,
        maxMetadata: most,
      },
    });
  });

  it("lists what came and went since the last list, in order", async () => {
    const memory = memoryStorage();
    const listedAfter = async (...operations: (ReturnType<typeof put> | ReturnType<typeof remove>)[]) => {
      await memory.write(operations, { now: NOW, atomic: false });
      return (await memory.list(query)).entries.map(({ key }) => key);
    };
    expect(await listedAfter(put("b"))).toEqual(["b"]);
    expect(await listedAfter(put("a"), put("c"))).toEqual(["a", "b", "c"]);
    expect(await listedAfter(remove("b"), remove("none"))).toEqual(["a", "c"]);
    expect(await listedAfter(put("a", "2"))).toEqual(["a", "c"]);
    expect((await memory.list({ ...query, valueBytes: 100 })).entries.map(({ value }) => value?.[0])).toEqual([50, 49]);
  });

  it("ends a page with the entry that takes its values to what it may hold, and has one on each", async () => {
    const memory = memoryStorage();
    await memory.write([put("a"), put("b"), put("c")], { now: NOW, atomic: false });
    const page = async (valueBytes: number) => {
      const { entries, cursor } = await memory.list({ ...query, valueBytes });
      return [entries.map(({ key }) => key).join(""), cursor];
    };
    expect(await Promise.all([0, 1, 2, 3].map(page))).toEqual([
      ["a", "a"],
      ["a", "a"],
      ["ab", "b"],
      ["abc", null],
    ]);
  });
});

it("decide changes nothing where there is nothing to delete", () => {
  const options = { now: NOW, atomic: false };
  const { outcomes, changes } = decide([remove("none"), put("a"), remove("a"), remove("a")], options, () => null);
  expect(outcomes).toEqual(["absent", "written", "deleted", "absent"]);
  expect([...changes]).toEqual([["a", null]]);
});
