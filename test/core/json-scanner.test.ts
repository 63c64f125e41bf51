import { describe, expect, it } from "vitest";
import { createJsonScanner, type JsonScannerOptions } from "../../src/core/json-scanner.ts";

const OPTIONS: JsonScannerOptions = { depth: 512, levels: 1, raw: ["value", "metadata"], ownBytes: 1024 };
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const bytesOf = (text: string) => new TextEncoder().encode(text);

/** The body and the texts of its raw values, fed in chunks of these sizes in turn. */
function scan(body: Uint8Array, sizes: readonly number[] = [body.length || 1], options = OPTIONS) {
  const scanner = createJsonScanner(options);
  for (let at = 0, turn = 0; at < body.length; turn++) {
    const size = sizes[turn % sizes.length] as number;
    scanner.write(body.subarray(at, at + size));
    at += size;
  }
  const { body: parsed, spans } = scanner.end();
  return { body: parsed, texts: spans.map(([start, end]) => decoder.decode(body.subarray(start, end))) };
}

function outcome(body: Uint8Array, sizes?: readonly number[]): unknown {
  try {
    return scan(body, sizes);
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return code === undefined ? error : { code, message };
  }
}

/** A small generator of numbers, so that a failure can be repeated (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const ATOMS = ["0", "-0", "1.0", "-12.5e+3", "1E400", "true", "false", "null", '""', '"é漢😀"', '"\\u00e9\\n\\ud800"'];
const NOISE = [...'{}[]:,"\\ -+.eE0189tfn\u0000\u001f\u007fé\ud83d\ude00\t\n\r'];

function generate(random: () => number, depth: number): string {
  const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)] as T;
  const space = () => (random() < 0.2 ? pick([" ", "\n", "\t ", "\r\n"]) : "");
  const kind = depth > 4 ? 0 : random();
  if (kind < 0.5) return pick(ATOMS);
  const size = Math.floor(random() * 4);
  if (kind < 0.75) {
    return `[${space()}${Array.from({ length: size }, () => generate(random, depth + 1)).join(`${space()},${space()}`)}${space()}]`;
  }
  const members = Array.from({ length: size }, (_, index) => {
    const name = pick(["a", "value", "__proto__", "\\u0061", "é", `n${index}`]);
    return `"${name}"${space()}:${space()}${generate(random, depth + 1)}`;
  });
  return `{${space()}${members.join(`${space()},`)}${space()}}`;
}

function mutate(text: string, random: () => number): string {
  const at = Math.floor(random() * (text.length + 1));
  const noise = NOISE[Math.floor(random() * NOISE.length)] as string;
  const kind = random();
  if (kind < 0.4) return text.slice(0, at) + noise + text.slice(at);
  if (kind < 0.7) return text.slice(0, at) + text.slice(at + 1);
  return text.slice(0, at) + noise + text.slice(at + 1);
}

describe("against JSON.parse as the oracle", () => {
  /** More are tried at times; fewer where each of many faults is planted. */
  const texts = Number(process.env.SCANNER_TEXTS ?? 20_000);
  const seed = Number(process.env.SCANNER_SEED ?? 20_261_124);

  it(`${texts} generated and mutated values (seed ${seed})`, () => {
    const random = randomOf(seed);
    let accepted = 0;
    for (let count = 0; count < texts; count++) {
      let text = generate(random, 0);
      for (let edits = Math.floor(random() * 3); edits > 0; edits--) text = mutate(text, random);
      const body = bytesOf(`{"value":${text}}`);
      let parsed: unknown;
      let valid = true;
      try {
        // A value that closes the body early and opens another member is a matter of the body, not of the value.
        JSON.parse(decoder.decode(bytesOf(text)));
        parsed = JSON.parse(decoder.decode(body));
      } catch {
        valid = false;
      }
      const whole = outcome(body) as { texts?: string[] };
      if (valid) {
        accepted++;
        expect(whole, text).toMatchObject({ body: { value: 0 } });
        const [value] = whole.texts as [string];
        expect(value, text).toBe(decoder.decode(bytesOf(text)).trim());
        expect(JSON.parse(value), text).toEqual((parsed as { value: unknown }).value);
      } else if (whole.texts !== undefined) {
        // Valid as a body, though not with this text as its value: `1,"metadata":2`.
        expect(() => JSON.parse(decoder.decode(body)), text).not.toThrow();
      }
      expect(outcome(body, [1]), text).toEqual(whole);
      expect(outcome(body, [1 + Math.floor(random() * 7), 1 + Math.floor(random() * 3)]), text).toEqual(whole);
    }
    expect(accepted).toBeGreaterThan(texts / 4);
    expect(accepted).toBeLessThan(texts - texts / 10);
  }, 600_000);

  it("random bytes are refused where they are no UTF-8, as a fatal decoder refuses them", () => {
    const random = randomOf(7);
    for (let count = 0; count < Math.min(texts, 20_000); count++) {
      const inside = Uint8Array.from({ length: 1 + Math.floor(random() * 5) }, () => 0x20 + Math.floor(random() * 224));
      const body = Uint8Array.of(...bytesOf('{"value":"'), ...inside, ...bytesOf('"}'));
      let valid = true;
      try {
        JSON.parse(decoder.decode(body));
      } catch {
        valid = false;
      }
      const result = outcome(body) as { texts?: string[]; code?: string };
      expect(result.texts !== undefined, Buffer.from(inside).toString("hex")).toBe(valid);
      if (!valid) expect(result.code).toBe("invalid_request");
    }
  });
});

