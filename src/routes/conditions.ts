import type { Context } from "hono";
import type { Condition } from "../core/entry.ts";
import { invalid } from "../core/errors.ts";
import { CONDITION_LENGTH } from "../core/limits.ts";

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
  const ifMatch = tags(match, false);
  const ifNoneMatch = tags(noneMatch, true);
  return (ifMatch ?? ifNoneMatch) && { ...(ifMatch && { ifMatch }), ...(ifNoneMatch && { ifNoneMatch }) };
}

function tags({ name, ...given }: Field, takesWeak: boolean): "*" | string[] | undefined {
  const field = given.field?.trim();
  if (field === undefined || field === "*") return field;
  if (field.length > CONDITION_LENGTH) throw invalid(name, `Expected at most ${CONDITION_LENGTH} characters`);
  return split(field).flatMap((element) => {
    const [tag, weak, version = ""] = TAG.exec(element) ?? [];
    if (tag !== undefined) return weak === undefined || takesWeak ? [version] : [];
    throw invalid(name, `Expected "*" or entity tags as an ETag gives them, quotes included`);
  });
}

/** The elements of a list: a comma inside an entity tag does not part them. Empty elements count for nothing. */
function split(field: string): string[] {
  return (field.match(/(?:[^",]|"[^"]*"?)+/g) ?? []).map((element) => element.trim()).filter(Boolean);
}
