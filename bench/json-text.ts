/**
 * Should JSON text travel between routes and storage as a string or as UTF-8 bytes?
 *
 * Runs one put and one get of a value against SQLite in the shapes that the service could use, for 1 KB and 25 MiB of
 * ASCII and of CJK text, and prints each shape's time as a ratio to "string" in the same run (medians, interleaved).
 *
 *   npx node bench/json-text.ts
 */
import { DatabaseSync } from "node:sqlite";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const KIB = 1024;

function median(samples: number[]): number {
  return samples.sort((a, b) => a - b)[samples.length >> 1] as number;
}

const database = new DatabaseSync(":memory:");
database.exec("CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)");
const putText = database.prepare("INSERT OR REPLACE INTO t VALUES (1, ?)");
const putBytes = database.prepare("INSERT OR REPLACE INTO t VALUES (1, CAST(? AS TEXT))");
const getText = database.prepare("SELECT v FROM t WHERE k = 1");
const getBytes = database.prepare("SELECT CAST(v AS BLOB) AS v FROM t WHERE k = 1");

// What arrives from the socket and what leaves to it is bytes in both shapes.
const shapes: Record<string, { put(body: Uint8Array): void; get(): Uint8Array }> = {
  string: {
    put: (body) => void putText.run(decoder.decode(body)),
    get: () => encoder.encode(`{"data":${(getText.get() as { v: string }).v}}`),
  },
  bytes: {
    put: (body) => void putBytes.run(body),
    get: () => {
      const value = (getBytes.get() as { v: Uint8Array }).v;
      const answer = new Uint8Array(value.length + 9);
      answer.set([123, 34, 100, 97, 116, 97, 34, 58]);
      answer.set(value, 8);
      answer[answer.length - 1] = 125;
      return answer;
    },
  },
};

const texts = {
  "1 KB ASCII": `"${"x".repeat(KIB - 2)}"`,
  "1 KB CJK": `"${"漢".repeat(341)}"`,
  "25 MiB ASCII": `"${"x".repeat(25 * KIB * KIB - 2)}"`,
  "25 MiB CJK": `"${"漢".repeat((25 * KIB * KIB) / 3)}"`,
};

for (const [label, text] of Object.entries(texts)) {
  const body = encoder.encode(text);
  const turns = body.length > KIB * KIB ? 1 : 2000;
  const samples: Record<string, number[]> = {};
  for (let round = 0; round < 9; round++) {
    for (const [name, shape] of Object.entries(shapes)) {
      for (const [verb, run] of [
        ["put", () => shape.put(body)],
        ["get", () => shape.get()],
      ] as const) {
        const start = performance.now();
        for (let turn = 0; turn < turns; turn++) run();
        samples[`${verb} ${name}`] ??= [];
        samples[`${verb} ${name}`]?.push(((performance.now() - start) * 1000) / turns);
      }
    }
  }
  for (const verb of ["put", "get"]) {
    const string = median(samples[`${verb} string`] as number[]);
    const bytes = median(samples[`${verb} bytes`] as number[]);
    console.log(
      `${label.padEnd(13)} ${verb}  string ${string.toFixed(1).padStart(9)} µs  bytes ${bytes.toFixed(1).padStart(9)} µs  bytes/string ${(bytes / string).toFixed(2)}`,
    );
  }
}
