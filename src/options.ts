/** The options of `kv()`: every default and every refusal, field by field. */
import type { cors } from "hono/cors";
import * as v from "valibot";
import { type AuthOptions, checkAuthOptions } from "./auth/authenticate.ts";
import type { Env } from "./core/env.ts";
import { DEFAULT_LIMITS, type Limits } from "./core/limits.ts";
import { consoleLogger, type Logger } from "./log.ts";
import type { Runtime, RuntimeFactory } from "./runtimes/runtime.ts";

export type CorsOptions = NonNullable<Parameters<typeof cors>[0]>;

/** How long `serve` waits for a client, in seconds. Other runtimes have their own. */
export interface Timeouts {
  /** For the whole header of a request. */
  headersTimeout: number;
  /** For the whole request, its body included. */
  bodyTimeout: number;
  /** For the next request on a connection that is kept alive. */
  idleTimeout: number;
}

const DEFAULT_TIMEOUTS: Readonly<Timeouts> = { headersTimeout: 15, bodyTimeout: 300, idleTimeout: 65 };

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
  /** `hono/cors` options, or `false`, the default: no CORS header is sent. */
  cors?: CorsOptions | false | undefined;
  /** Bytes, levels and seconds; `docs/configuration.md`. */
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
  cors: CorsOptions | false;
  limits: Limits;
  timeouts: Timeouts;
  logger: Logger;
  onError: OnError;
  /** `undefined`: the platform's default. */
  runtime: RuntimeFactory | undefined;
}

const name = v.pipe(v.string("a non-empty string"), v.regex(/\S/, "a non-empty string"));
const path = v.pipe(
  v.string("a path"),
  v.regex(/^[\w\-.~/]*$/, 'a path of letters, digits, "-", ".", "_", "~" and "/"'),
  v.check((text) => !/(^|\/)\.\.?(\/|$)/.test(text), 'a path without "." and ".." segments'),
);
const fn = v.optional(v.function("a function"));
const positive = (what: string) => v.optional(v.pipe(v.number(what), v.gtValue(0, what), v.finite(what)));
const bytes = v.optional(
  v.pipe(
    v.number("a whole number, at least 1"),
    v.safeInteger("a whole number, at least 1"),
    v.minValue(1, "a whole number, at least 1"),
  ),
);
const seconds = positive("a number of seconds greater than 0");
const strict = <const T extends v.ObjectEntries>(entries: T, expected = "an object") =>
  v.strictObject(entries, expected);
const object = <const T extends v.ObjectEntries>(entries: T) => v.optional(strict(entries));
// `lazy` chooses one of the two, so that a fault inside the object is named by its own path.
const orFalse = <const T extends v.GenericSchema>(schema: T) =>
  v.optional(v.lazy<v.GenericSchema>((input) => (input === false ? v.literal(false) : schema)));
const endpoint = orFalse(path);
const names = (...keys: string[]) => object(Object.fromEntries(keys.map((key) => [key, v.optional(name)])));
const secret = v.optional(v.string("a string"));
const textOrList = v.optional(v.union([name, v.array(name)], "a non-empty string or a list of them"));

const keyItem = v.union(
  [
    v.string(),
    v.strictObject({ key: v.string(), id: v.optional(name), scope: v.picklist(["read", "write", "admin"]) }),
  ],
  "a string or { key, id?, scope }",
);

const OBJECT_OR_FALSE = "an object or false";

const AUTH = {
  apiKey: orFalse(
    strict(
      {
        apiKey: v.optional(v.union([keyItem, v.array(keyItem)], "a string, { key, id?, scope } or a list of them")),
        env: names("apiKey", "readApiKey"),
        getCredentials: fn,
        verifyCredentials: fn,
      },
      OBJECT_OR_FALSE,
    ),
  ),
  basic: orFalse(
    strict(
      {
        username: secret,
        password: secret,
        env: names("username", "password"),
        getCredentials: fn,
        verifyCredentials: fn,
      },
      OBJECT_OR_FALSE,
    ),
  ),
  jwt: orFalse(
    strict(
      {
        secret,
        jwks: object({ url: name, cacheTtl: seconds }),
        issuer: textOrList,
        audience: textOrList,
        env: names("jwksUrl", "secret", "issuer", "audience"),
        getCredentials: fn,
        verifyCredentials: fn,
      },
      OBJECT_OR_FALSE,
    ),
  ),
  authenticateRequest: fn,
};

