/** The keys and values of the bench, the same for everybody. */

/** The API key of each service that has one. */
export const KEY = "bench-key-0123456789abcdef";
/** One key that all ask for. */
export const HOT = "hot";
/** How the many keys begin; {@link DIGITS} digits follow. */
export const ITEM = "item-";
/** How those of the list begin: a colon parts a key for unstorage and means nothing to the others. */
export const LISTED = "list:";
export const LISTED_COUNT = 1000;
export const DIGITS = 9;

/** How many entries go into one piece of an import, or into one transaction. */
export const GROUP = 1000;

export interface Fill {
  prefix: string;
  count: number;
  /** The length of each value. */
  bytes: number;
}

export function nameOf(prefix: string, index: number): string {
  return prefix + String(index).padStart(DIGITS, "0");
}

/** A JSON object of exactly so many bytes. */
export function jsonOf(index: number, bytes: number): string {
  const open = `{"id":${index},"active":true,"tags":["read","often"],"text":"`;
  return `${open}${"x".repeat(bytes - open.length - 2)}"}`;
}

/** What the keys and values take by themselves. */
export function payloadBytes({ prefix, count, bytes }: Fill): number {
  return count * (prefix.length + DIGITS + bytes);
}

/** All entries, a group at a time. */
export function* groupsOf({ prefix, count, bytes }: Fill): Generator<[name: string, value: string][]> {
  for (let first = 0; first < count; first += GROUP) {
    yield Array.from({ length: Math.min(GROUP, count - first) }, (_, at) => [
      nameOf(prefix, first + at),
      jsonOf(first + at, bytes),
    ]);
  }
}
