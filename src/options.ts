/** The options of `kv()`: every default and every refusal, field by field. */
import type { cors } from "hono/cors";
import { type AccessOptions, type ResolvedAccess, resolveAccess } from "./access/access.ts";
import { type AuthOptions, checkAuthOptions } from "./auth/authenticate.ts";
import { SCOPES } from "./auth/principal.ts";
import type { Env } from "./core/env.ts";
import type { MeteredLimit } from "./core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "./core/limits.ts";
import { faultsOf, type Schema } from "./core/schema.ts";
import { consoleLogger, type Logger } from "./log.ts";
import type { Runtime, RuntimeFactory } from "./runtimes/runtime.ts";

export type CorsOptions = NonNullable<Parameters<typeof cors>[0]>;

/** How long `serve` waits for a client, and any runtime for its storage, in seconds. */
export interface Timeouts {
  /** For the whole header of a request. */
  headersTimeout: number;
  /** For the whole request, its body included. */
  bodyTimeout: number;
  /** For the next request on a connection that is kept alive. */
  idleTimeout: number;
  /** For an answer of the storage; after it the caller gets `503`. */
  storageTimeout: number;
}

const DEFAULT_TIMEOUTS: Readonly<Timeouts> = {
  headersTimeout: 15,
  bodyTimeout: 300,
  idleTimeout: 65,
  storageTimeout: 5,
};

/** Called with every unforeseen error, where Sentry and its like are plugged in. */
export type OnError = (error: unknown, context: { requestId: string; request: Request }) => void;

/** The one argument of `kv()`. Every member is optional, an unknown one is refused. */
export interface KvOptions {
  /** Base path for the server to serve endpoints from; `"/"`. */
  basePath?: string | undefined;
  /** A path for each group of routes, or `false` to leave the group out. */
  endpoints?:
    | {
        v1?:
          | {
              /** Base path of the admin endpoints; `"/admin"`. */
              admin?: string | false | undefined;
              /** Base path of the key/value requests; `"/v1/kv"`. */
              kv?: string | false | undefined;
            }
          | undefined;
        /** Base path of the public endpoints; `"/"`. */
        public?: string | false | undefined;
      }
    | undefined;
  env?:
    | {
        /** The binding on Workers, the variable elsewhere, that says where the data is; `"KV_DB"`. */
        database?: string | undefined;
      }
    | undefined;
  /** Has the last word on what counts as the environment. */
  getEnv?: ((env: Env) => Env) | undefined;
  /** Who may call: `docs/authentication.md`. */
  auth?: AuthOptions | undefined;
  /** Who may reach the service at all, and how often: `docs/security.md`. */
  access?: AccessOptions | undefined;
  /** `hono/cors` options, or `false`, the default: no CORS header is sent. */
  cors?: CorsOptions | false | undefined;
  /** Bytes, levels, operations and seconds; `docs/configuration.md`. */
  limits?: Partial<Limits & Timeouts> | undefined;
  /** Receives each log line, or `false` for none; warnings and errors go to the console by default. */
  logger?: Logger | false | undefined;
  onError?: OnError | undefined;
  /** Where the data is kept, and by which clock; the platform's own storage by default. */
  runtime?: Runtime | RuntimeFactory | undefined;
}

/** {@link KvOptions} with every default in its place. Paths begin with `/` and do not end with it; the root is `""`. */
export interface ResolvedOptions {
  basePath: string;
  endpoints: { admin: string | false; kv: string | false; public: string | false };
  database: string;
  getEnv(env: Env): Env;
  auth: AuthOptions;
  access: ResolvedAccess;
  cors: CorsOptions | false;
  limits: Limits;
  timeouts: Timeouts;
  logger: Logger;
  onError: OnError;
  /** `undefined`: the platform's default. */
  runtime: RuntimeFactory | undefined;
  /** `undefined`: nobody counts, as on Workers. */
  meter?: Meter;
}

