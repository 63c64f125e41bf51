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

describe("faultsOf, further", () => {
  it("of objects that are told apart by a member finds what is wrong with the one that it names", () => {
    const kinds: Schema = {
      anyOf: [
        { type: "object", properties: { op: { const: "get" }, key: { type: "string" } }, required: ["op", "key"] },
        { type: "object", properties: { op: { const: "put" }, size: { type: "number" } }, required: ["op"] },
      ],
    };
    expect(faultsOf(kinds, { op: "put", size: 1 })).toEqual([]);
    expect(faultsOf(kinds, { op: "get" }, "at.0")).toEqual([{ path: "at.0.key", message: "Missing" }]);
    expect(faultsOf(kinds, { op: "put", size: "1" })).toMatchObject([{ path: "size", got: "1" }]);
    const unknown = { message: 'Expected one of "get", "put"', got: "other" };
    expect(faultsOf(kinds, { op: "other" })).toEqual([{ path: "op", ...unknown }]);
    expect(faultsOf(kinds, {})).toEqual([{ path: "op", ...unknown, got: undefined }]);
    expect(faultsOf(kinds, 1)).toMatchObject([{ path: "", got: 1 }]);
    const partly: Schema = { anyOf: [...(kinds.anyOf ?? []), { type: "object" }, { type: "object", properties: {} }] };
    expect(faultsOf(partly, { op: "other" })).toMatchObject([{ path: "op" }]);
  });

  it("of others takes any that has no fault, else tells those of the first that has the type", () => {
    const either: Schema = {
      anyOf: [
        { type: "string", pattern: "^a" },
        { type: "number", minimum: 5 },
        { type: "number", maximum: 1 },
      ],
    };
    for (const value of ["ab", 5, 1]) expect(faultsOf(either, value)).toEqual([]);
    expect(faultsOf(either, 3)).toEqual([{ path: "", message: "Expected number", got: 3 }]);
    expect(faultsOf(either, "b")).toMatchObject([{ message: "Expected string" }]);
    const branches: Schema = {
      anyOf: [
        { type: "object", properties: { a: {} }, required: ["a"] },
        { type: "object", properties: { b: {} }, required: ["b"] },
      ],
    };
    expect(faultsOf(branches, { b: 1 })).toEqual([]);
    expect(faultsOf(branches, {})).toEqual([{ path: "a", message: "Missing" }]);
    const untold: Schema = { anyOf: [{ type: "object", properties: {}, required: ["a"] }] };
    expect(faultsOf(untold, { a: 1 })).toEqual([]);
    expect(faultsOf({ anyOf: [{ type: "object", required: ["a"] }] }, { a: 1 })).toEqual([]);
  });

  it("takes any members and items where the schema says nothing of them", () => {
    expect(faultsOf({ type: "object" }, { a: 1 })).toEqual([]);
    expect(faultsOf({ type: "object", properties: {} }, { a: 1 })).toEqual([]);
    expect(faultsOf({ type: "object", properties: {}, additionalProperties: true }, { a: 1 })).toEqual([]);
    expect(faultsOf({ type: "array" }, [1])).toEqual([]);
    expect(faultsOf({ type: "array", items: { type: "number" } }, [1, "a"], "list")).toMatchObject([
      { path: "list.1" },
    ]);
    expect(faultsOf({}, null)).toEqual([]);
  });

  it("holds numbers to their bounds, the bounds included where they are not exclusive", () => {
    const bounded: Schema = { type: "number", minimum: 1, maximum: 2 };
    expect([0.9, 1, 2, 2.1].map((value) => faultsOf(bounded, value).length)).toEqual([1, 0, 0, 1]);
    const open: Schema = { type: "number", exclusiveMinimum: 0 };
    expect([0, 0.1].map((value) => faultsOf(open, value).length)).toEqual([1, 0]);
  });

  it("tests a pattern by characters, not by halves of them", () => {
    expect(faultsOf({ type: "string", pattern: "^.$" }, "😀")).toEqual([]);
  });
});
