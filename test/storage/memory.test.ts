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

  it("has an entry on each page, however little of values it may hold", async () => {
    const memory = memoryStorage();
    await memory.write(
      ["a", "b"].map((key) => put(key)),
      { now: NOW, atomic: false },
    );
    const page = await memory.list({ ...query, valueBytes: 0 });
    expect([page.entries.map(({ key }) => key), page.cursor]).toEqual([["a"], "a"]);
  });
});

it("decide changes nothing where there is nothing to delete", () => {
  const options = { now: NOW, atomic: false };
  const { outcomes, changes } = decide([remove("none"), put("a"), remove("a"), remove("a")], options, () => null);
  expect(outcomes).toEqual(["absent", "written", "deleted", "absent"]);
  expect([...changes]).toEqual([["a", null]]);
});