/** What `/admin/metrics` is told by those who alone know it. */
export interface Meter {
  refused(limit: MeteredLimit): void;
  /** So many bytes of request bodies more are on their way, or fewer. */
  held(bytes: number): void;
}

const NAME: Schema = { type: "string", title: "a non-empty string", pattern: "\\S" };
const orList = (schema: Schema): Schema => ({
  anyOf: [schema, { type: "array", title: "a list of them", items: schema }],
});
const NAMES = orList(NAME);
/** What may be a secret may be empty: then it counts as not configured. */
const SECRET: Schema = { type: "string", title: "a string" };
const FUNCTION: Schema = { type: "function", title: "a function" };
const BYTES: Schema = { type: "integer", title: "a whole number, at least 1", minimum: 1 };
const SECONDS: Schema = { type: "number", title: "a number of seconds greater than 0", exclusiveMinimum: 0 };
const PATH: Schema = {
  type: "string",
  title: 'a path of letters, digits and "-._~/", without "." and ".." segments',
  pattern: "^(?!(.*/)?\\.\\.?(/|$))[\\w\\-.~/]*$",
};

const object = (properties: Record<string, Schema>, title = "an object"): Schema => {
  return { type: "object", title, properties, additionalProperties: false };
};
const each = (names: readonly string[], schema: Schema) => Object.fromEntries(names.map((name) => [name, schema]));
const variables = (...names: string[]) => object(each(names, NAME));
const orFalse = (schema: Schema): Schema => ({ anyOf: [schema, { const: false, title: "false" }] });
const strategy = (properties: Record<string, Schema>) =>
  orFalse(object({ ...properties, getCredentials: FUNCTION, verifyCredentials: FUNCTION }));

const KEY_ITEM: Schema = {
  ...object({ key: SECRET, id: NAME, scope: { enum: SCOPES } }, "{ key, id?, scope }"),
  required: ["key", "scope"],
};

const NETWORKS: Schema = { type: "array", title: "a list of networks", items: NAME };
const LIMITER: Schema = {
  type: "object",
  title: "an object with hit()",
  properties: { hit: FUNCTION },
  required: ["hit"],
};

const SCHEMA = object({
  basePath: PATH,
  endpoints: object({ v1: object({ admin: orFalse(PATH), kv: orFalse(PATH) }), public: orFalse(PATH) }),
  env: variables("database"),
  getEnv: FUNCTION,
  auth: object({
    apiKey: strategy({
      apiKey: orList({ anyOf: [SECRET, KEY_ITEM] }),
      env: variables("apiKey", "readApiKey"),
    }),
    basic: strategy({ username: SECRET, password: SECRET, env: variables("username", "password") }),
    jwt: strategy({
      secret: SECRET,
      jwks: object({ url: NAME, cacheTtl: SECONDS }),
      issuer: NAMES,
      audience: NAMES,
      env: variables("jwksUrl", "secret", "issuer", "audience"),
    }),
    authenticateRequest: FUNCTION,
  }),
  access: object({
    ip: NETWORKS,
    trustProxy: { anyOf: [{ ...BYTES, title: "a number of proxies" }, NETWORKS] },
    rateLimit: {
      ...object({
        ...each(["limit", "window"], BYTES),
        rateLimiter: { anyOf: [LIMITER, FUNCTION] },
        onFailure: { enum: ["allow", "refuse"] },
      }),
      required: ["limit", "window"],
    },
    guessing: orFalse(object({ failures: BYTES, window: BYTES })),
  }),
  cors: orFalse({ type: "object", title: "an object" }),
  limits: object({ ...each(Object.keys(DEFAULT_LIMITS), BYTES), ...each(Object.keys(DEFAULT_TIMEOUTS), SECONDS) }),
  logger: orFalse(FUNCTION),
  onError: FUNCTION,
  runtime: {
    anyOf: [
      {
        type: "object",
        title: "{ storage }",
        properties: { storage: { type: "object", title: "an object" } },
        required: ["storage"],
      },
      FUNCTION,
    ],
  },
});

