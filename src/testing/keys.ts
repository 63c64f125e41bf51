import { compareKeys } from "../core/key.ts";
import { assertEqual } from "./assert.ts";
import type { ConformanceTest } from "./conformance.ts";
import type { Subject } from "./subject.ts";

/** Keys that some engine, somewhere, takes for another key, a pattern, a path or the end of a string. */
export const HOSTILE_KEYS: readonly string[] = [
  ..."a|A|a/b|a_b|A/b|a/b/|a%2Fb|a%b|a*b|a?b|[a]|{x}|{x}y|a b| a|a |a\tb|a\nb|a\\b|'a|\"a|a;--|a:b|.|..|...".split("|"),
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
  "k".repeat(512),
];

/** Every key in the order of its pages. */
export async function walk(subject: Subject, query: { prefix?: string; limit?: number } = {}): Promise<string[]> {
  const keys: string[] = [];
  let cursor: string | null | undefined;
  do {
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
      await fill(subject, HOSTILE_KEYS);
      for (const [index, key] of HOSTILE_KEYS.entries()) {
        assertEqual((await subject.get(key))?.text, `${index}`, `The value under ${JSON.stringify(key)}`);
      }
      const texts = (await subject.getMany(HOSTILE_KEYS)).map((entry) => entry?.text);
      assertEqual(
        texts,
        HOSTILE_KEYS.map((_, index) => `${index}`),
        "Many hostile keys",
      );
    },
  },
  {
    name: "keys: a delete leaves its neighbours alone",
    async run(subject) {
      await fill(subject, HOSTILE_KEYS);
      const gone = new Set<string>();
      for (const key of HOSTILE_KEYS) {
        await subject.delete(key);
        gone.add(key);
        const left = HOSTILE_KEYS.filter((other) => !gone.has(other)).sort(compareKeys);
        assertEqual(inOrder(subject, await walk(subject)), left, `The keys after a delete of ${JSON.stringify(key)}`);
      }
    },
  },
  {
    name: "keys: the list has all of them in the byte order of UTF-8, in pages of 3",
    async run(subject) {
      await fill(subject, HOSTILE_KEYS);
      const expected = [...HOSTILE_KEYS].sort(compareKeys);
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
