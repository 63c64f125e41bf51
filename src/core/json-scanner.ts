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
import { decoder, hexOf, withRoom } from "./bytes.ts";
import { invalid, KvError } from "./errors.ts";
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
/** Up to how many bytes a name is read by hand. */
const SHORT_BYTES = 16;

/** What each state expects, for messages; the index is the state. */
const EXPECTED = [""];
const state = (expected: string) => EXPECTED.push(expected) - 1;

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
const ESCAPE = state('one of "\\/bfnrtu');
const ZERO = state("the rest or the end of a number");
const INTEGER = state("the rest or the end of a number");
const FRACTION = state("the rest or the end of a number");
const EXPONENT = state("the rest or the end of a number");
const MINUS = state("a digit");
const POINT = state("a digit");
const E = state("a digit");
const SIGN = state("a digit");

const ACTION = 64;
const OPEN_OBJECT = 64;
const OPEN_ARRAY = 65;
const CLOSE = 66;
const NAME_START = 67;
/** The end of a string or a word. */
const TEXT_END = 68;
const NUMBER_END = 69;
const RAW_START = 70;

/** What comes after a byte in a state, at `(state << 8) | byte`. */
const TABLE = new Uint8Array(ACTION << 8);

const SPACE = " \t\n\r";
const DIGITS = "0123456789";
const HEX = `${DIGITS}abcdefABCDEF`;
const VALUES = [START, VALUE, FIRST_VALUE];

function range(from: number, first: number, last: number, next: number): void {
  TABLE.fill(next, (from << 8) | first, ((from << 8) | last) + 1);
}

/** In each of the states `from` the characters lead to `next`. */
function on(characters: string, next: number, ...from: number[]): void {
  for (const state of from) for (const character of characters) TABLE[(state << 8) | character.charCodeAt(0)] = next;
}

/** A path of one state a step; each step is the characters that it takes. */
function path(steps: readonly string[], expected: string, end: number, ...from: number[]): void {
  let states = from;
  steps.forEach((characters, index) => {
    const next = index === steps.length - 1 ? end : state(expected);
    on(characters, next, ...states);
    states = [next];
  });
}

range(STRING, 0x20, 0x7f, STRING);
on('"', TEXT_END, STRING);
on("\\", ESCAPE, STRING);
on('"\\/bfnrt', STRING, ESCAPE);
path(["u", HEX, HEX, HEX, HEX], "a hexadecimal digit", STRING, ESCAPE);

const CONTINUATION = "a continuation byte";

/** First bytes of a character and the second bytes that they take; what comes after those is in the state `next`. */
function character(first: number, last: number, secondFirst: number, secondLast: number, next: number): number {
  const second = state(CONTINUATION);
  range(STRING, first, last, second);
  range(second, secondFirst, secondLast, next);
  return second;
}

// RFC 3629, section 4: the second byte after E0, ED, F0 and F4 is what shuts out overlong forms and surrogates.
const LAST = character(0xc2, 0xdf, 0x80, 0xbf, STRING);
character(0xe0, 0xe0, 0xa0, 0xbf, LAST);
const LAST_2 = character(0xe1, 0xef, 0x80, 0xbf, LAST);
character(0xed, 0xed, 0x80, 0x9f, LAST);
character(0xf0, 0xf0, 0x90, 0xbf, LAST_2);
character(0xf1, 0xf3, 0x80, 0xbf, LAST_2);
character(0xf4, 0xf4, 0x80, 0x8f, LAST_2);

/** Where a number may end, which only the byte after it tells. */
const NUMBERS = [ZERO, INTEGER, FRACTION, EXPONENT];
on("-", MINUS, ...VALUES);
on("0", ZERO, MINUS, ...VALUES);
on(DIGITS.slice(1), INTEGER, MINUS, ...VALUES);
on(DIGITS, INTEGER, INTEGER);
on(".", POINT, ZERO, INTEGER);
on(DIGITS, FRACTION, POINT, FRACTION);
on("eE", E, ZERO, INTEGER, FRACTION);
on("+-", SIGN, E);
on(DIGITS, EXPONENT, E, SIGN, EXPONENT);
on(`${SPACE},]}`, NUMBER_END, ...NUMBERS);

