/** Requests that are made to cost much time or memory. */

export interface Attack {
  name: string;
  method?: string;
  path?: string;
  headers?: Readonly<Record<string, string>>;
  /** In ASCII, empty for none. */
  body(): string;
  status: number;
}

const MIB = 1_048_576;
const LARGE = 25 * MIB - 2;
/** What a batch may hold besides its values, nearly. */
const OWN = 4 * MIB - 40_000;

const value = (name: string, text: () => string, status = 200): Attack => ({
  name: `25 MiB of ${name}`,
  method: "PUT",
  path: "/v1/kv/attack",
  body: () => `{"value":${text()}}`,
  status,
});
const whole = (name: string, text: () => string, status: number): Attack => ({
  ...value(name, text, status),
  body: text,
});
const batch = (name: string, operations: () => string, status: number): Attack => ({
  name,
  body: () => `{"operations":[${operations()}]}`,
  status,
});

const times = (text: string, bytes: number) => text.repeat(Math.floor(bytes / text.length));
const list = (item: string, bytes: number) => `[${times(`${item},`, bytes - item.length - 2)}${item}]`;
/** Short names that differ. */
const members = (bytes: number) => {
  const names: string[] = [];
  for (let left = bytes; left > 0; left -= (names.at(-1)?.length ?? 0) + 1)
    names.push(`"${names.length.toString(36)}":0`);
  return names.join();
};
/** Names of one length that differ in two characters only: what a hash without a seed would put into one place. */
const alike = (bytes: number) =>
  Array.from(
    { length: Math.floor(bytes / 14) },
    (_, at) => `"${at.toString(2).replace(/0/g, "Aa").replace(/1/g, "BB").slice(0, 8)}${at}":0`,
  )
    .join()
    .slice(0, bytes)
    .replace(/,[^,]*$/, "");
const repeated = (operation: string) => Array(1000).fill(operation).join();
const query = (name: string, text: string, status: number, headers = {}): Attack => ({
  name,
  method: "GET",
  path: `/v1/kv${text}`,
  headers,
  body: () => "",
  status,
});

export const ATTACKS: readonly Attack[] = [
  value("letters, for comparison", () => `"${times("x", LARGE - 2)}"`),
  whole("{", () => times("{", LARGE), 400),
  whole("[", () => times("[", LARGE), 400),
  value("[ in a value", () => times("[", LARGE), 400),
  value("escapes", () => `"${times("\\u0000", LARGE - 2)}"`),
  value("one number", () => times("1", LARGE)),
  value("duplicate names", () => `{${times('"a":0,', LARGE - 8)}"a":0}`),
  value("white space", () => `[${times(" ", LARGE - 2)}]`),
  whole("white space before it", () => `${times(" ", LARGE)}{"value":1}`, 413),
  value("empty lists", () => list("[]", LARGE)),
  batch(
    "1,000 of the largest values that fit",
    () => repeated(`{"op":"put","key":"a","value":"${times("x", 100_000)}"}`),
    200,
  ),
  batch(
    "If-Match with 100,000 tags in a batch",
    () => `{"op":"get","key":"a","ifMatch":"${times('\\"a\\",', 600_000)}"}`,
    400,
  ),
  batch("If-Match of quotes in a batch", () => `{"op":"get","key":"a","ifMatch":"${times('\\"', OWN)}"}`, 400),
  batch("1,000 If-Match of 4 KB", () => repeated(`{"op":"get","key":"a","ifMatch":"${times('\\"a\\",', 4000)}"}`), 200),
  batch("4 MiB of unknown members", () => `{"op":"get","key":"a",${members(OWN)}}`, 400),
  batch("4 MiB of names that are alike", () => `{"op":"get","key":"a",${alike(OWN)}}`, 400),
  batch("1,000 operations with 400 unknown members", () => repeated(`{"op":"get","key":"a",${members(3500)}}`), 400),
  batch("4 MiB of empty lists", () => list("[]", OWN), 400),
  batch("4 MiB of empty operations", () => times("{},", OWN).slice(0, -1), 413),
  batch("one key of 4 MiB", () => `{"op":"get","key":"${times("k", OWN)}"}`, 413),
  batch("1,000 keys that are none", () => repeated('{"op":"get","key":""}'), 400),
  query("a forged cursor", `?cursor=${"A".repeat(12_000)}`, 400),
  query("4,000 parameters", `?${"a=1&".repeat(3500)}`, 400),
  query("If-Match of 12 KB", "/attack", 412, { "If-Match": times('"a",', 12_000) }),
  query("If-Match of quotes", "/attack", 400, { "If-Match": times('"', 12_001) }),
  query("Prefer of commas and spaces", "/attack", 200, { Prefer: times(", return ", 12_000) }),
  query("a media type of pluses", "/attack", 200, { "Content-Type": `a/${times("+", 12_000)}` }),
];