/**
 * The options with every default in its place; what was given is not changed. Throws a `TypeError` that quotes the path
 * of the first member that is unknown, of a wrong type or contradicts another.
 */
export function resolveOptions(options: KvOptions = {}): ResolvedOptions {
  checkShape(options);
  const { basePath = "/", endpoints = {}, getEnv = unchanged, auth = {}, cors = false, limits } = options;
  const { logger, onError, runtime } = options;
  const { admin = "/admin", kv = "/v1/kv" } = endpoints.v1 ?? {};
  const resolved: ResolvedOptions = {
    basePath: normalize(basePath),
    endpoints: { admin: normalize(admin), kv: normalize(kv), public: normalize(endpoints.public ?? "/") },
    database: options.env?.database ?? "KV_DB",
    getEnv,
    auth,
    access: resolveAccess(options.access),
    cors,
    limits: filled(DEFAULT_LIMITS, limits),
    timeouts: filled(DEFAULT_TIMEOUTS, limits),
    logger: logger === undefined ? consoleLogger : harmless(logger || ignore),
    onError: onError === undefined ? ignore : harmless(onError),
    runtime: runtime === undefined || typeof runtime === "function" ? runtime : () => runtime,
  };
  const { endpoints: paths } = resolved;
  if (paths.admin !== false && paths.admin === paths.public) {
    throw new TypeError(`endpoints.v1.admin: expected another path than endpoints.public, got "${paths.admin || "/"}"`);
  }
  const { headersTimeout, bodyTimeout } = resolved.timeouts;
  if (bodyTimeout < headersTimeout) {
    throw new TypeError(
      `limits.bodyTimeout: expected at least limits.headersTimeout (${headersTimeout}), got ${bodyTimeout}`,
    );
  }
  checkAuthOptions(auth);
  if (cors !== false && cors.credentials === true && [cors.origin ?? "*"].flat().includes("*")) {
    throw new TypeError(
      'cors.credentials: expected an "origin" other than "*", which browsers refuse with credentials',
    );
  }
  return resolved;
}

/** Each default, or what was given in its place. */
function filled<T extends object>(defaults: T, given: Partial<T> = {}): T {
  const names = Object.keys(defaults) as (keyof T)[];
  return Object.fromEntries(names.map((name) => [name, given[name] ?? defaults[name]])) as T;
}

/** What the operator's own code throws must not cost the caller his answer. */
function harmless<A extends unknown[]>(callback: (...given: A) => void): (...given: A) => void {
  return (...given) => {
    try {
      callback(...given);
    } catch (error) {
      console.error("A callback of kv() failed:", error);
    }
  };
}

const unchanged = (env: Env) => env;
const ignore = () => {};

/** One leading slash, none at the end, none doubled; the root is the empty string, and `false` stays. */
function normalize<P extends string | false>(path: P): P | string {
  if (path === false) return path;
  const segments = path.split("/").filter(Boolean);
  return segments.map((segment) => `/${segment}`).join("");
}

function checkShape(options: KvOptions): void {
  const [fault] = faultsOf(SCHEMA, options);
  if (fault === undefined) return;
  const { path, message } = fault;
  if (message === "Unknown member") throw new TypeError(`${path}: unknown option; see docs/configuration.md`);
  const got = "got" in fault ? describe(fault.got, path.startsWith("auth")) : "nothing";
  throw new TypeError(
    `${path || "options"}: ${message === "Missing" ? "expected a value" : message.replace("E", "e")}, got ${got}`,
  );
}

/** What was given, for a message; what may be a secret is named by its type alone. */
function describe(input: unknown, secret: boolean): string {
  if (input === null || input === undefined) return String(input);
  if (input === "") return "an empty string";
  const kind = Array.isArray(input) ? "array" : typeof input;
  if (secret || typeof input === "object" || kind === "function") return `${/^[ao]/.test(kind) ? "an" : "a"} ${kind}`;
  return JSON.stringify(input) ?? String(input);
}
