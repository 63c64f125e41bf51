/**
 * The part of JSON Schema (2020-12) that requests and options need, as data: what validates is what the OpenAPI document
 * shows. A library that does both weighs more than 5 KB in a Worker, these lines less than 1.
 */
import type { KvIssue } from "./errors.ts";
import { ISSUES_MAX } from "./limits.ts";

type TypeName = "array" | "boolean" | "integer" | "null" | "number" | "object" | "string" | "function";

export interface Schema {
  /** What is expected, in words that go on "Expected …"; of an `anyOf` and an `enum` they are made. */
  readonly title?: string;
  readonly description?: string;
  /** `function` is for options only. An array is no object, and a number is finite. */
  readonly type?: TypeName | readonly TypeName[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  /** `false`: other members are refused. */
  readonly additionalProperties?: boolean | Schema;
  /**
   * One of these holds. Objects are told apart by the first member that they require, where it has a `const`; otherwise the
   * faults are those of the first that has the value's type, unless there is a `title`.
   */
  readonly anyOf?: readonly Schema[];
}

/** A fault as an issue, with the value that has it; `got` is absent for a member that is missing or unknown. */
export interface Fault extends KvIssue {
  got?: unknown;
}

/** What is wrong with a value, nothing where it is as the schema has it. A member that is `undefined` is not there. */
export function faultsOf(schema: Schema, value: unknown, path = ""): Fault[] {
  const { anyOf, title, items, properties } = schema;
  if (!hasType(schema, value) || !hasValue(schema, value)) return [expected(schema, value, path)];
  if (anyOf !== undefined) {
    const [tag = ""] = anyOf[0]?.required ?? [];
    if (anyOf[0]?.properties?.[tag]?.const !== undefined) return taggedFaults(anyOf, tag, value as Members, path);
    const faults = anyOf.filter((branch) => hasType(branch, value)).map((branch) => faultsOf(branch, value, path));
    if (faults.some((found) => found.length === 0)) return [];
    return title === undefined ? (faults[0] as Fault[]) : [expected(schema, value, path)];
  }
  if (Array.isArray(value)) {
    return items === undefined ? [] : value.flatMap((item, index) => faultsOf(items, item, join(path, index)));
  }
  return properties === undefined ? [] : memberFaults(schema, value as Members, path);
}

type Members = Readonly<Record<string, unknown>>;

function taggedFaults(branches: readonly Schema[], tag: string, value: Members, path: string): Fault[] {
  const got = value[tag];
  const tagOf = ({ properties }: Schema) => properties?.[tag]?.const;
  const branch = branches.find((one) => tagOf(one) === got);
  if (branch !== undefined) return faultsOf(branch, value, path);
  return [expected({ enum: branches.map(tagOf) }, got, join(path, tag))];
}

function memberFaults(schema: Schema, value: Members, path: string): Fault[] {
  const { properties = {}, required = [], additionalProperties } = schema;
  const faults: Fault[] = [];
  for (const name of required) {
    if (value[name] === undefined) faults.push({ path: join(path, name), message: "Missing" });
  }
  for (const name of Object.keys(value)) {
    // Of very many not all need be told.
    if (faults.length >= ISSUES_MAX) break;
    if (value[name] === undefined) continue;
    if (Object.hasOwn(properties, name)) {
      faults.push(...faultsOf(properties[name] as Schema, value[name], join(path, name)));
    } else if (additionalProperties === false) faults.push({ path: join(path, name), message: "Unknown member" });
  }
  return faults;
}

function hasType(schema: Schema, value: unknown): boolean {
  const { type, anyOf } = schema;
  if ("const" in schema) return value === schema.const;
  if (anyOf !== undefined) return anyOf.some((branch) => hasType(branch, value));
  if (typeof type === "string") return isA(type, value);
  return type === undefined || type.some((name) => isA(name, value));
}

function isA(name: TypeName, value: unknown): boolean {
  if (name === "number") return Number.isFinite(value);
  if (name === "integer") return Number.isSafeInteger(value);
  return name === (value === null ? "null" : Array.isArray(value) ? "array" : typeof value);
}

function hasValue(schema: Schema, value: unknown): boolean {
  if (schema.enum?.includes(value) === false) return false;
  if (typeof value === "string") return schema.pattern === undefined || new RegExp(schema.pattern, "u").test(value);
  if (typeof value !== "number") return true;
  const { minimum = value, maximum = value, exclusiveMinimum = -Infinity } = schema;
  return value >= minimum && value <= maximum && value > exclusiveMinimum;
}

function expected(schema: Schema, got: unknown, path: string): Fault {
  return { path, message: `Expected ${titleOf(schema)}`, got };
}

function titleOf({ title, anyOf, enum: values, type }: Schema): string {
  const list = values?.map((value) => JSON.stringify(value)).join(", ");
  return title ?? anyOf?.map(titleOf).join(" or ") ?? (list ? `one of ${list}` : `${type}`);
}

function join(path: string, name: string | number): string {
  return path === "" ? `${name}` : `${path}.${name}`;
}
