/**
 * Checks a request body as JSON (RFC 8259) while it arrives and finds where the values lie that are stored as text, so
 * that no value is ever materialised. What it accepts is what `JSON.parse` accepts, except that
 *
 * - bytes are checked as UTF-8 (RFC 3629) and refused where they are not, never replaced; UTF-16 and UTF-32 are refused;
 * - one UTF-8 byte order mark at the very beginning is ignored (offsets count it); a second one, and one before a value, is
 *   refused, and in a string it is a character, as for `JSON.parse`;
 * - a duplicate member name, escapes resolved, is refused in the request's own objects: those at most `levels` deep. Deeper
 *   objects that are in no raw value keep the last one, as `JSON.parse` does;
 * - a raw value nests at most `depth` arrays and objects, everything else at most `levels + 8`;
 * - there may be `ownBytes` bytes outside raw values (white space and the byte order mark among them);
 * - a raw value's text is only checked: duplicate members, `1E400`, `1.0` and lone surrogate escapes stay as sent.
 *
 * The machine is one table of states times bytes. An entry below `ACTION` is the next state (0 is a fault), any other is
 * something to do. What is thrown depends on the bytes alone, not on how they were cut into chunks.
 */
import { KvError } from "./errors.ts";
import { quote } from "./key.ts";

/** What a scanner accepts and what it keeps as text. */
export interface JsonScannerOptions {
  /** How many arrays and objects may be nested inside a raw value (`Limits.depth`). */
  depth: number;
  /** How deep the request's own objects go, arrays counted: 1 for `{"value":1}`, 3 for `{"operations":[{"value":1}]}`. */
  levels: number;
  /** Names, unescaped, of the members whose values are kept as text, in objects at exactly the depth of `levels`. */
  raw: readonly string[];
  /** How many bytes there may be outside raw values. */
  ownBytes: number;
}

/** A body that was well-formed. */
export interface ScannedBody {
  /** The body parsed, with each raw value replaced by its index in `spans`. */
  body: unknown;
  /** The bytes [start, end) of each raw value in all that was written, white space around it left out. */
  spans: readonly (readonly [start: number, end: number])[];
}

/** Takes a body in chunks of bytes, cut anywhere; of no use any more once it has thrown or `end` was called. */
export interface JsonScanner {
  /** Throws `invalid_request` (malformed), `invalid_value` (nested too deep) or `too_large` (over `ownBytes`). */
  write(chunk: Uint8Array): void;
  /** Throws `invalid_request` where the body is not complete. */
  end(): ScannedBody;
}

/** How much deeper than `levels` the request itself may nest, so that a wrong shape gets to its validation. */
const SPARE_LEVELS = 8;
/** A longer name is left out of a message: it may be a secret in the wrong place. */
const NAME_QUOTED_MAX = 16;

/** What each state expects, for messages; the index is the state. */
const EXPECTED = [""];
const state = (expected: string) => EXPECTED.push(expected) - 1;
const states = (count: number, expected: string) => Array.from({ length: count }, () => state(expected));

const START = state("a value");
const VALUE = state("a value");
const RAW_VALUE = state("a value");
const FIRST_VALUE = state('a value or "]"');
const FIRST_NAME = state('a member name or "}"');
const NAME = state("a member name");
const COLON = state('":"');
const RAW_COLON = state('":"');
const AFTER_BODY = state("nothing more");
const AFTER_MEMBER = state('"," or "}"');
const AFTER_ELEMENT = state('"," or "]"');
const STRING = state("the rest of a string, with control characters escaped");
const ESCAPE = state('one of "\\/bfnrtu after a backslash');
const ZERO = state('".", "e" or the end of the number');
const INTEGER = state('a digit, ".", "e" or the end of the number');
const FRACTION = state('a digit, "e" or the end of the number');
const EXPONENT = state("a digit or the end of the number");
const UTF8_FIRST = EXPECTED.length;
const [LAST, LAST_2, LAST_3, AFTER_E0, AFTER_ED, AFTER_F0, AFTER_F4] = states(7, "a continuation byte") as Seven;
const UTF8_END = EXPECTED.length;
type Seven = [number, number, number, number, number, number, number];