on('"', STRING, ...VALUES);
on("{", OPEN_OBJECT, ...VALUES);
on("[", OPEN_ARRAY, ...VALUES);
for (const word of ["true", "false", "null"]) path([...word], `the rest of "${word}"`, TEXT_END, ...VALUES);
path(["\xef", "\xbb", "\xbf"], "the rest of a byte order mark", VALUE, START);
on(`"{[-${DIGITS}tfn`, RAW_START, RAW_VALUE);

// The states from VALUE to AFTER_ELEMENT are those between tokens, where white space changes nothing.
on(SPACE, VALUE, START);
for (let at = VALUE; at <= AFTER_ELEMENT; at++) on(SPACE, at, at);
on('"', NAME_START, FIRST_NAME, NAME);
on(":", VALUE, COLON);
on(":", RAW_VALUE, RAW_COLON);
on(",", NAME, AFTER_MEMBER);
on(",", VALUE, AFTER_ELEMENT);
on("}", CLOSE, FIRST_NAME, AFTER_MEMBER);
on("]", CLOSE, FIRST_VALUE, AFTER_ELEMENT);

/** After so many characters of a string the next are looked at four by four. */
const SHORT_RUN = 128;

/** Behind `at` in a string, a place up to which all is ASCII that stands for itself. */
function endOfRun(chunk: Uint8Array, at: number): number {
  const { buffer, byteOffset, length } = chunk;
  let first = at;
  for (; (byteOffset + first) % 4 !== 0; first++) {
    if (first === length || TABLE[(STRING << 8) | (chunk[first] as number)] !== STRING) return first;
  }
  const words = new Int32Array(buffer, byteOffset + first, (length - first) >> 2);
  const count = words.length;
  let index = 0;
  while (index < count) {
    const word = words[index] as number;
    // A high bit is left where a byte is a control character, a quote or a backslash; of no ASCII by one of the last two.
    const quotes = ((word ^ 0x22222222) - 0x01010101) | 0;
    const backslashes = ((word ^ 0x5c5c5c5c) - 0x01010101) | 0;
    if ((((word - 0x20202020) | quotes | backslashes) & (0x80808080 | 0)) !== 0) break;
    index++;
  }
  return first + index * 4;
}

