/** What the OpenAPI document says of each route, beside what the schemas say. */
import { KV_ERROR_CODES, type KvErrorCode } from "../core/errors.ts";
import type { JsonSchema, OperationDoc } from "./open-api.ts";
import { NDJSON_TYPE } from "./respond.ts";
import { BATCH_BODY, ENTRY_LINE, EXPORT_QUERY, LIST_QUERY, PUT_BODY } from "./schema.ts";

const ANY: JsonSchema = {};
const ENTRY = { metadata: ANY, expiration: { type: "number", description: "Unix seconds" } };
const STRINGS: JsonSchema = { type: "array", items: { type: "string" } };

const WRITE_ERRORS: readonly KvErrorCode[] = [
  "invalid_request",
  "invalid_key",
  "invalid_value",
  "precondition_failed",
  "too_large",
  "unsupported_media_type",
  "unsupported",
  "storage_full",
];

function object(properties: Record<string, JsonSchema>, required = Object.keys(properties)): JsonSchema {
  return { type: "object", properties, required };
}

export const get: OperationDoc = {
  operationId: "getValue",
  summary: "Read a value",
  conditions: ["If-None-Match", "If-Match"],
  data: ANY,
  beside: ENTRY,
  example: { data: { dark: true }, expiration: 2_000_000_000 },
  headers: ["ETag"],
  errors: ["invalid_request", "invalid_key", "not_found", "precondition_failed", "too_large"],
};

export const put: OperationDoc = {
  operationId: "putValue",
  summary: "Store a value",
  conditions: ["If-None-Match", "If-Match"],
  body: PUT_BODY,
  data: { description: "`null` with `Prefer: return=minimal`" },
  beside: ENTRY,
  headers: ["ETag"],
  errors: WRITE_ERRORS,
};

export const remove: OperationDoc = {
  operationId: "deleteValue",
  summary: "Delete a value",
  conditions: ["If-Match"],
  data: { type: "boolean", description: "Whether there was one" },
  errors: ["invalid_request", "invalid_key", "precondition_failed", "too_large", "unsupported"],
};

export const list: OperationDoc = {
  operationId: "listKeys",
  summary: "List keys",
  query: LIST_QUERY,
  data: object(
    {
      keys: {
        type: "array",
        items: object({ name: { type: "string" }, etag: { type: "string" }, ...ENTRY, value: ANY }, ["name", "etag"]),
      },
      list_complete: { type: "boolean" },
      cursor: { type: "string" },
    },
    ["keys", "list_complete"],
  ),
  errors: ["invalid_request"],
};

const RESULT = object(
  {
    status: { type: "integer" },
    success: { type: "boolean" },
    data: ANY,
    etag: { type: "string" },
    ...ENTRY,
    error: { enum: KV_ERROR_CODES },
    detail: { type: "string" },
  },
  ["status", "success", "data"],
);

export const batch: OperationDoc = {
  operationId: "runBatch",
  summary: "Run operations in order",
  body: BATCH_BODY,
  data: { type: "array", items: RESULT, description: "One an operation" },
  errors: WRITE_ERRORS,
};

export const info: OperationDoc = {
  operationId: "getInfo",
  summary: "Get info",
  data: object({
    version: { type: "string" },
    storage: object({ engine: { type: "string" }, capabilities: { type: "object" } }),
    limits: { type: "object" },
    basePath: { type: "string" },
    endpoints: { type: "object" },
    auth: STRINGS,
  }),
  errors: [],
};

export const migrate: OperationDoc = {
  operationId: "migrate",
  summary: "Upgrade tables",
  data: STRINGS,
  errors: [],
};

export const exportAll: OperationDoc = {
  operationId: "exportEntries",
  summary: "Export entries",
  query: EXPORT_QUERY,
  type: NDJSON_TYPE,
  data: null,
  headers: ["Export-Consistency"],
  errors: ["invalid_request"],
};

export const importAll: OperationDoc = {
  operationId: "importEntries",
  summary: "Import entries",
  body: ENTRY_LINE,
  bodyType: NDJSON_TYPE,
  data: object({
    imported: { type: "integer" },
    skipped: { type: "integer", description: "Expired lines" },
    failed: {
      type: "array",
      items: object({ line: { type: "integer" }, error: { enum: KV_ERROR_CODES }, detail: { type: "string" } }),
      description: "The first 1,000",
    },
    failed_total: { type: "integer" },
  }),
  errors: ["unsupported_media_type", "storage_full"],
};

export const health: OperationDoc = {
  operationId: "getHealth",
  summary: "Liveness",
  data: { const: "OK" },
  errors: [],
};

export const ready: OperationDoc = {
  operationId: "getReady",
  summary: "Readiness",
  data: { const: "OK" },
  errors: [],
};

export const openApi: OperationDoc = {
  operationId: "getOpenApi",
  summary: "This document",
  data: null,
  errors: [],
};
