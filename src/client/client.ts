/** The client of a `kv()` service, for any runtime with `fetch`. */
import { isKvErrorCode, KV_ERROR_CODES, KvError, type KvErrorCode, type KvIssue, statusOf } from "../core/errors.ts";

export { KvError, type KvErrorCode, type KvIssue } from "../core/errors.ts";

export interface KvClientOptions {
  /** Where the service is, `basePath` included: `https://example.com`. */
  url: string | URL;
  apiKey?: string | undefined;
  /** Sent with every request, for example `Authorization` with a JWT. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** Where the service has its keys; `/v1/kv`. */
  path?: string | undefined;
  fetch?: typeof fetch | undefined;
}

/** A value with what stands beside it. */
export interface KvEntry<T> {
  value: T;
  /** `undefined` where there is none. */
  metadata: unknown;
  /** Unix seconds, `undefined` for a value that stays. */
  expiration: number | undefined;
  /** Names the write that made it, quotes included. */
  etag: string;
}

export interface KvConditions {
  /** `*`, or the `etag` that the value must have. */
  ifMatch?: string | undefined;
  /** `*` to create only, or an `etag` that the value must not have. */
  ifNoneMatch?: string | undefined;
}

export interface KvPutOptions extends KvConditions {
  /** Seconds to live. */
  ttl?: number | undefined;
  /** Unix seconds. */
  expiration?: number | undefined;
  metadata?: unknown;
}

export interface KvListOptions {
  prefix?: string | undefined;
  /** Whether to include the values. */
  values?: boolean | undefined;
  /** Keys a request, 1 to 1,000; the walk itself goes on to the end. */
  pageSize?: number | undefined;
}

export interface KvListed<T> extends Omit<KvEntry<T>, "value"> {
  name: string;
  /** `undefined` where values were not asked for. */
  value: T | undefined;
}

/** Every method rejects with a {@link KvError} where the service refuses or cannot be reached (`unavailable`). */
export interface KvClient {
  /** The value under a key, or `null`. */
  get<T = unknown>(key: string): Promise<KvEntry<T> | null>;
  /** Stores any JSON value. */
  put(key: string, value: unknown, options?: KvPutOptions): Promise<{ etag: string }>;
  /** Whether there was a value to delete. */
  delete(key: string, options?: Pick<KvConditions, "ifMatch">): Promise<boolean>;
  /** Every key, page by page as the loop goes on. */
  list<T = unknown>(options?: KvListOptions): AsyncGenerator<KvListed<T>, void, void>;
}

interface Page<T> {
  keys: { name: string; etag: string; metadata?: unknown; expiration?: number; value?: T }[];
  cursor?: string;
}

interface Call {
  body?: unknown;
  headers?: Record<string, string | undefined>;
}

/** A client of the service at `url`. Keys and values are checked by the service. */
export function createKvClient({ url, apiKey, headers, path = "/v1/kv", ...options }: KvClientOptions): KvClient {
  const base = `${String(url).replace(/\/+$/, "")}/${path.replace(/^\/+|\/+$/g, "")}`;
  const send = options.fetch ?? fetch;

  async function call(method: string, target: string, { body, headers: own = {} }: Call = {}): Promise<Response> {
    const given = { ...headers, ...own, ...(apiKey && { Authorization: `Bearer ${apiKey}` }) };
    const fields = Object.entries(given).filter((field): field is [string, string] => field[1] !== undefined);
    if (body !== undefined) fields.push(["Content-Type", "application/json"]);
    const response = await send(base + target, {
      method,
      headers: fields,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    }).catch((cause: unknown) => {
      throw new KvError("unavailable", "The service cannot be reached", { cause });
    });
    if (!response.ok) throw await errorOf(response);
    return response;
  }

  return {
    async get<T>(key: string) {
      try {
        const response = await call("GET", at(key));
        const { data, metadata, expiration } = await json<{ data: T; metadata?: unknown; expiration?: number }>(
          response,
        );
        return { value: data, metadata, expiration, etag: response.headers.get("ETag") ?? "" };
      } catch (error) {
        if (error instanceof KvError && error.code === "not_found") return null;
        throw error;
      }
    },

    async put(key, value, { ttl, expiration, metadata, ...conditions } = {}) {
      const response = await call("PUT", at(key), {
        body: { value, ttl, expiration, metadata },
        headers: { ...fieldsOf(conditions), Prefer: "return=minimal" },
      });
      await response.body?.cancel();
      return { etag: response.headers.get("ETag") ?? "" };
    },

    async delete(key, conditions = {}) {
      const response = await call("DELETE", at(key), { headers: fieldsOf(conditions) });
      return (await json<{ data: boolean }>(response)).data;
    },

    async *list<T>({ prefix, values, pageSize }: KvListOptions = {}) {
      const query = new URLSearchParams();
      if (prefix) query.set("prefix", prefix);
      if (values) query.set("include", "values");
      if (pageSize !== undefined) query.set("limit", String(pageSize));
      while (true) {
        const { data } = await json<{ data: Page<T> }>(await call("GET", `?${query}`));
        for (const { name, etag, metadata, expiration, value } of data.keys) {
          yield { name, etag, metadata, expiration, value };
        }
        if (data.cursor === undefined) return;
        query.set("cursor", data.cursor);
      }
    },
  };
}

/** With its slashes encoded, so that no segment of it is taken for `..`. */
function at(key: string): string {
  if (key === "." || key === "..") {
    throw new KvError("invalid_key", `A path cannot carry the key "${key}", which URL parsers remove`);
  }
  if (!key.isWellFormed())
    throw new KvError("invalid_key", "Expected a key that UTF-8 can carry, got a lone surrogate");
  return `/${encodeURIComponent(key)}`;
}

function fieldsOf({ ifMatch, ifNoneMatch }: KvConditions): Record<string, string | undefined> {
  return { "If-Match": ifMatch, "If-None-Match": ifNoneMatch };
}

async function json<T>(response: Response): Promise<T> {
  try {
    return (await response.json()) as T;
  } catch (cause) {
    throw new KvError("unavailable", "The service's answer is not JSON or broke off", { cause });
  }
}

/** The refusal as the service stated it; what no service of ours said goes by its status. */
async function errorOf(response: Response): Promise<KvError> {
  const body = await response.json().catch(() => null);
  const { error, detail, issues } = (body ?? {}) as { error?: unknown; detail?: string; issues?: KvIssue[] };
  const code = isKvErrorCode(error) ? error : codeOf(response.status);
  return new KvError(code, detail ?? `The service answered ${response.status}`, issues === undefined ? {} : { issues });
}

/** A 404 that is not ours must not look like an empty store. */
function codeOf(status: number): KvErrorCode {
  if (status === 404) return "no_such_route";
  const code = KV_ERROR_CODES.find((code) => statusOf(code) === status);
  return code ?? (status >= 500 ? "unavailable" : "invalid_request");
}
