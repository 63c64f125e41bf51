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
    for (let count = 0; count < 20_000; count++) {
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

describe("the request's own members", () => {
  it.each([
    ['{"value":1,"value":2}', /^Duplicate member at byte 11: .*"value" again/],
    ['{"value":1,"v\\u0061lue":2}', /^Duplicate member/],
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

  it("never quotes a long name, which may be a secret in the wrong place", () => {
    const secret = "canary-canary-canary";
    expect(JSON.stringify(outcome(bytesOf(`{"${secret}":1,"${secret}":1}`)))).not.toContain("canary");
  });
});
