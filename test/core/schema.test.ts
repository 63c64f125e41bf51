import { describe, expect, it } from "vitest";
import { faultsOf, type Schema } from "../../src/core/schema.ts";

const OBJECT: Schema = {
  type: "object",
  title: "an object",
  properties: {
    name: { type: "string", title: "a name", pattern: "^\\w+$" },
    size: { type: "integer", minimum: 1, maximum: 9 },
    rate: { type: ["number", "null"], title: "a number or null", exclusiveMinimum: 0 },
    kind: { enum: ["a", "b"] },
    list: { type: "array", items: { type: "boolean" } },
    any: {},
  },
  required: ["name"],
  additionalProperties: false,
};

const paths = (value: unknown) => faultsOf(OBJECT, value).map(({ path, message }) => `${path}: ${message}`);

describe("faultsOf", () => {
  it("finds nothing where all is as the schema has it, and takes undefined as not there", () => {
    expect(paths({ name: "a", size: 9, rate: null, kind: "b", list: [true], any: {} })).toEqual([]);
    expect(paths({ name: "a", size: undefined, extra: undefined })).toEqual([]);
  });

  it.each([
    [[], ": Expected an object"],
    [null, ": Expected an object"],
    [{}, "name: Missing"],
    [{ name: undefined }, "name: Missing"],
    [{ name: "a b" }, "name: Expected a name"],
    [{ name: "a", size: 0 }, "size: Expected integer"],
    [{ name: "a", size: 10 }, "size: Expected integer"],
    [{ name: "a", size: 1.5 }, "size: Expected integer"],
    [{ name: "a", rate: 0 }, "rate: Expected a number or null"],
    [{ name: "a", rate: Infinity }, "rate: Expected a number or null"],
    [{ name: "a", kind: "c" }, 'kind: Expected one of "a", "b"'],
    [{ name: "a", list: [true, 1] }, "list.1: Expected boolean"],
    [{ name: "a", list: true }, "list: Expected array"],
    [{ name: "a", more: 1 }, "more: Unknown member"],
    [JSON.parse('{"name":"a","__proto__":1}'), "__proto__: Unknown member"],
    [JSON.parse('{"name":"a","toString":1}'), "toString: Unknown member"],
  ])("%j: %s", (value, fault) => {
    expect(paths(value)).toEqual([fault]);
  });

  it("of several schemas names the faults of the one that has the type, or its own title", () => {
    const either: Schema = { anyOf: [OBJECT, { const: false, title: "false" }] };
    expect(faultsOf(either, false)).toEqual([]);
    expect(faultsOf(either, { name: 1 })).toMatchObject([{ path: "name", got: 1 }]);
    expect(faultsOf(either, true)).toMatchObject([{ path: "", message: "Expected an object or false" }]);
    expect(faultsOf({ ...either, title: "one of them" }, { name: 1 })).toMatchObject([
      { message: "Expected one of them" },
    ]);
  });
});
