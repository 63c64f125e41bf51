/** What a request may hold: the one source of validation and of the OpenAPI document. */
import { faulty } from "../core/errors.ts";
import { LIST_LIMIT_MAX } from "../core/limits.ts";
import { faultsOf, type Schema } from "../core/schema.ts";

/** The body of a put as it is parsed: a value and a metadata stand in it as the index of their text. */
export interface PutBody {
  value: number;
  ttl?: number | null;
  expiration?: number | null;
  metadata?: number;
}

const PUT_MEMBERS: Readonly<Record<string, Schema>> = {
  value: { description: "Any JSON value" },
  ttl: {
    type: ["number", "null"],
    title: "a number of seconds greater than 0, or null",
    description: "Fractions are allowed",
    exclusiveMinimum: 0,
  },
  expiration: {
    type: ["number", "null"],
    title: "a number of Unix seconds in the future, or null",
    description: "Not beside `ttl`",
  },
  metadata: { description: "Any JSON value; `null` means none" },
};

const { ttl: _, ...EXPORTED_MEMBERS } = PUT_MEMBERS;

function object(properties: Readonly<Record<string, Schema>>, required: readonly string[]): Schema {
  return { type: "object", title: "an object", properties, required, additionalProperties: false };
}

export const PUT_BODY = object(PUT_MEMBERS, ["value"]);

/** A batch's operation as it is parsed. */
export type BatchItem = { key: string; ifMatch?: string; ifNoneMatch?: string } & (
  | { op: "get" | "delete" }
  | ({ op: "put" } & PutBody)
);

export interface BatchBody {
  operations: readonly BatchItem[];
  atomic?: boolean;
}

const PREFIX: Schema = { type: "string", title: "one literal prefix" };
const KEY: Schema = { type: "string", title: "a key" };

const tags = (header: string): Schema => ({
  type: "string",
  title: `the text of ${header}`,
  description: "Quotes included",
});
const operation = (op: string, members: Readonly<Record<string, Schema>> = {}, required: readonly string[] = []) =>
  object({ op: { const: op }, key: KEY, ...members, ifMatch: tags("If-Match"), ifNoneMatch: tags("If-None-Match") }, [
    "op",
    "key",
    ...required,
  ]);

export const BATCH_BODY = object(
  {
    operations: {
      type: "array",
      title: "a list of operations",
      items: {
        title: "an operation",
        anyOf: [operation("get"), operation("put", PUT_MEMBERS, ["value"]), operation("delete")],
      },
    },
    atomic: { type: "boolean", title: "true or false", description: "All or none", default: false },
  },
  ["operations"],
);

/** A line of an export as it is parsed. */
export type ImportLine = PutBody & { key: string };

/** What a line of an export and of an import holds. */
export const ENTRY_LINE = object({ key: KEY, ...EXPORTED_MEMBERS }, ["key", "value"]);

export const EXPORT_QUERY: Schema = { type: "object", properties: { prefix: PREFIX } };

export interface ListQuery {
  prefix?: string;
  limit?: number;
  cursor?: string;
  include?: "values";
}

export const LIST_QUERY: Schema = {
  type: "object",
  properties: {
    prefix: PREFIX,
    limit: {
      type: "integer",
      title: `a whole number from 1 to ${LIST_LIMIT_MAX}`,
      minimum: 1,
      maximum: LIST_LIMIT_MAX,
      default: LIST_LIMIT_MAX,
    },
    cursor: { type: "string", title: "one cursor" },
    include: { enum: ["values"] },
  },
  additionalProperties: false,
};

/** The input, which is as the schema has it; throws `invalid_request` with an issue for each fault. */
export function parse<T>(schema: Schema, input: unknown): T {
  const issues = faultsOf(schema, input).map(({ path, message }) => ({ path, message }));
  if (issues.length === 0) return input as T;
  throw faulty("invalid_request", issues);
}