describe("raw values", () => {
  it("keep their text, white space around them left out, and stand in the body as their index", () => {
    expect(scan(bytesOf(' { "ttl" : 1.50, "value" : [ 1.0 , {} ] , "metadata" : "x" } '))).toEqual({
      body: { ttl: 1.5, value: 0, metadata: 1 },
      texts: ["[ 1.0 , {} ]", '"x"'],
    });
  });

  it("are found by their name, however it is escaped, at their depth only", () => {
    expect(scan(bytesOf('{"v\\u0061lue":1,"other":{"value":2}}'))).toEqual({
      body: { value: 0, other: { value: 2 } },
      texts: ["1"],
    });
    const batch = { ...OPTIONS, levels: 3, raw: ["value"] };
    expect(scan(bytesOf('{"value":1,"operations":[{"key":"a","value":{"value":2}}]}'), [3], batch)).toEqual({
      body: { value: 1, operations: [{ key: "a", value: 0 }] },
      texts: ['{"value":2}'],
    });
  });

  it("may nest 512 deep, 513 is invalid_value", () => {
    const nested = (depth: number) => bytesOf(`{"value":${"[".repeat(depth)}${"]".repeat(depth)}}`);
    expect(scan(nested(512)).texts[0]).toHaveLength(1024);
    expect(outcome(nested(513))).toMatchObject({ code: "invalid_value" });
    expect(outcome(nested(513), [1])).toEqual(outcome(nested(513)));
  });
});

describe("a long string", () => {
  it("is looked at four bytes by four, and no byte of it is missed, wherever it lies", () => {
    const before = '{"value":"'.length;
    for (let byte = 0; byte < 256; byte++) {
      for (let place = 124; place < 140; place++) {
        const text = bytesOf(`{"value":"${"x".repeat(160)}"}`);
        text[before + place] = byte;
        const expected = outcome(text, [1]);
        for (let offset = 0; offset < 4; offset++) {
          const body = new Uint8Array(text.length + offset).subarray(offset);
          body.set(text);
          expect(outcome(body), `byte ${byte} at ${place} of ${offset}`).toEqual(expected);
        }
      }
    }
  });
});

