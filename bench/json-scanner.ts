/**
 * What does checking a body with the JSON scanner cost next to decoding and parsing it?
 *
 * Feeds bodies in chunks of 64 KiB and prints the scanner's time as a ratio to `JSON.parse(decoder.decode(body))` in the
 * same run (medians, interleaved), and the longest single `write()`.
 *
 *   npx node bench/json-scanner.ts
 */
import { createJsonScanner } from "../src/core/json-scanner.ts";

const KIB = 1024;
const SIZE = 25 * KIB * KIB;
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const options = { depth: 512, levels: 1, raw: ["value", "metadata"], ownBytes: 64 * KIB };

const members = Array.from({ length: 12 }, (_, index) => [
  `name${index}`,
  { id: index, text: "x".repeat(48), ok: true },
]);
// Text that JSON.parse takes seconds or hundreds of megabytes for, or refuses, is scanned only.
const cases: [label: string, value: string, parse: boolean][] = [
  ["1 KB object", JSON.stringify(Object.fromEntries(members)), true],
  ["16 B value", '"0123456789abcd"', true],
  ["25 MiB ASCII string", `"${"x".repeat(SIZE)}"`, true],
  ["25 MiB CJK string", `"${"漢".repeat(SIZE / 3)}"`, true],
  ["25 MiB of escapes", `"${"\\n".repeat(SIZE / 2)}"`, true],
  ["25 MiB of \\u escapes", `"${"\\u6f22".repeat(SIZE / 6)}"`, true],
  ["25 MiB of {}", `[${"{},".repeat(SIZE / 3)}{}]`, true],
  ["25 MiB of 1 KB objects", `[${`${JSON.stringify(Object.fromEntries(members))},`.repeat(SIZE / KIB)}0]`, true],
  ["25 MiB of 1,", `[${"1,".repeat(SIZE / 2)}1]`, false],
  ["25 MiB, one number", "1".repeat(SIZE), false],
  ["25 MiB, one name", `{${'"a":0,'.repeat(SIZE / 6)}"a":0}`, false],
  ["25 MiB of white space", `[${" ".repeat(SIZE)}]`, false],
];

function median(samples: number[]): number {
  return samples.sort((a, b) => a - b)[samples.length >> 1] as number;
}

function scan(body: Uint8Array): number {
  const scanner = createJsonScanner(options);
  if (body.length <= 64 * KIB) {
    scanner.write(body);
    scanner.end();
    return 0;
  }
  let longest = 0;
  for (let at = 0; at < body.length; at += 64 * KIB) {
    const start = performance.now();
    scanner.write(body.subarray(at, at + 64 * KIB));
    longest = Math.max(longest, performance.now() - start);
  }
  scanner.end();
  return longest;
}

for (const [label, value, parse] of cases) {
  const body = encoder.encode(`{"value":${value},"ttl":60}`);
  const turns = body.length > KIB * KIB ? 1 : 5000;
  const scans: number[] = [];
  const parses: number[] = [];
  let longest = 0;
  for (let round = 0; round < 7; round++) {
    let start = performance.now();
    for (let turn = 0; turn < turns; turn++) longest = Math.max(longest, scan(body));
    scans.push(((performance.now() - start) * 1000) / turns);
    if (!parse || (round > 2 && turns === 1)) continue;
    start = performance.now();
    for (let turn = 0; turn < turns; turn++) JSON.parse(decoder.decode(body));
    parses.push(((performance.now() - start) * 1000) / turns);
  }
  const scanned = median(scans);
  const parsed = parse ? median(parses) : Number.NaN;
  console.log(
    `${label.padEnd(24)} scan ${scanned.toFixed(1).padStart(9)} µs  parse ${parsed.toFixed(1).padStart(10)} µs  ` +
      `scan/parse ${(scanned / parsed).toFixed(2)}  longest write ${(longest * 1000).toFixed(0).padStart(5)} µs`,
  );
}

let [depth, start] = [0, performance.now()];
try {
  const scanner = createJsonScanner({ ...options, depth: SIZE });
  for (const chunk = new Uint8Array(64 * KIB).fill(91); depth < SIZE; depth += chunk.length) {
    if (depth === 0) scanner.write(encoder.encode('{"value":'));
    scanner.write(chunk);
  }
} finally {
  console.log(`25 MiB of [ (no limit)    scan ${((performance.now() - start) * 1000).toFixed(1)} µs`);
}
