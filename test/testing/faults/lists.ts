/** What can be wrong about reading many: the order, the prefix, the pages. */
import { isLive } from "../../../src/core/entry.ts";
import type { ListedEntry, ListQuery } from "../../../src/storage/adapter.ts";
import { allOf, type Fault, listing, pageOf, wrong } from "../wrong.ts";

const ORDER = "keys: the list has all of them in the byte order of UTF-8, in pages of 3";
const PREFIX = "list: a prefix is literal";
const ENTRY = "list: an entry is listed with its version, metadata and expiry, and with its value where asked";
const WALK = "list: a walk while others write never repeats a key and never misses one that was there throughout";

const under = (entries: ListedEntry[], { prefix }: ListQuery) => entries.filter(({ key }) => key.startsWith(prefix));

/** As SQL has it: `%` is any text, `_` any character. */
function like(pattern: string): RegExp {
  const source = pattern
    .replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")
    .replaceAll("%", "[^]*")
    .replaceAll("_", "[^]");
  return new RegExp(`^${source}`, "u");
}

export const listFaults: readonly Fault[] = [
  {
    fault: "keys are listed in the order of UTF-16",
    make: listing(
      (entries, query) => under(entries, query).sort((a, b) => (a.key < b.key ? -1 : 1)),
      (key, cursor) => key > cursor,
    ),
    caughtBy: ORDER,
  },
  {
    fault: "keys are listed in the order of a locale",
    make: listing(
      (entries, query) => under(entries, query).sort((a, b) => a.key.localeCompare(b.key, "en")),
      (key, cursor) => key.localeCompare(cursor, "en") > 0,
    ),
    caughtBy: ORDER,
  },
  {
    fault: "keys are listed in the order of their first write",
    make: wrong((sound) => {
      const written = new Set<string>();
      return {
        write(operations, options) {
          for (const { key } of operations) written.add(key);
          return sound.write(operations, options);
        },
        async list(query) {
          const keys = [...written];
          const entries = under(await allOf(sound, query), query);
          entries.sort((a, b) => keys.indexOf(a.key) - keys.indexOf(b.key));
          const rest = entries.filter(({ key }) => keys.indexOf(key) > keys.indexOf(query.cursor ?? ""));
          const { entries: page, complete } = pageOf(rest, query);
          return { entries: page, cursor: complete ? null : (page.at(-1)?.key ?? null) };
        },
      };
    }),
    caughtBy: ORDER,
  },
  {
    fault: "% and _ in a prefix stand for anything",
    make: listing((entries, { prefix }) => entries.filter(({ key }) => like(prefix).test(key))),
    caughtBy: PREFIX,
  },
  {
    fault: "a prefix does not tell capitals",
    make: listing((entries, { prefix }) =>
      entries.filter(({ key }) => key.toLowerCase().startsWith(prefix.toLowerCase())),
    ),
    caughtBy: PREFIX,
  },
  {
    fault: "a prefix is found anywhere in a key",
    make: listing((entries, { prefix }) => entries.filter(({ key }) => key.includes(prefix))),
    caughtBy: PREFIX,
  },
  {
    fault: "the limit of a page is ignored",
    make: wrong((sound) => ({ list: (query) => sound.list({ ...query, limit: 1000 }) })),
    caughtBy: ORDER,
  },
  {
    fault: "a page that would not be full is lost",
    make: listing((entries, query) => {
      const all = under(entries, query);
      return all.slice(0, all.length - (all.length % query.limit));
    }),
    caughtBy: ORDER,
  },
  {
    fault: "a page begins with the last key of the one before",
    make: listing(under, (key, cursor) => key === cursor),
    caughtBy: ORDER,
  },
  {
    fault: "a cursor is a count of keys",
    make: wrong((sound) => ({
      async list(query) {
        const from = Number(query.cursor ?? 0);
        const page = pageOf(under(await allOf(sound, query), query).slice(from), query);
        return { entries: page.entries, cursor: page.complete ? null : String(from + page.entries.length) };
      },
    })),
    caughtBy: WALK,
  },
  {
    fault: "a walk ends where the key of its cursor is gone",
    make: wrong((sound) => ({
      list: async (query) =>
        query.cursor === null || (await sound.get(query.cursor)) ? sound.list(query) : { entries: [], cursor: null },
    })),
    caughtBy: WALK,
  },
  {
    fault: "a list has no metadata",
    make: listing((entries, query) => under(entries, query).map((entry) => ({ ...entry, metadata: null }))),
    caughtBy: ENTRY,
  },
  {
    fault: "a list has values that nobody asked for",
    make: wrong((sound) => ({
      list: (query) => sound.list({ ...query, valueBytes: query.valueBytes ?? Number.MAX_SAFE_INTEGER }),
    })),
    caughtBy: ENTRY,
  },
  {
    fault: "a replaced value is listed beside the new one",
    make: wrong((sound) => {
      const replaced = new Set<string>();
      return {
        write(operations, options) {
          for (const { kind, key } of operations) if (kind === "put" && sound.get(key)) replaced.add(key);
          return sound.write(operations, options);
        },
        async list(query) {
          const { entries, cursor } = await sound.list(query);
          return { entries: entries.flatMap((entry) => (replaced.has(entry.key) ? [entry, entry] : [entry])), cursor };
        },
      };
    }),
    caughtBy: "list: keys of values that were replaced stay listed once",
  },
  {
    fault: "a walk ends at a page where all has expired",
    make: wrong((sound) => ({
      async list(query) {
        const page = await sound.list({ ...query, now: 0 });
        const entries = page.entries.filter((entry) => isLive(entry, query.now));
        return { entries, cursor: entries.length === 0 ? null : page.cursor };
      },
    })),
    caughtBy: "expiry: a list skips the expired, however many, and reaches the end",
  },
];