const ACTION = 64;
const OPEN_OBJECT = 64;
const OPEN_ARRAY = 65;
const CLOSE = 66;
const NAME_START = 67;
const STRING_END = 68;
const WORD_END = 69;
const NUMBER_END = 70;
const RAW_START = 71;

const TABLE = new Uint8Array(ACTION << 8);
const SPACE = " \t\n\r";
const HEX = "0123456789abcdefABCDEF";

function range(from: number, first: number, last: number, next: number): void {
  TABLE.fill(next, (from << 8) | first, ((from << 8) | last) + 1);
}

function on(from: number, characters: string, next: number): void {
  for (const character of characters) TABLE[(from << 8) | character.charCodeAt(0)] = next;
}

/** A path of one state a step; each step is the characters that it takes. */
function path(from: number, steps: readonly string[], expected: string, end: number): void {
  steps.forEach((characters, index) => {
    const next = index === steps.length - 1 ? end : state(expected);
    on(from, characters, next);
    from = next;
  });
}

range(STRING, 0x20, 0x7f, STRING);
on(STRING, '"', STRING_END);
on(STRING, "\\", ESCAPE);
on(ESCAPE, '"\\/bfnrt', STRING);
path(ESCAPE, ["u", HEX, HEX, HEX, HEX], "a hexadecimal digit", STRING);

// RFC 3629, section 4: the second byte after E0, ED, F0 and F4 is what shuts out overlong forms and surrogates.
range(STRING, 0xc2, 0xdf, LAST);
range(STRING, 0xe0, 0xef, LAST_2);
range(STRING, 0xe0, 0xe0, AFTER_E0);
range(STRING, 0xed, 0xed, AFTER_ED);
range(STRING, 0xf0, 0xf0, AFTER_F0);
range(STRING, 0xf1, 0xf3, LAST_3);
range(STRING, 0xf4, 0xf4, AFTER_F4);
range(LAST, 0x80, 0xbf, STRING);
range(LAST_2, 0x80, 0xbf, LAST);
range(LAST_3, 0x80, 0xbf, LAST_2);
range(AFTER_E0, 0xa0, 0xbf, LAST);
range(AFTER_ED, 0x80, 0x9f, LAST);
range(AFTER_F0, 0x90, 0xbf, LAST_2);
range(AFTER_F4, 0x80, 0x8f, LAST_2);

const DIGITS = "0123456789";
const [MINUS, POINT, E, SIGN] = states(4, "a digit") as [number, number, number, number];
on(MINUS, "0", ZERO);
on(MINUS, DIGITS.slice(1), INTEGER);
on(INTEGER, DIGITS, INTEGER);
for (const integer of [ZERO, INTEGER]) on(integer, ".", POINT);
for (const digits of [POINT, FRACTION]) on(digits, DIGITS, FRACTION);
for (const mantissa of [ZERO, INTEGER, FRACTION]) on(mantissa, "eE", E);
on(E, "+-", SIGN);
for (const digits of [E, SIGN, EXPONENT]) on(digits, DIGITS, EXPONENT);
/** Where a number may end, which only the byte after it tells. */
const NUMBERS = [ZERO, INTEGER, FRACTION, EXPONENT];
for (const number of NUMBERS) on(number, `${SPACE},]}`, NUMBER_END);

on(VALUE, SPACE, VALUE);
on(VALUE, '"', STRING);
on(VALUE, "{", OPEN_OBJECT);
on(VALUE, "[", OPEN_ARRAY);
on(VALUE, "-", MINUS);
on(VALUE, "0", ZERO);
on(VALUE, DIGITS.slice(1), INTEGER);
for (const word of ["true", "false", "null"]) path(VALUE, [...word], `the rest of "${word}"`, WORD_END);
for (const like of [START, FIRST_VALUE]) TABLE.copyWithin(like << 8, VALUE << 8, (VALUE + 1) << 8);
path(START, ["\xef", "\xbb", "\xbf"], "the rest of a byte order mark", VALUE);
on(FIRST_VALUE, SPACE, FIRST_VALUE);
on(FIRST_VALUE, "]", CLOSE);
on(RAW_VALUE, `"{[-${DIGITS}tfn`, RAW_START);

