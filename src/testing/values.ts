import { assert, assertEqual } from "./assert.ts";
import type { ConformanceTest } from "./conformance.ts";
import { type Subject, storedEntry } from "./subject.ts";

const MIB = 1_048_576;

/** JSON texts that change where anything on the way parses them or takes them for another type. */
const TEXTS: readonly string[] = [
  ...'null|true|0|-0|1.0|1E400|9007199254740993|0.1000000000000000055511151231257827|""|"1"|[]|{}'.split("|"),
  `{"__proto__":{"a":1},"constructor":2}`,
  `{"a":1,"a":2}`,
  `{ "b" : [ 1 ,\n\t2 ] , "a" : null }`,
  `"\\u0000\\ud83d\\ude00\\/"`,
  `"漢字 😀 \u2028 \u{10FFFF} \uFEFF"`,
  `"'; DROP TABLE workertown_kv; --"`,
  `"\\\\x61 {0} %s $1 ? :a @b"`,
  `"${"long ".repeat(14_000)}"`,
  `${"[".repeat(512)}${"]".repeat(512)}`,
  `${`{"a":`.repeat(511)}{}${"}".repeat(511)}`,
];

/** Compares texts as they are, or as values where the subject parses them. */
function assertText(subject: Subject, actual: string | undefined, expected: string): void {
  const form = (text: string) => (subject.exact ? text : JSON.stringify(JSON.parse(text)));
  assert(actual !== undefined, `The value ${expected.slice(0, 60)} is missing`);
  assertEqual(form(actual), form(expected), "The text of a value");
}

export const valueTests: readonly ConformanceTest[] = [
  {
    name: "values: the text comes back as it came",
    async run(subject) {
      const texts = TEXTS.filter((text) => text.length <= subject.capabilities.maxValue);
      for (const [index, text] of texts.entries()) await subject.put(`k${index}`, text);
      const many = await subject.getMany(texts.map((_, index) => `k${index}`));
      for (const [index, text] of texts.entries()) {
        assertText(subject, (await subject.get(`k${index}`))?.text, text);
        assertText(subject, many[index]?.text, text);
        const { entries } = await subject.list({ prefix: `k${index}`, limit: 1, values: true });
        assertText(subject, entries[0]?.text ?? undefined, text);
      }
    },
  },
  {
    name: "values: metadata comes back as it came",
    async run(subject) {
      const exact = [`{"n":9007199254740993,"x":1.0,"x":2}`, `[ 1 , "\\u0000" ]`, `"漢字 😀 ' \\" "`];
      const plain = [`{"n":1}`, `"a"`, "0", "false"];
      for (const metadata of subject.exact ? [...exact, ...plain] : plain) {
        await subject.put("k", "1", { metadata });
        assertEqual((await subject.get("k"))?.metadata, metadata, "Metadata of a get");
        assertEqual((await subject.list({})).entries[0]?.metadata, metadata, "Metadata of a list");
      }
      const longest = `"${"m".repeat(Math.min(subject.capabilities.maxMetadata, 1024) - 2)}"`;
      await subject.put("k", "1", { metadata: longest });
      assertEqual((await subject.get("k"))?.metadata, longest, "The longest metadata");
    },
  },
  {
    name: "values: many come back as one does, with metadata, expiry and version",
    async run(subject) {
      const [metadata, expiresAt] = [`{"m":1}`, subject.clock.now + 90_000];
      const version = await subject.put("a", `{"x":1}`, { metadata, expiresAt });
      const other = await subject.put("b", "null");
      const expected = [
        { text: `{"x":1}`, metadata, expiresAt, version },
        { text: "null", metadata: null, expiresAt: null, version: other },
      ];
      assertEqual([await subject.get("a"), await subject.get("b")], expected, "The entries one by one");
      assertEqual(await subject.getMany(["a", "b"]), expected, "The entries together");
    },
  },
  {
    name: "values: a version is kept as it is",
    async run({ adapter, clock }) {
      if (adapter === undefined) return;
      for (const version of ["007", "1e3", "-_", "a", "A", "v".repeat(64)]) {
        const entry = storedEntry("1", { version });
        await adapter.write([{ kind: "put", key: "k", entry }], { now: clock.now, atomic: false });
        assertEqual((await adapter.get("k"))?.version, version, "The version");
      }
    },
  },
  {
    name: "values: a write replaces the whole entry, its metadata and its expiry too",
    async run(subject) {
      const first = await subject.put("k", "1", { metadata: `"m"`, expiresAt: subject.clock.now + 70_000 });
      const second = await subject.put("k", "2");
      assert(first !== second, "Two writes have the same version");
      const { text, metadata, expiresAt, version } = (await subject.get("k")) ?? {};
      const expected = { text: "2", metadata: null, expiresAt: null, version: second };
      assertEqual({ text, metadata, expiresAt, version }, expected, "The entry after its replacement");
      subject.clock.now += 80_000;
      assertEqual((await subject.get("k"))?.text, "2", "The value past the first expiry");
    },
  },
  {
    name: "values: the same value written again has another version",
    async run(subject) {
      const versions = [await subject.put("k", "1"), await subject.put("k", "1")];
      assert(versions[0] !== versions[1], "Two writes have the same version");
      assertEqual((await subject.get("k"))?.version, versions[1], "The version");
    },
  },
  {
    name: "values: a delete says whether there was something",
    async run(subject) {
      await subject.put("k", "null");
      assertEqual(await subject.delete("k"), true, "The first delete");
      assertEqual(await subject.get("k"), null, "The value after its delete");
      if (subject.capabilities.reportsDelete) {
        assertEqual(await subject.delete("k"), false, "The second delete");
        assertEqual(await subject.delete("never"), false, "A delete of what never was");
      }
    },
  },
];

/** The tests that move more than 10 MiB. */
export const largeValueTests: readonly ConformanceTest[] = [
  {
    name: "values: the largest comes back as it came",
    async run(subject) {
      const bytes = Math.min(subject.capabilities.maxValue, 25 * MIB);
      const text = `"${"漢".repeat(Math.floor((bytes - 2) / 3))}${"x".repeat((bytes - 2) % 3)}"`;
      await subject.put("k", text);
      const actual = (await subject.get("k"))?.text;
      assert(actual === text, `The largest value came back changed, ${actual?.length} characters of ${text.length}`);
    },
  },
  {
    name: "values: a page stops at 10 MiB of values and goes on after it",
    skip: ({ maxValue }) => maxValue < 6 * MIB && "The engine's values are smaller than a page",
    async run(subject) {
      const text = `"${"x".repeat(6 * MIB)}"`;
      for (const key of ["a", "b", "c", "d"]) await subject.put(key, text);
      await subject.put("e", "1");
      const pages: string[] = [];
      let cursor: string | null | undefined;
      do {
        const page = await subject.list({ values: true, ...(cursor && { cursor }) });
        for (const entry of page.entries)
          assert(entry.text === (entry.key === "e" ? "1" : text), "A listed value changed");
        if (page.entries.length > 0) pages.push(page.entries.map(({ key }) => key).join(""));
        cursor = page.cursor;
      } while (cursor !== null);
      if (subject.capabilities.ordered) assertEqual(pages, ["ab", "cd", "e"], "The pages");
      else assertEqual([...pages.join("")].sort().join(""), "abcde", "The keys of all pages");
      const { entries } = await subject.list({});
      assertEqual(entries.length, 5, "Entries of a list without values");
    },
  },
];
