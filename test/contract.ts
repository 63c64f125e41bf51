/** Holds answers to the OpenAPI document: an independent validator reads it, not ours. */
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { kv } from "../src/index.ts";

type Json = Record<string, unknown>;
export interface Document {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Json };
}
export interface Operation extends Json {
  operationId: string;
  security?: unknown[];
  parameters: { name: string; in: string; schema: Json; example?: unknown }[];
  requestBody?: { content: Record<string, { schema: Json }> };
  responses: Record<string, { headers?: Json; content?: Record<string, { schema: Json; example?: unknown }> }>;
}

/** The document of a service with every default. */
export const document = (await (await kv({ logger: false }).request("/open-api.json")).json()) as Document;

const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
ajv.addSchema({ ...document, $id: "document" });
const validators = new Map<unknown, ValidateFunction>();

/** What is wrong with a value, or an empty string. */
export function faults(schema: Json, value: unknown): string {
  const absolute = schema.$ref === undefined ? schema : { $ref: `document${schema.$ref}` };
  if (!validators.has(schema)) validators.set(schema, ajv.compile(absolute));
  const validate = validators.get(schema) as ValidateFunction;
  return validate(value) ? "" : ajv.errorsText(validate.errors);
}

/** The operation that a request is for, whatever the service is mounted under or has as its base path. */
export function operationOf(method: string, path: string): Operation | undefined {
  const own = path.replace(/^.*?(\/v1\/kv(?=\/|$)|\/admin\/|\/health$|\/ready$|\/open-api\.json$)/, "$1");
  const template = own.startsWith("/v1/kv/") ? "/v1/kv/{key}" : own;
  return document.paths[template]?.[method.toLowerCase()];
}

export interface SeenAnswer {
  method: string;
  url: string;
  status: number;
  headers: Headers;
  text: string;
}

/** Which operations have answered with which statuses, in this process. */
export const seen = new Set<string>();

/** Throws where an answer is not as the document has it. One to what is no operation must still be a problem. */
export function checkAnswer({ method, url, status, headers, text }: SeenAnswer): void {
  const { pathname } = new URL(url);
  const what = `${method} ${pathname.slice(0, 80)} ${status}`;
  if (method === "OPTIONS") return;
  const type = headers.get("Content-Type") ?? "";
  const missing = status === 404 && text.includes('"error":"no_such_route"');
  const operation = missing ? undefined : operationOf(method, pathname);
  if (operation === undefined) {
    if (status < 400) throw new Error(`${what}: no such operation in the document`);
    if (headers.get("X-Request-Id") === null) throw new Error(`${what}: the header X-Request-Id is missing`);
    checkContent(what, type, text, {
      "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } },
    });
    return;
  }
  const response = operation.responses[status];
  if (response === undefined) throw new Error(`${what}: not a status of ${operation.operationId} in the document`);
  seen.add(`${operation.operationId} ${status}`);
  for (const name of Object.keys(response.headers ?? {})) {
    if (headers.get(name) === null) throw new Error(`${what}: the header ${name} is missing`);
  }
  if (response.content !== undefined) checkContent(what, type, text, response.content);
  else if (text !== "") throw new Error(`${what}: there should be no body`);
}

function checkContent(what: string, type: string, text: string, content: Record<string, { schema: Json }>): void {
  const schema = content[type]?.schema;
  if (schema === undefined)
    throw new Error(`${what}: ${type || "no content"} where the document has ${Object.keys(content)}`);
  // A document of megabytes is looked into where it is small.
  if (!/json$/.test(type) || type.includes("ndjson") || text.length > 1_000_000) return;
  const wrong = faults(schema, JSON.parse(text));
  if (wrong !== "") throw new Error(`${what}: ${wrong}\n${text.slice(0, 500)}`);
}
