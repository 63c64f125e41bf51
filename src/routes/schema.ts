/** What a request may hold: the one source of validation and of the OpenAPI document. */
import * as v from "valibot";
import { KvError } from "../core/errors.ts";
import { LIST_LIMIT_MAX } from "../core/limits.ts";

const seconds = (description: string, message: string) =>
  v.optional(v.nullable(v.pipe(v.number(message), v.finite(message), v.description(description))));

/** The body of a put. A value and a metadata are checked by the scanner and stand here as the index of their text. */
export const PUT_BODY = v.strictObject({
  value: v.pipe(v.unknown(), v.description("Any JSON value, `null` included")),
  ttl: seconds("Seconds to live, greater than 0; `null` is the same as none", "Expected a number of seconds or null"),
  expiration: seconds("Unix seconds at which the value expires", "Expected a number of Unix seconds or null"),
  metadata: v.optional(
    v.pipe(v.unknown(), v.description("Any JSON value, returned with reads and lists; `null` means none")),
  ),
});

/** The query of a list. */
export const LIST_QUERY = v.strictObject({
  prefix: v.optional(v.pipe(v.string(), v.description("Only keys that begin with these very characters")), ""),
  limit: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^[1-9]\d{0,3}$/, `Expected a whole number from 1 to ${LIST_LIMIT_MAX}`),
      v.transform(Number),
      v.maxValue(LIST_LIMIT_MAX, `Expected a whole number from 1 to ${LIST_LIMIT_MAX}`),
      v.description("How many keys the page holds at most"),
    ),
    String(LIST_LIMIT_MAX),
  ),
  cursor: v.optional(v.pipe(v.string(), v.description("As the page before gave it"))),
  include: v.optional(v.pipe(v.picklist(["values"], 'Expected "values"'), v.description("`values` adds each value"))),
});

/** The input as the schema has it; throws `invalid_request` with an issue for each fault. */
export function parse<T extends v.GenericSchema>(schema: T, input: unknown): v.InferOutput<T> {
  // To valibot an array is an object whose members are missing.
  const result = v.safeParse(schema, Array.isArray(input) ? null : input);
  if (result.success) return result.output;
  const issues = result.issues.map((issue) => ({ path: v.getDotPath(issue) ?? "", message: describe(issue) }));
  const detail = issues.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`)).join("; ");
  throw new KvError("invalid_request", detail, { issues });
}

function describe(issue: v.BaseIssue<unknown>): string {
  if (issue.type !== "strict_object") return issue.message;
  if (issue.expected === "never") return "Unknown member";
  return issue.expected === "Object" ? "Expected an object" : "Missing";
}
