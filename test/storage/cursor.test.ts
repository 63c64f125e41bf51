import { expect, it } from "vitest";
import { decodeCursor, encodeCursor } from "../../src/storage/cursor.ts";

it("gives back the adapter's cursor for the same prefix, whatever is in it", () => {
  for (const [cursor, prefix] of [
    ["a", ""],
    ["\u0000😀", "漢/"],
    ["", "x"],
  ] as const) {
    const text = encodeCursor(cursor, prefix);
    expect(text).toMatch(/^[\w-]+$/);
    expect(decodeCursor(text, prefix)).toBe(cursor);
  }
});

it("refuses a cursor that was given for another prefix", () => {
  expect(() => decodeCursor(encodeCursor("a", "x"), "y")).toThrow(
    expect.objectContaining({
      code: "invalid_request",
      issues: [{ path: "cursor", message: expect.stringContaining("of this prefix") }],
    }),
  );
});

it("refuses every change of one character, every cut and every addition", () => {
  const text = encodeCursor("key-17", "key-");
  for (let index = 0; index < text.length; index++) {
    const other = text[index] === "A" ? "B" : "A";
    for (const changed of [text.slice(0, index) + other + text.slice(index + 1), text.slice(0, index)]) {
      expect(() => decodeCursor(changed, "key-"), changed).toThrow(
        expect.objectContaining({ code: "invalid_request" }),
      );
    }
  }
  for (const changed of [`${text}A`, `${text}=`, ` ${text}`, "", "nonsense", "%"]) {
    expect(() => decodeCursor(changed, "key-"), changed).toThrow(expect.objectContaining({ code: "invalid_request" }));
  }
});
