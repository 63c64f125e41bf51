import { createKvClient, type KvClient, type KvOperation } from "../../src/client/client.ts";
import type { StorageCapabilities } from "../../src/storage/adapter.ts";
import type { Subject, SubjectEntry, SubjectListed, SubjectOutcome } from "../../src/testing/conformance.ts";

import { KEY, type TestService } from "../support.ts";

interface Found {
  etag: string;
  metadata?: unknown;
  expiration?: number | undefined;
}

/** The conformance suite's view of a service through its client. Values pass through `JSON.parse` on the way. */
function clientSubject(
  client: KvClient,
  { capabilities, clock, list }: Pick<Subject, "capabilities" | "clock"> & { list: ListPage },
): Subject {
  return {
    capabilities,
    exact: false,
    clock,
    async get(key) {
      const entry = await client.get(key);
      return entry === null ? null : entryOf(entry.value, entry);
    },
    async getMany(keys) {
      const results = await client.batch(keys.map((key) => ({ op: "get", key })));
      return results.map((result) => (result.success ? entryOf(result.data, result as Found) : null));
    },
    async put(key, text, { metadata, expiresAt, condition } = {}) {
      const { etag } = await client.put(key, JSON.parse(text), {
        metadata: metadata === undefined ? undefined : JSON.parse(metadata),
        expiration: expiresAt === undefined ? undefined : expiresAt / 1000,
        ...fieldsOf(condition),
      });
      return versionOf(etag);
    },
    delete: (key, { condition } = {}) => client.delete(key, fieldsOf(condition)),
    async list(query) {
      const { keys, cursor = null } = await list(query);
      const entries = keys.map(({ name, value, ...entry }): SubjectListed => {
        const { text, ...rest } = entryOf(value, entry);
        return { key: name, ...rest, text: query.values ? text : null };
      });
      return { entries, cursor };
    },
    async write(operations, options) {
      const results = await client
        .batch(
          operations.map((operation): KvOperation => {
            const { key } = operation;
            const fields = fieldsOf(operation.condition);
            if (operation.kind === "put") return { op: "put", key, value: JSON.parse(operation.text), ...fields };
            return { op: operation.kind, key, ...fields };
          }),
          options,
        )
        .catch((error: { code?: unknown }) => {
          if (error.code === "precondition_failed") return null;
          throw error;
        });
      // What was refused of an atomic batch is asserted over HTTP elsewhere.
      if (results === null) return operations.map(() => "refused");
      return results.map((result, index): SubjectOutcome => {
        if (!result.success) return result.error === "not_found" ? { found: null } : "refused";
        const kind = operations[index]?.kind;
        if (kind === "put") return "written";
        if (kind === "get") return { found: JSON.stringify(result.data) };
        return result.data ? "deleted" : "absent";
      });
    },
  };
}

/** The suite's view of a service, by its client over HTTP; pages are asked for as they are, since the client walks them. */
export function serviceSubject(
  service: TestService,
  capabilities: StorageCapabilities,
  clock: { now: number },
): Subject {
  const client = createKvClient({ url: service.url, apiKey: KEY });
  const list: ListPage = async ({ prefix = "", limit = 1000, cursor, values }) => {
    const query = new URLSearchParams({ prefix, limit: String(limit) });
    if (cursor !== undefined) query.set("cursor", cursor);
    if (values) query.set("include", "values");
    return (await service.call("GET", `/v1/kv?${query}`)).json.data;
  };
  return clientSubject(client, { capabilities, clock, list });
}

type ListPage = (query: {
  prefix?: string;
  limit?: number;
  cursor?: string;
  values?: boolean;
}) => Promise<{ keys: (Found & { name: string; value?: unknown })[]; cursor?: string }>;

function entryOf(value: unknown, { etag, metadata, expiration }: Found): SubjectEntry {
  return {
    text: JSON.stringify(value),
    metadata: metadata === undefined ? null : JSON.stringify(metadata),
    expiresAt: expiration === undefined ? null : Math.round(expiration * 1000),
    version: versionOf(etag),
  };
}

const versionOf = (etag: string) => etag.slice(1, -1);

function fieldsOf(condition: { ifMatch?: "*" | readonly string[]; ifNoneMatch?: "*" | readonly string[] } = {}) {
  const text = (tags: "*" | readonly string[] | undefined) =>
    tags === undefined || tags === "*" ? tags : tags.map((tag) => `"${tag}"`).join(", ");
  return { ifMatch: text(condition.ifMatch), ifNoneMatch: text(condition.ifNoneMatch) };
}
