import { compareKeys, utf8Length } from "../core/key.ts";
import { assert, assertEqual } from "./assert.ts";
import type { ConformanceTest } from "./conformance.ts";
import type { Subject } from "./subject.ts";

/** Keys that some engine, somewhere, takes for another key, a pattern, a path or the end of a string. */
const HOSTILE_KEYS: readonly string[] = [
  ..."a|A|a/b|a_b|A/b|a/b/|a%2Fb|a%b|a*b|a?b|[a]|{x}|{x}y|a b| a|a |a\tb|a\nb|a\\b|'a|\"a|a;--|a:b|.|..|...|1|01|1.0".split(
    "|",
  ),
  "a\0",
  "a\0b",
  "\0",
  "é",
  "e\u0301",
  "\uFEFFa",
  "\uFFFF",
  "\u{10000}",
  "\u{1F600}",
  "__proto__",
  "constructor",
  "k".repeat(511),
  "k".repeat(512),
];

/** Those of them that the engine has room for. */
export function hostileKeys({ capabilities }: Subject): string[] {
  return HOSTILE_KEYS.filter((key) => utf8Length(key) <= capabilities.maxKey);
}

/** A walk of more pages than this goes in circles. */
const MAX_PAGES = 1000;

/** Every key in the order of its pages. */
export async function walk(subject: Subject, query: { prefix?: string; limit?: number } = {}): Promise<string[]> {
  const keys: string[] = [];
  let cursor: string | null | undefined;
  let pages = 0;
  do {
    assert(pages++ < MAX_PAGES, `The list does not end after ${MAX_PAGES} pages`);
    const page = await subject.list({ ...query, ...(cursor && { cursor }) });
    if (query.limit !== undefined && page.entries.length > query.limit) {
      assertEqual(page.entries.length, query.limit, "Entries of a page");
    }
    keys.push(...page.entries.map(({ key }) => key));
    cursor = page.cursor;
  } while (cursor !== null);
  return keys;
}

/** The order that a list must have: the engine's own is sorted before it is compared. */
export function inOrder(subject: Subject, keys: readonly string[]): string[] {
  return subject.capabilities.ordered ? [...keys] : [...keys].sort(compareKeys);
}

async function fill(subject: Subject, keys: readonly string[]): Promise<void> {
  for (const [index, key] of keys.entries()) await subject.put(key, `${index}`);
}

export const keyTests: readonly ConformanceTest[] = [
  {
    name: "keys: a missing key is null",
    async run(subject) {
      assertEqual(await subject.get("missing"), null, "A missing key");
      assertEqual(await subject.getMany(["missing"]), [null], "Many missing keys");
      assertEqual(await subject.list({}), { entries: [], cursor: null }, "An empty list");
    },
  },
  {
    name: "keys: each hostile key is its own key",
    async run(subject) {
      const keys = hostileKeys(subject);
      await fill(subject, keys);
      for (const [index, key] of keys.entries()) {
        assertEqual((await subject.get(key))?.text, `${index}`, `The value under ${JSON.stringify(key)}`);
      }
      const texts = (await subject.getMany(keys)).map((entry) => entry?.text);
      assertEqual(
        texts,
        keys.map((_, index) => `${index}`),
        "Many hostile keys",
      );
    },
  },
  {
    name: "keys: a delete leaves its neighbours alone",
    async run(subject) {
      const keys = hostileKeys(subject);
      await fill(subject, keys);
      const gone = new Set<string>();
      for (const key of keys) {
        await subject.delete(key);
        gone.add(key);
        const left = keys.filter((other) => !gone.has(other)).sort(compareKeys);
        assertEqual(inOrder(subject, await walk(subject)), left, `The keys after a delete of ${JSON.stringify(key)}`);
      }
    },
  },
  {
    name: "keys: the list has all of them in the byte order of UTF-8, in pages of 3",
    async run(subject) {
      const keys = hostileKeys(subject);
      await fill(subject, keys);
      const expected = [...keys].sort(compareKeys);
      for (const limit of [3, 1, 1000]) {
        assertEqual(inOrder(subject, await walk(subject, { limit })), expected, `The keys in pages of ${limit}`);
      }
    },
  },
  {
    name: "keys: getMany answers in the order asked, with duplicates and misses",
    async run(subject) {
      await fill(subject, ["b", "a", "c"]);
      const texts = (await subject.getMany(["c", "x", "a", "c", "b", "x"])).map((entry) => entry?.text ?? null);
      assertEqual(texts, ["2", null, "1", "2", "0", null], "Many keys");
      assertEqual(await subject.getMany([]), [], "No keys");
    },
  },
];