const SCHEMA = v.strictObject(
  {
    basePath: v.optional(path),
    endpoints: object({ v1: object({ admin: endpoint, kv: endpoint }), public: endpoint }),
    env: names("database"),
    getEnv: fn,
    auth: object(AUTH),
    cors: orFalse(v.looseObject({}, OBJECT_OR_FALSE)),
    limits: object({
      key: bytes,
      value: bytes,
      metadata: bytes,
      depth: bytes,
      headersTimeout: seconds,
      bodyTimeout: seconds,
      idleTimeout: seconds,
    }),
    logger: orFalse(v.function("a function or false")),
    onError: fn,
    runtime: v.optional(
      v.union([v.function("a function"), v.looseObject({ storage: v.looseObject({}) })], "{ storage } or a function"),
    ),
  },
  "an object",
);

/**
 * The options with every default in its place; what was given is not changed. Throws a `TypeError` that quotes the path
 * of the first member that is unknown, of a wrong type or contradicts another.
 */
export function resolveOptions(options: KvOptions = {}): ResolvedOptions {
  checkShape(options);
  const { endpoints, auth = {}, cors = false, logger = consoleLogger, runtime, limits } = options;
  const at = (given: string | false | undefined, otherwise: string) =>
    given === false ? false : normalize(given ?? otherwise);
  const resolved: ResolvedOptions = {
    basePath: normalize(options.basePath ?? "/"),
    endpoints: {
      admin: at(endpoints?.v1?.admin, "/admin"),
      kv: at(endpoints?.v1?.kv, "/v1/kv"),
      public: at(endpoints?.public, "/"),
    },
    database: options.env?.database ?? "KV_DB",
    getEnv: options.getEnv ?? unchanged,
    auth,
    cors,
    limits: {
      key: limits?.key ?? DEFAULT_LIMITS.key,
      value: limits?.value ?? DEFAULT_LIMITS.value,
      metadata: limits?.metadata ?? DEFAULT_LIMITS.metadata,
      depth: limits?.depth ?? DEFAULT_LIMITS.depth,
    },
    timeouts: {
      headersTimeout: limits?.headersTimeout ?? DEFAULT_TIMEOUTS.headersTimeout,
      bodyTimeout: limits?.bodyTimeout ?? DEFAULT_TIMEOUTS.bodyTimeout,
      idleTimeout: limits?.idleTimeout ?? DEFAULT_TIMEOUTS.idleTimeout,
    },
    logger: logger === false ? ignore : logger,
    onError: options.onError ?? ignore,
    runtime: runtime === undefined || typeof runtime === "function" ? runtime : () => runtime,
  };
  checkEndpoints(resolved.endpoints);
  checkAuthOptions(auth);
  if (cors !== false && cors.credentials === true && [cors.origin ?? "*"].flat().includes("*")) {
    throw new TypeError(
      'cors.credentials: expected an "origin" that names the origins, got "*", which browsers refuse with credentials',
    );
  }
  return resolved;
}

const unchanged = (env: Env) => env;
const ignore = () => {};

/** One leading slash, none at the end, none doubled; the root is the empty string. */
function normalize(path: string): string {
  const segments = path.split("/").filter((segment) => segment !== "");
  return segments.length === 0 ? "" : `/${segments.join("/")}`;
}

/** A group under the path of the keys would hide keys, and two groups on one path would hide each other. */
function checkEndpoints({ kv, admin, public: open }: ResolvedOptions["endpoints"]): void {
  for (const [option, other] of [
    ["v1.admin", admin],
    ["public", open],
  ] as const) {
    if (kv === false || other === false) continue;
    if (other === kv || other.startsWith(`${kv}/`)) {
      throw new TypeError(
        `endpoints.${option}: expected a path outside endpoints.v1.kv ("${kv || "/"}"), where it would hide keys, got "${other || "/"}"`,
      );
    }
  }
  if (admin !== false && admin === open) {
    throw new TypeError(
      `endpoints.v1.admin: expected another path than endpoints.public, got "${admin || "/"}" for both`,
    );
  }
}

function checkShape(options: KvOptions): void {
  const { issues } = v.safeParse(SCHEMA, options, { abortEarly: true });
  if (issues === undefined) return;
  const [issue] = issues;
  const path = v.getDotPath(issue) ?? "options";
  if (issue.type === "strict_object" && issue.expected === "never") {
    throw new TypeError(`${path}: unknown option; see docs/configuration.md`);
  }
  throw new TypeError(`${path}: expected ${issue.message}, got ${describe(issue.input, path.startsWith("auth"))}`);
}

/** What was given, for a message; what may be a secret is named by its type alone. */
function describe(input: unknown, secret: boolean): string {
  if (input === null || input === undefined) return String(input);
  if (typeof input === "string" && input === "") return "an empty string";
  if (secret || typeof input === "object" || typeof input === "function") {
    return `${Array.isArray(input) || typeof input === "object" ? "an" : "a"} ${Array.isArray(input) ? "array" : typeof input}`;
  }
  return JSON.stringify(input) ?? String(input);
}
