/** The OpenAPI 3.1 document, made from the routes that this instance serves and the schemas that validate them. */
import { KV_ERROR_CODES, type KvErrorCode, statusOf, titleOf } from "../core/errors.ts";
import type { Schema } from "../core/schema.ts";
import { VERSION } from "../version.ts";
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
  headers?: Readonly<Record<string, JsonSchema>>;
  conditions?: readonly ("If-Match" | "If-None-Match")[];
  /** The schema of `data`, or `null` where the answer is not an envelope. */
  data: JsonSchema | null;
  /** Members that may stand beside `data`. */
  beside?: Readonly<Record<string, JsonSchema>>;
  /** Whether the answer has an `ETag`, and a condition may answer 304. */
  etag?: boolean;
  /** The codes of its own; those that every route can answer are added. */
  errors: readonly KvErrorCode[];
}

/** Routes and the path under which they are served. */
export type RouteGroup = readonly [base: string, routes: readonly Route[]];

const JSON_TYPE = "application/json";
const PROBLEM = "application/problem+json";

/** The document for groups of routes, below `mount`: the path that stands before them. */
export function openApiDocument(groups: readonly RouteGroup[], mount: string): JsonSchema {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const [base, routes] of groups) {
    for (const route of routes) {
      const path = base + route.path.replace(":key", "{key}") || "/";
      paths[path] ??= {};
      paths[path][route.method.toLowerCase()] = operation(route);
    }
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "@workertown/kv",
      version: VERSION,
      description: "A JSON key/value store over HTTP.",
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
  const codes: KvErrorCode[] = [...doc.errors, "internal"];
  if (scope !== null) codes.push("unauthorized", "forbidden", "unavailable");
  return {
    operationId: doc.operationId,
    summary: doc.summary,
    ...(scope === null && { security: [] }),
    parameters: parameters(path, doc),
    ...(doc.body !== undefined && {
      requestBody: { required: true, content: { [doc.bodyType ?? JSON_TYPE]: { schema: doc.body } } },
    }),
    responses: {
      200: success(doc),
      ...(method === "GET" && doc.etag && { 304: { description: "Not modified" } }),
      ...problems(codes),
    },
  };
}

function parameters(path: string, { query, conditions = [] }: OperationDoc): JsonSchema[] {
  const properties = query?.properties ?? {};
  return [
    ...(path.includes(":key")
      ? [
          {
            name: "key",
            in: "path",
            required: true,
            description: "Percent-encoded; slashes may stand as they are",
            schema: { type: "string" },
          },
        ]
      : []),
    ...Object.entries(properties).map(([name, schema]) => ({ name, in: "query", schema })),
    ...conditions.map((name) => ({ name, in: "header", schema: { type: "string" } })),
  ];
}

function success({ data, beside, etag, type = JSON_TYPE, headers }: OperationDoc): JsonSchema {
  const fields = { ...headers, ...(etag && { ETag: { type: "string", description: "Names this write" } }) };
  return {
    description: "Success",
    headers: Object.fromEntries(Object.entries(fields).map(([name, schema]) => [name, { schema }])),
    content: {
      [type]: {
        schema:
          data === null
            ? { type: type === JSON_TYPE ? "object" : "string" }
            : {
                type: "object",
                properties: { status: { const: 200 }, success: { const: true }, data, ...beside },
                required: ["status", "success", "data"],
              },
      },
    },
  };
}

function problems(codes: readonly KvErrorCode[]): JsonSchema {
  return Object.fromEntries(
    [...Map.groupBy(codes, statusOf)].map(([status, group]) => [
      status,
      {
        description: group.map((code) => `${titleOf(code)} (\`${code}\`)`).join(", "),
        content: { [PROBLEM]: { schema: { $ref: "#/components/schemas/Problem" } } },
      },
    ]),
  );
}

function problemSchema(): JsonSchema {
  const issue = { type: "object", properties: { path: { type: "string" }, message: { type: "string" } } };
  return {
    type: "object",
    description: "An envelope that is at once a problem document (RFC 9457)",
    properties: {
      status: { type: "integer" },
      success: { const: false },
      data: { type: "null" },
      error: { enum: KV_ERROR_CODES },
      title: { type: "string" },
      detail: { type: "string" },
      instance: { type: "string", description: "The request id" },
      issues: { type: "array", items: issue },
    },
    required: ["status", "success", "data", "error", "title", "detail", "instance"],
  };
}