for (const at of [RAW_VALUE, FIRST_NAME, NAME, COLON, RAW_COLON, AFTER_BODY, AFTER_MEMBER, AFTER_ELEMENT]) {
  on(at, SPACE, at);
}
for (const name of [FIRST_NAME, NAME]) on(name, '"', NAME_START);
for (const member of [FIRST_NAME, AFTER_MEMBER]) on(member, "}", CLOSE);
on(COLON, ":", VALUE);
on(RAW_COLON, ":", RAW_VALUE);
on(AFTER_MEMBER, ",", NAME);
on(AFTER_ELEMENT, ",", VALUE);
on(AFTER_ELEMENT, "]", CLOSE);

const decoder = new TextDecoder();

class Scanner implements JsonScanner {
  readonly #options: JsonScannerOptions;
  #state = START;
  /** The state after the next value, for each open object and array; its first entry is the body's. */
  #stack = new Uint8Array(32);
  #depth = 0;
  #maxDepth: number;
  /** Where the open name began, -1 outside names. */
  #nameAt = -1;
  #names: (Set<string> | undefined)[] = [];
  /** The depth of the object whose raw value is open, -1 outside raw values. */
  #rawDepth = -1;
  #rawAt = 0;
  #rawBytes = 0;
  #spans: [number, number][] = [];
  /** How many bytes came before this chunk. */
  #before = 0;
  /** The body without its raw values, but for what of this chunk has not been copied yet: all from `#from`. */
  #own = new Uint8Array(64);
  #ownLength = 0;
  #from = 0;

  constructor(options: JsonScannerOptions) {
    this.#options = options;
    this.#maxDepth = options.levels + SPARE_LEVELS;
    this.#stack[0] = AFTER_BODY;
  }

