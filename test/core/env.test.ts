import { expect, it } from "vitest";
import { variable } from "../../src/core/env.ts";

function read(value: unknown) {
  const warnings: string[] = [];
  return { value: variable({ KV_NAME: value }, "KV_NAME", (line) => void warnings.push(line)), warnings };
}

it("is the text as it is set", () => {
  expect(read(" a ")).toEqual({ value: " a ", warnings: [] });
});

it.each([undefined, null])("is not set where it is %s", (value) => {
  expect(read(value)).toEqual({ value: undefined, warnings: [] });
});

it.each(["", " ", "\t\r\n"])("%j counts as not set, and a warning says so", (value) => {
  const warnings = ["KV_NAME is set but empty, which counts as not set"];
  expect(read(value)).toEqual({ value: undefined, warnings });
});

it.each([1, {}, true])("%j is a TypeError that names the variable", (value) => {
  expect(() => read(value)).toThrow(new TypeError(`KV_NAME: expected a string, got ${typeof value}`));
});
