/** What adapters are given and answer as JSON, bytes included: the way into the Worker and out of it. */

/** Not a name that a value's own member could have: values are bytes. */
const BYTES = "\0bytes";

export function encode(value: unknown): string {
  return JSON.stringify(value, function (this: Record<string, unknown>, name, member) {
    // Before a Buffer has made something else of itself.
    const given = this[name];
    return given instanceof Uint8Array ? { [BYTES]: Buffer.from(given).toString("base64") } : member;
  });
}

export function decode(text: string): unknown {
  return JSON.parse(text, (_, member) =>
    typeof member?.[BYTES] === "string" ? new Uint8Array(Buffer.from(member[BYTES], "base64")) : member,
  );
}
