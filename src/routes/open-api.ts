/** The OpenAPI 3.1 document, made from the routes that this instance serves and the schemas that validate them. */
import { KV_ERROR_CODES, type KvErrorCode, statusOf, titleOf } from "../core/errors.ts";
import type { Schema } from "../core/schema.ts";
import { VERSION } from "../version.ts";
import { JSON_TYPE, PROBLEM_TYPE } from "./respond.ts";
import type { Route } from "./route.ts";

export type JsonSchema = Readonly<Record<string, unknown>>;

/** What a route says of itself. */
export interface OperationDoc {
  operationId: string;
  summary: string;
  query?: Schema;
  body?: Schema;
  /** The media type of the body, and that of the answer; `application/json`. */
  bodyType?: string;
  type?: string;
  /** Header fields of a success. */
  headers?: readonly string[];
  /** What stands in an example of a success beside `status` and `success`. */
  example?: Readonly<Record<string, unknown>>;
  /** Header fields that a request may carry; those of a `GET` may be answered 304. */
  conditions?: readonly ("If-Match" | "If-None-Match" | "Prefer")[];
  /** The schema of `data`, or `null` where the answer is not an envelope. */
  data: JsonSchema | null;
  /** Members that may stand beside `data`. */
  beside?: Readonly<Record<string, JsonSchema>>;
  /** The codes of its own; those that every route can answer are added. */
  errors: readonly KvErrorCode[];
}

/** Routes and the path under which they are served. */
export type RouteGroup = readonly [base: string, routes: readonly Route[]];

/** The document for groups of routes, below `mount`: the path that stands before them. */
export function openApiDocument(groups: readonly RouteGroup[], mount: string): JsonSchema {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const [base, routes] of groups) {
    for (const route of routes) {
      const path = base + route.path.replace(":key", "{key}") || "/";
      paths[path] ??= {};
      const described = operation(route);
      paths[path][route.method.toLowerCase()] = described;
      if (route.method === "GET") paths[path].head = head(described);
    }
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "@workertown/kv",
      version: VERSION,
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: mount === "" ? "/" : mount }],
    security: [{ bearer: [] }, { basic: [] }, { apiKey: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer", description: "An API key or a JWT" },
        basic: { type: "http", scheme: "basic" },
        apiKey: { type: "apiKey", in: "header", name: "X-API-Key" },
      },
      schemas: { Problem: problemSchema() },
    },
  };
}

function operation({ path, scope, method, doc }: Route): JsonSchema {
  const codes: KvErrorCode[] = [...doc.errors, "forbidden", "headers_too_large", "internal", "unavailable"];
  if (scope !== null) codes.push("unauthorized", "rate_limited");
  return {
    operationId: doc.operationId,
    summary: doc.summary,
    ...(scope === null && { security: [] }),
    parameters: parameters(path, doc),
    ...(doc.body && {
      requestBody: { required: true, content: { [doc.bodyType ?? JSON_TYPE]: { schema: doc.body } } },
    }),
    responses: {
      200: success(doc),
      ...(method === "GET" && doc.conditions && { 304: { description: "Not modified", headers: headers(["ETag"]) } }),
      ...problems(codes),
    },
  };
}

/** A `GET` without its content. */
function head(get: JsonSchema): JsonSchema {
  const bare = JSON.stringify(get, (name, value) => (name === "content" ? undefined : value));
  return { ...JSON.parse(bare), operationId: `${get.operationId}Head` };
}

/** Header fields of an answer; each carries the request's id. */
function headers(names: readonly string[]): JsonSchema {
  const fields = ["X-Request-Id", ...names].map((name) => [name, { schema: FIELDS[name] ?? { type: "string" } }]);
  return Object.fromEntries(fields);
}

/** Those that are more than a string. */
const FIELDS: Readonly<Record<string, JsonSchema>> = {
  "Retry-After": { type: "integer" },
  "Export-Consistency": { enum: ["snapshot", "none"] },
};

function parameters(path: string, { query, conditions = [] }: OperationDoc): JsonSchema[] {
  const properties = query?.properties ?? {};
  return [
    ...(path.includes(":key") ? [{ name: "key", in: "path", required: true, schema: { type: "string" } }] : []),
    ...Object.entries(properties).map(([name, schema]) => ({ name, in: "query", schema })),
    ...conditions.map((name) => ({ name, in: "header", schema: { type: "string" }, example: '"abc"' })),
  ];
}

function success({ data, beside, type = JSON_TYPE, ...doc }: OperationDoc): JsonSchema {
  const envelope = {
    type: "object",
    properties: { status: { const: 200 }, success: { const: true }, data, ...beside },
    required: ["status", "success", "data"],
  };
  const bare = { type: type === JSON_TYPE ? "object" : "string" };
  const example = doc.example && { example: { status: 200, success: true, ...doc.example } };
  return {
    description: "Success",
    headers: headers(doc.headers ?? []),
    content: { [type]: { schema: data === null ? bare : envelope, ...example } },
  };
}

/** Header fields that come with a status. */
const HEADERS_OF: Readonly<Record<number, readonly string[]>> = {
  401: ["WWW-Authenticate"],
  429: ["Retry-After"],
  503: ["Retry-After"],
};

function problems(codes: readonly KvErrorCode[]): JsonSchema {
  return Object.fromEntries(
    [...Map.groupBy(codes, statusOf)].map(([status, group]) => [
      status,
      {
        description: group.map((code) => `${titleOf(code)} (\`${code}\`)`).join(", "),
        headers: headers(HEADERS_OF[status] ?? []),
        content: { [PROBLEM_TYPE]: { schema: { $ref: "#/components/schemas/Problem" } } },
      },
    ]),
  );
}

function problemSchema(): JsonSchema {
  const issue = { type: "object", properties: { path: { type: "string" }, message: { type: "string" } } };
  return {
    type: "object",
    properties: {
      status: { type: "integer" },
      success: { const: false },
      data: { type: "null" },
      error: { enum: KV_ERROR_CODES },
      title: { type: "string" },
      detail: { type: "string" },
      instance: { type: "string" },
      issues: { type: "array", items: issue },
      failed: { type: "array", items: { type: "integer" } },
    },
    required: ["status", "success", "data", "error", "title", "detail", "instance"],
  };
}
