import { compareKeys } from "../core/key.ts";
import { assert, assertEqual } from "./assert.ts";
import type { ConformanceTest } from "./conformance.ts";
import { hostileKeys, inOrder, walk } from "./keys.ts";
import type { SubjectListed } from "./subject.ts";

export const listTests: readonly ConformanceTest[] = [
  {
    name: "list: a prefix is literal",
    async run(subject) {
      const keys = [
        ...hostileKeys(subject),
        "%",
        "%x",
        "_x",
        "*x",
        "[x",
        "\0x",
        "\0\0",
        "a/b/c",
        ".\0",
        ".x",
        "..\0",
        "\u{10000}x",
      ];
      for (const key of keys) await subject.put(key, "1");
      const prefixes = [
        "%",
        "_",
        "*",
        "[",
        "?",
        "\0",
        "\0x",
        "a",
        "a/",
        "a\0",
        ".",
        ".\0",
        "..",
        "..\0",
        "\uFFFF",
        "\u{10000}",
        "{x}",
        "a%",
      ];
      for (const prefix of [...prefixes, "é", "k".repeat(512), "none"]) {
        const expected = keys.filter((key) => key.startsWith(prefix)).sort(compareKeys);
        for (const limit of [2, 1000]) {
          const actual = inOrder(subject, await walk(subject, { prefix, limit }));
          assertEqual(actual, expected, `The keys under ${JSON.stringify(prefix)}`);
        }
      }
    },
  },
  {
    name: "list: an entry is listed with its version, metadata and expiry, and with its value where asked",
    async run(subject) {
      const expiresAt = subject.clock.now + 90_000;
      const version = await subject.put("a", `{"x":1}`, { metadata: `{"m":1}`, expiresAt });
      const other = await subject.put("b", "2");
      const bare = [
        { key: "a", version, metadata: `{"m":1}`, expiresAt, text: null },
        { key: "b", version: other, metadata: null, expiresAt: null, text: null },
      ];
      assertEqual((await subject.list({})).entries.map(normal), bare, "A list without values");
      const full = [
        { ...bare[0], text: `{"x":1}` },
        { ...bare[1], text: "2" },
      ];
      assertEqual((await subject.list({ values: true })).entries.map(normal), full, "A list with values");
    },
  },
  {
    name: "list: a walk while others write never repeats a key and never misses one that was there throughout",
    async run(subject) {
      const name = (index: number) => `k${String(index).padStart(3, "0")}`;
      for (let index = 0; index < 60; index++) await subject.put(name(index), "0");
      const seen: string[] = [];
      let cursor: string | null | undefined;
      for (let turn = 0; cursor !== null; turn++) {
        assert(turn < 200, "The walk does not end");
        const page = await subject.list({ prefix: "k", limit: 7, ...(cursor && { cursor }) });
        seen.push(...page.entries.map(({ key }) => key));
        cursor = page.cursor;
        // Every multiple of 3 comes, goes or is replaced while the walk goes on; the last key of the page goes as well.
        await subject.put(`${name(turn * 5)}+`, '"new"');
        await subject.put(`${name(59 - turn)}+`, '"new"');
        await subject.put(name(turn * 3 + 1), '"replaced"');
        await subject.delete(name((turn * 9) % 60));
        const last = page.entries.at(-1)?.key ?? "";
        if (Number(last.slice(1)) % 3 === 0) await subject.delete(last);
      }
      assertEqual(seen.length, new Set(seen).size, "Keys seen and distinct keys seen");
      for (let index = 0; index < 60; index++) {
        assert(
          index % 3 === 0 || seen.includes(name(index)),
          `The walk missed ${name(index)}, which was there throughout`,
        );
      }
    },
  },
  {
    name: "list: keys of values that were replaced stay listed once",
    async run(subject) {
      for (let turn = 0; turn < 3; turn++) for (const key of ["b", "a", "c"]) await subject.put(key, `${turn}`);
      const { entries } = await subject.list({ values: true });
      assertEqual(
        entries.map(({ key, text }) => [key, text]).sort(),
        [
          ["a", "2"],
          ["b", "2"],
          ["c", "2"],
        ],
        "The list",
      );
    },
  },
];

/** The members that count, in one order. */
function normal({ key, version, metadata, expiresAt, text }: SubjectListed): SubjectListed {
  return { key, version, metadata, expiresAt, text };
}
