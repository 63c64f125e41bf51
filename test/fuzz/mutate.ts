/** Changes to bytes that no grammar would make. */
import type { Random } from "./random.ts";

const BYTES = [0, 9, 10, 11, 13, 32, 34, 37, 44, 47, 58, 59, 0x7f, 0x80, 0xc2, 0xed, 0xff];

type Mutation = (text: string, random: Random) => string;

function cut(text: string, { below }: Random, most = text.length): [start: number, end: number] {
  const start = below(text.length + 1);
  return [start, Math.min(text.length, start + below(most + 1))];
}

const insert = (text: string, at: number, what: string) => text.slice(0, at) + what + text.slice(at);

const MUTATIONS: readonly Mutation[] = [
  // One bit.
  (text, { below }) => {
    const at = below(text.length);
    const flipped = String.fromCharCode((text.charCodeAt(at) || 0) ^ (1 << below(8)));
    return text.slice(0, at) + flipped + text.slice(at + 1);
  },
  (text, { below, pick }) => insert(text, below(text.length + 1), String.fromCharCode(pick(BYTES))),
  (text, random) => {
    const [start, end] = cut(text, random, 20);
    return text.slice(0, start) + text.slice(end);
  },
  // A part twice, and a part in another place.
  (text, random) => {
    const [start, end] = cut(text, random, 300);
    return insert(text, end, text.slice(start, end));
  },
  (text, random) => {
    const [start, end] = cut(text, random);
    return insert(text, random.below(text.length + 1), text.slice(start, end));
  },
  // Line ends: bare ones, folded lines, none.
  (text, { pick }) => {
    const ends = [...text.matchAll(/\r\n/g)].map(({ index }) => index);
    if (ends.length === 0) return text;
    const at = pick(ends);
    return text.slice(0, at) + pick(["\n", "\r", "\r\n ", "\r\n\t", "\r\n\r\n", ""]) + text.slice(at + 2);
  },
  (text) => text.replaceAll("\r\n", "\n"),
  // A number that is another.
  (text, { pick }) => {
    const numbers = [...text.matchAll(/\d+/g)];
    if (numbers.length === 0) return text;
    const { index, 0: number } = pick(numbers);
    const other = pick(["0", "1", "-1", "9".repeat(20), "4294967296", "0x10", `${number}0`, ""]);
    return text.slice(0, index) + other + text.slice(index + number.length);
  },
  (text, { below, pick }) =>
    insert(text, below(text.length + 1), pick(["a", "\0", " ", "\r\n", '"', "["]).repeat(1 + below(20_000))),
  (text, { below }) => text.slice(0, below(text.length + 1)),
];

/** The text with one to four changes. */
export function mutated(text: string, random: Random): string {
  let changed = text;
  // The rare large ones come less often than the small.
  for (let count = 1 + random.below(4); count > 0; count--) {
    const mutation = random.once(10) ? random.pick(MUTATIONS) : random.pick(MUTATIONS.slice(0, 8));
    changed = mutation(changed, random);
  }
  return changed;
}
