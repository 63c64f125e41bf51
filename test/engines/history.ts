/** One random history of requests, played on two services that must give the same answers, byte for byte. */
import { expect } from "vitest";

/** A service whose clock and versions the test sets: the same request at the same moment must be answered the same. */
export interface Played {
  fetch(request: Request): Response | Promise<Response>;
}

export interface HistoryOptions {
  seed: number;
  /** How many requests are made, each page of a list counted. */
  operations: number;
  /** Whether atomic batches are played; where the engine lacks them they are refused with 501. */
  atomic: boolean;
  /** Called before each request, on both sides at once: sets the clock and what the next versions begin with. */
  tick(step: { now: number; version: string }): void;
}

const KEYS = [
  ..."abcdefgh",
  ...[
    "a/b",
    "a/b/c",
    "%",
    "%25",
    "a b",
    "é",
    "e\u0301",
    "\u{10348}",
    "\uFFFD",
    "\0",
    "a\0",
    ".",
    "..",
    "A",
    "k".repeat(512),
  ],
  ...Array.from({ length: 12 }, (_, index) => `list/${index}`),
];
const PREFIXES = ["", "a", "a/", "list/", "list/1", "%", "é", "\0", "none"];
const VALUES = [
  ...[
    "null",
    "true",
    "0",
    "-0",
    "1e400",
    "9007199254740993",
    '""',
    '"\\u0000"',
    '"\\ud800"',
    "[]",
    "{}",
    '"é\u{1F600}"',
  ],
  ...['{"__proto__":1,"a":[1.0,1.10,{}]}', " [1 , 2] ", '"\\u00e9 \\/ \\""', `"${"x".repeat(3000)}"`, '"line\\nbreak"'],
];
const TTLS = ["", "", "", ',"ttl":0.5', ',"ttl":1.1', ',"ttl":60', ',"expiration":4000000000.25', ',"ttl":0'];
const METADATA = ["", "", ',"metadata":{"by":"ann"}', ',"metadata":null', ',"metadata":"é\\u0000"'];

/** Numbers that only depend on the seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Plays a history on both and expects every answer of `subject` to be that of `reference`. */
export async function playHistory(subject: Played, reference: Played, options: HistoryOptions): Promise<void> {
  const next = random(options.seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)] as T;
  const chance = (part: number) => next() < part;
  const etags: string[] = ['"unknown"'];
  let now = 3_000_000_000_000;

  const tag = () =>
    chance(0.7) ? (etags[etags.length - 1 - Math.floor(next() * Math.min(etags.length, 60))] as string) : "*";
  const tags = () => (chance(0.2) ? `${tag().replace("*", '"x"')}, ${tag().replace("*", '"y"')}` : tag());
  const put = () => `"value":${pick(VALUES)}${pick(TTLS)}${pick(METADATA)}`;

  function item(): string {
    const key = `"key":${JSON.stringify(pick(KEYS))}`;
    const condition = chance(0.25) ? `,"${pick(["ifMatch", "ifNoneMatch"])}":${JSON.stringify(tags())}` : "";
    const op = pick(["get", "get", "put", "put", "delete"]);
    return `{"op":"${op}",${key}${condition}${op === "put" ? `,${put()}` : ""}}`;
  }

  function request(): { method: string; path: string; body?: string; headers?: Record<string, string> } {
    const roll = next();
    const path = `/${encodeURIComponent(pick(KEYS))}`.replace(
      /^\/(\.{1,2})$/,
      (_, dots) => `/${"%2E".repeat(dots.length)}`,
    );
    const headers: Record<string, string> = {};
    if (chance(0.3)) headers[pick(["If-Match", "If-None-Match"])] = tags();
    if (roll < 0.3) return { method: chance(0.8) ? "GET" : "HEAD", path, headers };
    if (roll < 0.6) return { method: "PUT", path, headers, body: `{${put()}}` };
    if (roll < 0.68) return { method: "DELETE", path, headers };
    if (roll < 0.84) {
      const size = chance(0.05) ? 90 : 1 + Math.floor(next() * 8);
      const atomic = options.atomic && chance(0.4);
      const operations = Array.from({ length: size }, item).join(",");
      return { method: "POST", path: "", body: `{"operations":[${operations}]${atomic ? ',"atomic":true' : ""}}` };
    }
    const query = new URLSearchParams({ prefix: pick(PREFIXES), limit: String(1 + Math.floor(next() * 12)) });
    if (chance(0.4)) query.set("include", "values");
    return { method: "GET", path: `?${query}` };
  }

  /** The answer as text, and the cursor beside it: that is the engine's own. */
  async function ask(service: Played, given: ReturnType<typeof request>, cursor: string | null) {
    const separator = given.path.includes("?") ? "&" : "?";
    const url = `http://service/v1/kv${given.path}${cursor === null ? "" : `${separator}cursor=${encodeURIComponent(cursor)}`}`;
    const response = await service.fetch(
      new Request(url, {
        method: given.method,
        headers: { "Content-Type": "application/json", "X-Request-Id": "history", ...given.headers },
        ...(given.body !== undefined && { body: given.body }),
      }),
    );
    const text = await response.text();
    const [, found = null] = /"cursor":"([^"]+)"\}\}$/.exec(text) ?? [];
    const shown = found === null ? text : text.replace(found, "…");
    return {
      cursor: found,
      answer: `${response.status} ${response.headers.get("ETag")} ${shown}`,
      etag: response.headers.get("ETag"),
    };
  }

  for (let step = 0; step < options.operations; ) {
    now += Math.floor(next() * 100);
    let given = request();
    let cursors: [string | null, string | null] = [null, null];
    for (let page = 0; page === 0 || (cursors[0] !== null && page < 40); page++, step++) {
      options.tick({ now, version: `s${options.seed}-${step}-${page}-` });
      const [actual, expected] = await Promise.all([
        ask(subject, given, cursors[0]),
        ask(reference, given, cursors[1]),
      ]);
      const shown = `seed ${options.seed}, step ${step}, page ${page}: ${JSON.stringify(given)}`;
      expect(actual.answer, shown).toBe(expected.answer);
      if (expected.etag !== null) etags.push(expected.etag);
      cursors = [actual.cursor, expected.cursor];
      expect(actual.cursor === null, shown).toBe(expected.cursor === null);
      given = { ...given };
    }
  }
}
