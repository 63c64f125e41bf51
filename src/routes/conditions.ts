import type { Context } from "hono";
import type { Condition } from "../core/entry.ts";
import { KvError } from "../core/errors.ts";

const TAG = /^(W\/)?"([\x21\x23-\x7e\x80-\uffff]*)"$/;

/**
 * The condition that a request's `If-Match` and `If-None-Match` state (RFC 9110, section 13.1), or `undefined`. A weak tag
 * never matches strongly, so `If-Match` leaves it out; `If-None-Match` compares weakly.
 */
export function conditionOf(c: Context): Condition | undefined {
  return parseCondition(
    { name: "If-Match", field: c.req.header("If-Match") },
    { name: "If-None-Match", field: c.req.header("If-None-Match") },
  );
}

/** The text of a condition, and what messages call it. */
interface Field {
  name: string;
  field: string | undefined;
}

/** The condition that the texts of `If-Match` and `If-None-Match` state; throws `invalid_request`. */
export function parseCondition(match: Field, noneMatch: Field): Condition | undefined {
  const ifMatch = tags(match, "strong");
  const ifNoneMatch = tags(noneMatch, "weak");
  if (ifMatch === undefined && ifNoneMatch === undefined) return undefined;
  return { ...(ifMatch !== undefined && { ifMatch }), ...(ifNoneMatch !== undefined && { ifNoneMatch }) };
}

function tags({ name, ...given }: Field, comparison: "strong" | "weak"): "*" | string[] | undefined {
  const field = given.field?.trim();
  if (field === undefined) return undefined;
  if (field === "*") return "*";
  const versions: string[] = [];
  for (const element of split(field)) {
    const [tag, weak, version = ""] = TAG.exec(element) ?? [];
    if (tag === undefined) {
      const message = `Expected "*" or entity tags in double quotes, as an ETag gives them, for example "abc"`;
      throw new KvError("invalid_request", `${name}: ${message}`, { issues: [{ path: name, message }] });
    }
    if (weak === undefined || comparison === "weak") versions.push(version);
  }
  return versions;
}

/** The elements of a list: a comma inside an entity tag does not part them. Empty elements count for nothing. */
function split(field: string): string[] {
  return (field.match(/(?:[^",]|"[^"]*"?)+/g) ?? [])
    .map((element) => element.trim())
    .filter((element) => element !== "");
}