  write(chunk: Uint8Array): void {
    const table = TABLE;
    const size = chunk.length;
    let [stack, state, depth, nameAt, at] = [this.#stack, this.#state, this.#depth, this.#nameAt, 0];
    this.#from = 0;
    while (at < size) {
      const next = table[(state << 8) | (chunk[at] as number)] as number;
      if (next < ACTION) {
        if (next === 0) throw this.#fault(state, chunk, at);
        state = next;
        at++;
        if (next === STRING) while (at < size && table[(STRING << 8) | (chunk[at] as number)] === STRING) at++;
        continue;
      }
      if (next === RAW_START) {
        this.#startRaw(chunk, at, depth);
        state = VALUE;
        continue;
      }
      // The byte after a number is not part of it and is looked at again.
      if (next !== NUMBER_END) at++;
      if (next <= OPEN_ARRAY) {
        if (depth === this.#maxDepth) throw this.#tooDeep(chunk, at - 1);
        if (++depth === stack.length) stack = this.#growStack();
        stack[depth] = next === OPEN_OBJECT ? AFTER_MEMBER : AFTER_ELEMENT;
        state = next === OPEN_OBJECT ? FIRST_NAME : FIRST_VALUE;
        if (this.#rawDepth < 0) this.#names[depth] = undefined;
      } else if (next === NAME_START) {
        nameAt = this.#before + at - 1;
        state = STRING;
      } else if (next === STRING_END && nameAt >= 0) {
        const own = this.#rawDepth < 0 && depth <= this.#options.levels;
        state = own ? this.#endName(chunk, at, depth, nameAt) : COLON;
        nameAt = -1;
      } else {
        if (next === CLOSE) depth--;
        if (depth === this.#rawDepth) this.#endRaw(at);
        state = stack[depth] as number;
      }
    }
    if (this.#rawDepth < 0) this.#copyOwn(chunk, size);
    [this.#state, this.#depth, this.#nameAt] = [state, depth, nameAt];
    this.#before += size;
  }

  end(): ScannedBody {
    const complete = this.#depth === 0 && (this.#state === AFTER_BODY || NUMBERS.includes(this.#state));
    if (!complete) throw this.#fault(this.#state, new Uint8Array(0), 0);
    return { body: JSON.parse(decoder.decode(this.#own.subarray(0, this.#ownLength))), spans: this.#spans };
  }

  #growStack(): Uint8Array<ArrayBuffer> {
    const stack = new Uint8Array(this.#stack.length * 2);
    stack.set(this.#stack);
    this.#stack = stack;
    return stack;
  }

  #startRaw(chunk: Uint8Array, at: number, depth: number): void {
    this.#copyOwn(chunk, at);
    for (const digit of String(this.#spans.length)) this.#push(digit.charCodeAt(0));
    this.#rawDepth = depth;
    this.#maxDepth = depth + this.#options.depth;
    this.#rawAt = this.#before + at;
  }

  #endRaw(at: number): void {
    const end = this.#before + at;
    this.#spans.push([this.#rawAt, end]);
    this.#rawBytes += end - this.#rawAt;
    this.#rawDepth = -1;
    this.#maxDepth = this.#options.levels + SPARE_LEVELS;
    this.#from = at;
  }

  /** Says what follows the name that ended before `at`. */
  #endName(chunk: Uint8Array, at: number, depth: number, nameAt: number): number {
    this.#copyOwn(chunk, at);
    const length = this.#before + at - nameAt;
    const name: string = JSON.parse(decoder.decode(this.#own.subarray(this.#ownLength - length, this.#ownLength)));
    this.#names[depth] ??= new Set();
    const names = this.#names[depth] as Set<string>;
    if (names.has(name)) {
      const got = name.length > NAME_QUOTED_MAX ? "a name" : quote(name);
      throw refusal(`Duplicate member at byte ${nameAt}: expected each name once in an object, got ${got} again`);
    }
    names.add(name);
    return depth === this.#options.levels && this.#options.raw.includes(name) ? RAW_COLON : COLON;
  }

  #copyOwn(chunk: Uint8Array, to: number): void {
    const { ownBytes } = this.#options;
    if (this.#before + to - this.#rawBytes > ownBytes) {
      throw new KvError(
        "too_large",
        `Expected at most ${ownBytes} bytes besides ${this.#rawNames()}, got more; leave out white space and other members`,
      );
    }
    for (let index = this.#from; index < to; index++) this.#push(chunk[index] as number);
    this.#from = to;
  }

  #push(byte: number): void {
    if (this.#ownLength === this.#own.length) {
      const larger = new Uint8Array(this.#own.length * 2);
      larger.set(this.#own);
      this.#own = larger;
    }
    this.#own[this.#ownLength++] = byte;
  }

  #rawNames(): string {
    return this.#options.raw.map(quote).join(" and ");
  }

  #tooDeep(chunk: Uint8Array, at: number): KvError {
    const limit = `arrays and objects inside one another`;
    const got = `got more at byte ${this.#before + at}; nest less deeply`;
    if (this.#rawDepth >= 0) {
      return new KvError("invalid_value", `Expected at most ${this.#options.depth} ${limit} in a value, ${got}`);
    }
    this.#copyOwn(chunk, at);
    return refusal(`Expected at most ${this.#maxDepth} ${limit} besides ${this.#rawNames()}, ${got}`);
  }

  /** The byte at `at`, or the end where there is none, is not what the state expects. */
  #fault(state: number, chunk: Uint8Array, at: number): KvError {
    // A body that is both too large and malformed is the same whether or not the chunk was cut before the fault.
    if (this.#rawDepth < 0 && at > 0) this.#copyOwn(chunk, at);
    const byte = chunk[at];
    if (byte === undefined && this.#depth === 0 && (state === START || state === VALUE)) {
      return refusal("Expected a JSON body, got an empty one");
    }
    const utf8 = (state >= UTF8_FIRST && state < UTF8_END) || (state === STRING && byte !== undefined && byte >= 0x80);
    const expected = utf8 && state === STRING ? "a character" : EXPECTED[state];
    const what = `${utf8 ? "Invalid UTF-8" : "Malformed JSON"} at byte ${this.#before + at}`;
    return refusal(`${what}: expected ${expected}, got ${byte === undefined ? "the end" : shown(byte)}`);
  }
}

function shown(byte: number): string {
  if (byte >= 0x20 && byte < 0x7f) return quote(String.fromCharCode(byte));
  return `byte 0x${byte.toString(16).toUpperCase().padStart(2, "0")}`;
}

function refusal(message: string): KvError {
  return new KvError("invalid_request", message, { issues: [{ path: "", message }] });
}

/** A scanner of one body. */
export function createJsonScanner(options: JsonScannerOptions): JsonScanner {
  return new Scanner(options);
}
