/** The client of a `kv()` service, for any runtime with `fetch`. */
import {
  isKvErrorCode,
  KV_ERROR_CODES,
  KvError,
  type KvErrorCode,
  type KvErrorInit,
  statusOf,
} from "../core/errors.ts";

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
  /** Whether the `get`s of one tick travel as one batch; `false`. */
  gatherGets?: boolean | undefined;
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

/** One operation of a batch. */
export type KvOperation =
  | ({ op: "get" | "delete"; key: string } & KvConditions)
  | ({ op: "put"; key: string; value: unknown } & KvPutOptions);

/** What became of an operation: as the single call's answer, a put without its value. */
export type KvResult<T = unknown> =
  | { status: 200 | 304; success: true; data: T; etag?: string; metadata?: unknown; expiration?: number }
  | { status: number; success: false; data: null; error: KvErrorCode; detail: string };

/** Every method rejects with a {@link KvError} where the service refuses or cannot be reached (`unavailable`). */
export interface KvClient {
  /** The value under a key, or `null`. */
  get<T = unknown>(key: string): Promise<KvEntry<T> | null>;
  /** Stores any JSON value. */
  put(key: string, value: unknown, options?: KvPutOptions): Promise<{ etag: string }>;
  /** Whether there was a value to delete. */
  delete(key: string, options?: Pick<KvConditions, "ifMatch">): Promise<boolean>;
  /** Several operations, in their order, in one request; with `atomic` all happen or none does. */
  batch<T = unknown>(operations: readonly KvOperation[], options?: { atomic?: boolean }): Promise<KvResult<T>[]>;
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
  let gathered: { key: string; resolve(result: Promise<KvEntry<unknown> | null>): void }[] = [];
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

  async function batch<T>(operations: readonly KvOperation[], { atomic = false } = {}): Promise<KvResult<T>[]> {
    for (const operation of operations) if (operation.op === "put") checkTimes(operation);
    return (await json<{ data: KvResult<T>[] }>(await call("POST", "", { body: { operations, atomic } }))).data;
  }

  /** An operation on a key that no path can carry. */
  async function one<T>(operation: KvOperation): Promise<KvResult<T> & { success: true }> {
    const [result] = await batch<T>([operation]);
    if (result?.success) return result;
    throw new KvError(result?.error ?? "unavailable", result?.detail ?? "The service did not answer");
  }

  async function get<T>(key: string): Promise<KvEntry<T> | null> {
    try {
      if (isDots(key)) return entryOf(await one<T>({ op: "get", key }));
      const response = await call("GET", at(key));
      return entryOf(await json(response), response);
    } catch (error) {
      if (error instanceof KvError && error.code === "not_found") return null;
      throw error;
    }
  }

  function getGathered(): void {
    const waiting = gathered;
    gathered = [];
    for (let at = 0; at < waiting.length; at += GATHERED_MAX) {
      const some = waiting.slice(at, at + GATHERED_MAX);
      const results = batch(some.map(({ key }) => ({ op: "get", key })));
      for (const [index, { key, resolve }] of some.entries()) {
        resolve(
          results.then(
            (all) => {
              const result = all[index];
              if (result?.success) return entryOf(result);
              // What had no room in the answer of all is asked for again.
              return result?.error === "not_found" ? null : get(key);
            },
            (error: KvError) => {
              // One key that is none must not cost the others their values: each is asked for by itself.
              if (GATHERED_WRONG.includes(error.code)) return get(key);
              throw error;
            },
          ),
        );
      }
    }
  }

  return {
    get<T>(key: string): Promise<KvEntry<T> | null> {
      if (!options.gatherGets) return get<T>(key);
      return new Promise((resolve) => {
        if (gathered.length === 0) queueMicrotask(getGathered);
        gathered.push({ key, resolve: resolve as (result: Promise<KvEntry<unknown> | null>) => void });
      });
    },

    batch,

    async put(key, value, options = {}) {
      checkTimes(options);
      const { ttl, expiration, metadata, ...conditions } = options;
      if (isDots(key)) {
        const { etag = "" } = await one({ op: "put", key, value, ttl, expiration, metadata, ...conditions });
        return { etag };
      }
      const response = await call("PUT", at(key), {
        body: { value, ttl, expiration, metadata },
        headers: { ...fieldsOf(conditions), Prefer: "return=minimal" },
      });
      await response.body?.cancel();
      return { etag: response.headers.get("ETag") ?? "" };
    },

    async delete(key, conditions = {}) {
      if (isDots(key)) return (await one<boolean>({ op: "delete", key, ...conditions })).data;
      const response = await call("DELETE", at(key), { headers: fieldsOf(conditions) });
      return (await json<{ data: boolean }>(response)).data;
    },

    async *list<T>({ prefix, values, pageSize }: KvListOptions = {}) {
      const query = new URLSearchParams();
      if (prefix) query.set("prefix", wellFormed(prefix));
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

/** How many gets one batch gathers: what a service takes by default. */
const GATHERED_MAX = 1000;

/** What a batch is refused for as a whole, for the sake of one of its keys or of their number. */
const GATHERED_WRONG: readonly KvErrorCode[] = ["invalid_key", "invalid_request", "too_large"];

interface Answer<T> {
  data: T;
  etag?: string;
  metadata?: unknown;
  expiration?: number;
}

function entryOf<T>({ data, etag, metadata, expiration }: Answer<T>, response?: Response): KvEntry<T> {
  return { value: data, metadata, expiration, etag: etag ?? response?.headers.get("ETag") ?? "" };
}

/** JSON has no `NaN` and no `Infinity`: as the `null` in their place the value would stay for good. */
function checkTimes({ ttl = 0, expiration = 0 }: Pick<KvPutOptions, "ttl" | "expiration">): void {
  if (Number.isFinite(ttl) && Number.isFinite(expiration)) return;
  throw new KvError("invalid_request", `Expected a finite ttl or expiration, got ${ttl} and ${expiration}`);
}

/** URL parsers remove these, even percent-encoded: they travel in a batch. */
function isDots(key: string): boolean {
  return key === "." || key === "..";
}

/** With its slashes encoded, so that no segment of it is taken for `..`. */
function at(key: string): string {
  return `/${encodeURIComponent(wellFormed(key))}`;
}

function wellFormed(key: string): string {
  if (key.isWellFormed()) return key;
  throw new KvError("invalid_key", "Expected a key that UTF-8 can carry, got a lone surrogate");
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
  const { error, detail, ...rest } = (body ?? {}) as { error?: unknown; detail?: string } & KvErrorInit;
  const code = isKvErrorCode(error) ? error : codeOf(response.status);
  const { issues, failed } = rest;
  return new KvError(code, detail ?? `The service answered ${response.status}`, {
    ...(issues && { issues }),
    ...(failed && { failed }),
  });
}

/** A 404 that is not ours must not look like an empty store. */
function codeOf(status: number): KvErrorCode {
  if (status === 404) return "no_such_route";
  const code = KV_ERROR_CODES.find((code) => statusOf(code) === status);
  return code ?? (status >= 500 ? "unavailable" : "invalid_request");
}
