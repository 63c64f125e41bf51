import { NULL } from "../core/bytes.ts";
import { isUnchanged } from "../core/entry.ts";
import { invalid, KvError } from "../core/errors.ts";
import { quote } from "../core/key.ts";
import { LIST_LIMIT_MAX } from "../core/limits.ts";
import type { Schema } from "../core/schema.ts";
import type { ListPage, ListRequest } from "../storage/store.ts";
import { batch } from "./batch.ts";
import { checkJsonType, newEntry, putBody, readBody } from "./body.ts";
import { conditionOf } from "./conditions.ts";
import * as docs from "./docs.ts";
import { attributes, data, empty, entry, etag, type Piece, READ_HEADERS, text } from "./respond.ts";
import { type KvContext, keyOf, type Route } from "./route.ts";
import { LIST_QUERY, type ListQuery, PUT_BODY, type PutBody, parse } from "./schema.ts";

/** The routes of `endpoints.v1.kv`; those of a key come first, since some routers take `/v1/kv/` for `/v1/kv`. */
export const entryRoutes: readonly Route[] = [
  { method: "GET", path: "/:key", scope: "read", handle: get, doc: docs.get },
  { method: "PUT", path: "/:key", scope: "write", handle: put, doc: docs.put },
  { method: "DELETE", path: "/:key", scope: "write", handle: remove, doc: docs.remove },
  { method: "GET", path: "", scope: "read", handle: list, doc: docs.list },
  // What it holds says whether it needs "write".
  { method: "POST", path: "", scope: "read", handle: batch, doc: docs.batch },
];

async function get(c: KvContext): Promise<Response> {
  const key = keyOf(c);
  const condition = conditionOf(c);
  const stored = await c.var.store.get(key);
  if (stored === null) throw new KvError("not_found", `No value under key ${quote(key)}`);
  if (isUnchanged(condition, stored)) return empty(c, 304, { ...READ_HEADERS, ETag: etag(stored.version) });
  return entry(c, stored, READ_HEADERS);
}

async function put(c: KvContext): Promise<Response> {
  const { store } = c.var;
  checkJsonType(c);
  const key = keyOf(c);
  const condition = conditionOf(c);
  const { body, text } = await readBody(c, putBody(store.limits));
  const stored = await store.put(key, newEntry(parse<PutBody>(PUT_BODY, body), text), condition);
  return wantsMinimal(c)
    ? entry(c, { ...stored, value: NULL }, { "Preference-Applied": "return=minimal" })
    : entry(c, stored);
}

async function remove(c: KvContext): Promise<Response> {
  return data(c, await c.var.store.delete(keyOf(c), conditionOf(c)));
}

async function list(c: KvContext): Promise<Response> {
  return text(c, pagePieces(await c.var.store.list(listRequest(queryOf(c, LIST_QUERY)))), READ_HEADERS);
}

/** What a list's parameters ask of the store. */
export function listRequest({ prefix = "", limit = LIST_LIMIT_MAX, cursor, include }: ListQuery): ListRequest {
  return { prefix, limit, cursor: cursor ?? null, values: include === "values" };
}

/** A page as the data of an answer: one text, but for the values. */
export function pagePieces({ entries, cursor }: ListPage): Piece[] {
  const pieces: Piece[] = [];
  let run = '{"keys":[';
  let comma = "";
  for (const listed of entries) {
    run += `${comma}{"name":${JSON.stringify(listed.key)},"etag":"\\"${listed.version}\\""${attributes(listed)}`;
    if (listed.value !== null) {
      pieces.push(`${run},"value":`, listed.value);
      run = "";
    }
    run += "}";
    comma = ",";
  }
  const next = cursor === null ? "" : `,"cursor":${JSON.stringify(cursor)}`;
  pieces.push(`${run}],"list_complete":${cursor === null}${next}}`);
  return pieces;
}

/** The query's parameters, whole numbers as such; one that is repeated is an array, so that the schema refuses it. */
export function queryOf(c: KvContext, schema: Schema): ListQuery {
  return parseQuery(/\?([^#]*)/.exec(c.req.url)?.[1] ?? "", schema);
}

export function parseQuery(query: string, schema: Schema): ListQuery {
  const { properties = {} } = schema;
  const parameters: Record<string, unknown> = Object.create(null);
  for (const pair of query.split("&").filter(Boolean)) {
    const [name = "", value = ""] = pair.split(/=(.*)/s).map(decodeQuery);
    const parsed = properties[name]?.type === "integer" && /^[1-9]\d*$/.test(value) ? Number(value) : value;
    parameters[name] = name in parameters ? [parameters[name], parsed] : parsed;
  }
  return parse(schema, parameters);
}

function decodeQuery(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    throw invalid("", `Expected percent-encoded UTF-8, got ${quote(text)}`);
  }
}

/** RFC 7240, section 4.2. */
function wantsMinimal(c: KvContext): boolean {
  return /(^|,)\s*return\s*=\s*"?minimal"?\s*([;,]|$)/i.test(c.req.header("Prefer") ?? "");
}