describe("the request's own members", () => {
  it.each([
    ['{"value":1,"value":2}', /^Duplicate member at byte 11: .*"value" again/],
    ['{"value":1,"v\\u0061lue":2}', /^Duplicate member/],
    ['{"é😀":1,"\\u00e9😀":2}', /^Duplicate member at byte 12: .*"é😀" again/],
    ['{"value":1', /^Malformed JSON at byte 10: expected .*, got the end/],
    ["", /^Expected a JSON body, got an empty one/],
    ["  ", /^Expected a JSON body, got an empty one/],
    ['{"value":01}', /^Malformed JSON at byte 10/],
    ['{"value":"\u0001"}', /control characters escaped/],
    ['{"value":1} x', /^Malformed JSON at byte 12: expected nothing more, got "x"/],
  ])("%j is refused", (body, message) => {
    const whole = outcome(bytesOf(body)) as { code: string; message: string };
    expect(whole.code).toBe("invalid_request");
    expect(whole.message).toMatch(message);
    expect(outcome(bytesOf(body), [1])).toEqual(whole);
  });

  it("may take ownBytes, white space included, and no more", () => {
    const padded = (spaces: number) => bytesOf(`{${" ".repeat(spaces)}"value":${"9".repeat(5000)}}`);
    expect(scan(padded(1024 - 10)).texts[0]).toHaveLength(5000);
    expect(outcome(padded(1024 - 9))).toMatchObject({ code: "too_large" });
    expect(outcome(padded(1024 - 9), [1])).toEqual(outcome(padded(1024 - 9)));
  });

  it("a byte order mark before them is ignored, a second one refused", () => {
    expect(scan(bytesOf('\ufeff{"value":"\ufeff"}')).texts).toEqual(['"\ufeff"']);
    expect(outcome(bytesOf('\ufeff\ufeff{"value":1}'))).toMatchObject({ code: "invalid_request" });
  });

  it.each([
    ['{"a":', "Malformed JSON at byte 5: expected a value, got the end"],
    ['{"value":', "Malformed JSON at byte 9: expected a value, got the end"],
    ['"abc', "Malformed JSON at byte 4: expected the rest of a string, with control characters escaped, got the end"],
    ["[", 'Malformed JSON at byte 1: expected a value or "]", got the end'],
    ["x", 'Malformed JSON at byte 0: expected a value, got "x"'],
    ["\ufeff", "Expected a JSON body, got an empty one"],
    ['{"a":1 ~', 'Malformed JSON at byte 7: expected "," or "}", got "~"'],
    ["{\u007f", 'Malformed JSON at byte 1: expected a member name or "}", got byte 0x7F'],
    ["{\u001f", 'Malformed JSON at byte 1: expected a member name or "}", got byte 0x1F'],
    [
      '"\u000a"',
      "Malformed JSON at byte 1: expected the rest of a string, with control characters escaped, got byte 0x0A",
    ],
    ["1. ", 'Malformed JSON at byte 2: expected a digit, got " "'],
    ["tru ", 'Malformed JSON at byte 3: expected the rest of "true", got " "'],
    ['"\\u00g', 'Malformed JSON at byte 5: expected a hexadecimal digit, got "g"'],
    ["\u00ef", "Malformed JSON at byte 0: expected a value, got byte 0xC3"],
    [
      '{"0123456789abcdef":1,"0123456789abcdef":1}',
      'Duplicate member at byte 22: expected each name once, got "0123456789abcdef" again',
    ],
    [
      '{"0123456789abcdefg":1,"0123456789abcdefg":1}',
      "Duplicate member at byte 23: expected each name once, got a name again",
    ],
    ["[[[[[[[[[[", 'Expected at most 9 nested arrays and objects besides "value" and "metadata", got more at byte 9'],
  ])("%j is refused in these words", (body, message) => {
    for (const sizes of [undefined, [1]]) {
      expect(outcome(bytesOf(body), sizes)).toEqual({ code: "invalid_request", message });
    }
  });

  it("that are no UTF-8 are told from those that are no JSON", () => {
    const inString = (...bytes: number[]) => Uint8Array.of(...bytesOf('{"value":"'), ...bytes, 0x22, 0x7d);
    for (const [bytes, message] of [
      [[0x80], "Invalid UTF-8 at byte 10: expected a character, got byte 0x80"],
      [[0xff], "Invalid UTF-8 at byte 10: expected a character, got byte 0xFF"],
      [[0x7f, 0xc3, 0x28], 'Invalid UTF-8 at byte 12: expected a continuation byte, got "("'],
      [[0xe1, 0x80], 'Invalid UTF-8 at byte 12: expected a continuation byte, got "\\""'],
    ] as const) {
      expect(outcome(inString(...bytes))).toEqual({ code: "invalid_request", message });
    }
  });

  it("may hold the first and the last character of each length, and no byte beyond them", () => {
    const inString = (hex: string) => Uint8Array.of(...bytesOf('{"value":"'), ...Buffer.from(hex, "hex"), 0x22, 0x7d);
    const LIMITS = [
      ...[0x20, 0x7f, 0x80, 0x7ff, 0x800, 0xfff, 0x1000, 0xcfff, 0xd000, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x3ffff],
      ...[0x40000, 0xfffff, 0x100000, 0x10ffff],
    ].map((point) => String.fromCodePoint(point));
    for (const text of LIMITS) expect(scan(bytesOf(`{"value":"${text}"}`)).texts, text).toEqual([`"${text}"`]);
    for (const hex of [
      ...[
        "80",
        "bf",
        "c080",
        "c1bf",
        "c27f",
        "c2c0",
        "dfc0",
        "e09fbf",
        "e0c080",
        "e17f80",
        "e1c080",
        "e1807f",
        "e180c0",
      ],
      ...[
        "ed7fbf",
        "eda080",
        "ef7fbf",
        "efc080",
        "f08fbfbf",
        "f0c08080",
        "f17f8080",
        "f1c08080",
        "f1807f80",
        "f18080c0",
      ],
      ...["f47f8080", "f4908080", "f5808080", "ff", "c2", "e180", "f18080"],
    ]) {
      expect(outcome(inString(hex)), hex).toMatchObject({ code: "invalid_request" });
    }
  });

  it("may hold every token that JSON.parse takes, and none that it refuses", () => {
    for (const text of [
      ...["0", "-0", "-1", "10", "1e5", "1E+05", "0e-1", "1.50e10", "0.0", "-9.9e-9"],
      ...["00", "-", "+1", "1.", ".1", "1e", "1e+", "1.e1", "-a", "0x1", "1e1.5", "1-", "--1", "1e+-1"],
      ...["true", "false", "null", "tru", "nul", "fals", "True", "truee", "nulll"],
      ...['"\\"\\\\\\/\\b\\f\\n\\r\\t\\uAf09"', '"\\a"', '"\\u12g4"', '"\\u123"', '"\\x41"', "'a'"],
      ...[
        "[]",
        "[1,2]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{}",
        '{"a":1}',
        '{"a":1,}',
        "{,}",
        '{"a"}',
        '{"a":}',
        "{1:2}",
        "[}",
        "{]",
      ],
    ]) {
      const body = `{"value":${text}}`;
      let valid = true;
      try {
        JSON.parse(body);
      } catch {
        valid = false;
      }
      const { texts } = outcome(bytesOf(body)) as { texts?: string[] };
      expect([text, texts]).toEqual([text, valid ? [text] : undefined]);
    }
  });

  it("may nest so deep and no deeper, and are the same however they are cut", () => {
    const nested = (depth: number) => `${"[".repeat(depth)}1${"]".repeat(depth)}`;
    expect(scan(bytesOf(nested(9))).body).toEqual(JSON.parse(nested(9)));
    expect(scan(bytesOf(`{"other":${nested(8)}}`)).body).toEqual({ other: JSON.parse(nested(8)) });
    expect(outcome(bytesOf(`{"value":${"[".repeat(513)}`))).toEqual({
      code: "invalid_value",
      message: "Expected at most 512 nested arrays and objects in a value, got more at byte 521",
    });
    // Both too large and too deep, or malformed.
    const tight = { ...OPTIONS, ownBytes: 5 };
    for (const body of [`${"[".repeat(10)}`, '["abcdef" x']) {
      for (const sizes of [[100], [1]]) {
        expect(() => scan(bytesOf(body), sizes, tight)).toThrow(
          'Expected at most 5 bytes besides "value" and "metadata", got more',
        );
      }
    }
  });

  it("may be a text, or texts in an array", () => {
    for (const body of ['"abc"', '["a","a"]', "[true,null]", "7"]) {
      expect(scan(bytesOf(body))).toEqual({ body: JSON.parse(body), texts: [] });
      expect(scan(bytesOf(body), [1])).toEqual({ body: JSON.parse(body), texts: [] });
    }
  });

  it("are not what a raw value is counted as, when something is wrong in it", () => {
    const long = `{"value":["${"9".repeat(5000)}",`;
    for (const sizes of [undefined, [100]]) {
      expect(outcome(bytesOf(`${long}x`), sizes)).toMatchObject({ code: "invalid_request" });
      expect(outcome(bytesOf(long + "[".repeat(512)), sizes)).toMatchObject({ code: "invalid_value" });
    }
  });

  it("have each name once in each of their own objects; deeper and in raw values the last one counts", () => {
    const scanned = (body: string, levels = 1) => scan(bytesOf(body), [100], { ...OPTIONS, levels });
    expect(scanned('{"other":{"a":1,"a":2}}').body).toEqual({ other: { a: 2 } });
    expect(scanned('{"value":{"a":1,"a":2,"value":3}}').texts).toEqual(['{"a":1,"a":2,"value":3}']);
    expect(scanned('{"a":{"x":1},"b":{"x":2,"a":3},"c":4}', 2).body).toEqual({ a: { x: 1 }, b: { x: 2, a: 3 }, c: 4 });
    expect(() => scanned('{"a":{"x":1,"x":2}}', 2)).toThrow(/^Duplicate member at byte 12/);
    expect(() => scanned('{"a":{"x":1},"a":2}', 2)).toThrow(/^Duplicate member at byte 13/);
    expect(() => scanned('{"value":{"x":1},"value":2}', 1)).toThrow(/^Duplicate member/);
  });

  it("never quotes a long name, which may be a secret in the wrong place", () => {
    const secret = "canary-canary-canary";
    expect(JSON.stringify(outcome(bytesOf(`{"${secret}":1,"${secret}":1}`)))).not.toContain("canary");
  });
});