class Scanner implements JsonScanner {
  readonly #options: JsonScannerOptions;
  #state = START;
  /** The state after the next value, for each open object and array; its first entry is the body's. */
  #stack = Uint8Array.of(AFTER_BODY);
  #depth = 0;
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
  }

  write(chunk: Uint8Array): void {
    const size = chunk.length;
    let [state, depth, at] = [this.#state, this.#depth, 0];
    this.#from = 0;
    while (at < size) {
      const next = TABLE[(state << 8) | (chunk[at] as number)] as number;
      if (next < ACTION) {
        if (next === 0) throw this.#fault(state, chunk, at);
        state = next;
        at++;
        if (next === STRING) {
          const end = Math.min(at + SHORT_RUN, size);
          while (at < end && TABLE[(STRING << 8) | (chunk[at] as number)] === STRING) at++;
          if (at === end) at = endOfRun(chunk, at);
        }
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
        if (depth === (this.#rawDepth < 0 ? this.#options.levels + SPARE_LEVELS : this.#rawDepth + this.#options.depth))
          throw this.#tooDeep(chunk, at - 1);
        this.#stack = withRoom(this.#stack, ++depth + 1);
        this.#stack[depth] = next === OPEN_OBJECT ? AFTER_MEMBER : AFTER_ELEMENT;
        state = next === OPEN_OBJECT ? FIRST_NAME : FIRST_VALUE;
        if (this.#rawDepth < 0) this.#names[depth] = undefined;
      } else if (next === NAME_START) {
        this.#nameAt = this.#before + at - 1;
        state = STRING;
      } else if (next === TEXT_END && this.#nameAt >= 0) {
        state = depth <= this.#options.levels ? this.#endName(chunk, at, depth) : COLON;
        this.#nameAt = -1;
      } else {
        if (next === CLOSE) depth--;
        if (depth === this.#rawDepth) this.#endRaw(at);
        state = this.#stack[depth] as number;
      }
    }
    if (this.#rawDepth < 0) this.#copyOwn(chunk, size);
    [this.#state, this.#depth] = [state, depth];
    this.#before += size;
  }

  end(): ScannedBody {
    const complete = this.#depth === 0 && (this.#state === AFTER_BODY || NUMBERS.includes(this.#state));
    if (!complete) throw this.#fault(this.#state, new Uint8Array(0), 0);
    return { body: JSON.parse(decoder.decode(this.#own.subarray(0, this.#ownLength))), spans: this.#spans };
  }

  #startRaw(chunk: Uint8Array, at: number, depth: number): void {
    this.#copyOwn(chunk, at);
    for (const digit of String(this.#spans.length)) this.#push(digit.charCodeAt(0));
    this.#rawDepth = depth;
    this.#rawAt = this.#before + at;
  }

  #endRaw(at: number): void {
    this.#spans.push([this.#rawAt, this.#before + at]);
    this.#rawBytes += this.#before + at - this.#rawAt;
    this.#rawDepth = -1;
    this.#from = at;
  }

  /** Says what follows the name that ended before `at`. */
  #endName(chunk: Uint8Array, at: number, depth: number): number {
    this.#copyOwn(chunk, at);
    const length = this.#before + at - this.#nameAt;
    const text = textOf(this.#own, this.#ownLength - length, this.#ownLength);
    const name: string = text.includes("\\") ? JSON.parse(text) : text.slice(1, -1);
    this.#names[depth] ??= new Set();
    const names = this.#names[depth] as Set<string>;
    if (names.has(name)) {
      const got = name.length > NAME_QUOTED_MAX ? "a name" : quote(name);
      throw invalid("", `Duplicate member at byte ${this.#nameAt}: expected each name once, got ${got} again`);
    }
    names.add(name);
    return depth === this.#options.levels && this.#options.raw.includes(name) ? RAW_COLON : COLON;
  }

  #copyOwn(chunk: Uint8Array, to: number): void {
    const { ownBytes } = this.#options;
    if (this.#before + to - this.#rawBytes > ownBytes) {
      throw new KvError("too_large", `Expected at most ${ownBytes} bytes besides ${this.#rawNames()}, got more`);
    }
    this.#own = withRoom(this.#own, this.#ownLength + to - this.#from);
    const own = this.#own;
    let length = this.#ownLength;
    for (let index = this.#from; index < to; index++) own[length++] = chunk[index] as number;
    this.#ownLength = length;
    this.#from = to;
  }

  #push(byte: number): void {
    this.#own = withRoom(this.#own, this.#ownLength + 1);
    this.#own[this.#ownLength++] = byte;
  }

  #rawNames(): string {
    return this.#options.raw.map(quote).join(" and ");
  }

  #tooDeep(chunk: Uint8Array, at: number): KvError {
    const inValue = this.#rawDepth >= 0;
    if (!inValue) this.#copyOwn(chunk, at);
    const most = inValue ? this.#options.depth : this.#options.levels + SPARE_LEVELS;
    const where = inValue ? "in a value" : `besides ${this.#rawNames()}`;
    const message = `Expected at most ${most} nested arrays and objects ${where}, got more at byte ${this.#before + at}`;
    return inValue ? new KvError("invalid_value", message) : invalid("", message);
  }

  /** The byte at `at`, or the end where there is none, is not what the state expects. */
  #fault(state: number, chunk: Uint8Array, at: number): KvError {
    // A body that is both too large and malformed is the same whether or not the chunk was cut before the fault.
    if (this.#rawDepth < 0) this.#copyOwn(chunk, at);
    const byte = chunk[at];
    if (byte === undefined && this.#depth === 0 && (state === START || state === VALUE)) {
      return invalid("", "Expected a JSON body, got an empty one");
    }
    const first = state === STRING && byte !== undefined && byte >= 0x80;
    const expected = first ? "a character" : EXPECTED[state];
    const what = first || expected === CONTINUATION ? "Invalid UTF-8" : "Malformed JSON";
    const got = byte === undefined ? "the end" : shown(byte);
    return invalid("", `${what} at byte ${this.#before + at}: expected ${expected}, got ${got}`);
  }
}

/** A part of the bytes as text: by hand where it is short and ASCII, which costs a tenth of a decoder's call. */
function textOf(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let index = start; index < end; index++) {
    const byte = bytes[index] as number;
    if (byte >= 0x80 || end - start > SHORT_BYTES) return decoder.decode(bytes.subarray(start, end));
    text += String.fromCharCode(byte);
  }
  return text;
}

function shown(byte: number): string {
  if (byte >= 0x20 && byte < 0x7f) return quote(String.fromCharCode(byte));
  return `byte 0x${hexOf([byte]).toUpperCase()}`;
}

/** A scanner of one body. */
export function createJsonScanner(options: JsonScannerOptions): JsonScanner {
  return new Scanner(options);
}
