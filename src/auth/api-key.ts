import { hexOf } from "../core/bytes.ts";
import { type Env, variable, type Warn } from "../core/env.ts";
import { authorizationOf } from "./authorization.ts";
import { digestOf, isSameDigest } from "./digest.ts";
import type { Principal, Scope } from "./principal.ts";
import {
  type AuthStrategy,
  ask,
  type GetCredentials,
  principalOf,
  type StrategyContext,
  type VerifyCredentials,
  warnShort,
} from "./strategy.ts";

/** A key, who is said to call with it, and what he may do. */
export interface ApiKeyItem {
  key: string;
  /** The principal's id; `key-` and 8 hex digits of the key's SHA-256 by default. */
  id?: string | undefined;
  scope: Scope;
}

export interface ApiKeyOptions {
  /** One key or several, so that one can be rotated. A bare string has the scope `admin`. */
  apiKey?: string | ApiKeyItem | readonly (string | ApiKeyItem)[] | undefined;
  env?:
    | {
        /** The variable with the keys that may do everything, one a line; `"KV_API_KEY"`. */
        apiKey?: string | undefined;
        /** The variable with the keys that may only read, one a line; `"KV_READ_API_KEY"`. */
        readApiKey?: string | undefined;
      }
    | undefined;
  /** Where a request has its key; `Authorization: Bearer` and `X-API-Key` by default. */
  getCredentials?: GetCredentials<string> | undefined;
  /** Decides about a key in place of the keys that are configured. */
  verifyCredentials?: VerifyCredentials<string> | undefined;
}

/** A shorter key is warned about. */
const KEY_CHARACTERS = 20;
/** What a header can carry as a credential. */
const KEY = /^[\x21-\x2b\x2d-\x7e]+$/;

/** Lets in who sends one of the keys; `null` where none is configured. Throws a `TypeError` on a key that no header can carry. */
export function apiKey(options: ApiKeyOptions, { env, warn }: StrategyContext): AuthStrategy | null {
  const { getCredentials, verifyCredentials } = options;
  const items = keysOf(options, env, warn);
  if (items.length === 0 && verifyCredentials === undefined) return null;
  const known = Promise.all(
    items.map(async ({ key, id, scope }) => {
      const digest = await digestOf(key);
      return { digest, principal: principalWith(digest, scope, id) };
    }),
  );

  async function verifyKey(key: string, requestEnv: Env): Promise<Principal | null> {
    const digest = await digestOf(key);
    if (verifyCredentials !== undefined) {
      const verdict = await ask("auth.apiKey.verifyCredentials", warn, verifyCredentials, key, requestEnv);
      return principalOf(verdict, principalWith(digest, "admin"));
    }
    let found: Principal | null = null;
    // All are compared, so that the time does not tell which one it was.
    for (const item of await known) if (isSameDigest(item.digest, digest)) found ??= item.principal;
    return found;
  }

  return {
    name: "api-key",
    challenge: 'Bearer realm="kv"',
    async verify(request, requestEnv) {
      const given =
        getCredentials === undefined
          ? headersOf(request)
          : await ask("auth.apiKey.getCredentials", warn, getCredentials, request, requestEnv);
      let principal: Principal | null = null;
      // An empty header is no credential, and nothing to ask a callback about.
      for (const key of [given].flat()) if (key) principal ??= await verifyKey(key, requestEnv);
      return principal;
    },
  };
}

/** Throws a `TypeError` that names the option where a key given in code cannot be used. */
export function checkApiKeyOptions({ apiKey }: ApiKeyOptions, warn?: Warn): void {
  for (const { key } of itemsOf(apiKey)) checkKey(key, "auth.apiKey.apiKey", warn);
}

function keysOf(options: ApiKeyOptions, env: Env, warn: Warn): ApiKeyItem[] {
  const { apiKey: name = "KV_API_KEY", readApiKey: readName = "KV_READ_API_KEY" } = options.env ?? {};
  checkApiKeyOptions(options, warn);
  const given = options.apiKey === undefined ? linesOf(env, name, "admin", warn) : itemsOf(options.apiKey);
  return [...given, ...linesOf(env, readName, "read", warn)].filter(({ key }) => key.trim() !== "");
}

function itemsOf(given: ApiKeyOptions["apiKey"]): ApiKeyItem[] {
  return [given ?? []].flat().map((item) => (typeof item === "string" ? { key: item, scope: "admin" } : item));
}

function linesOf(env: Env, name: string, scope: Scope, warn: Warn): ApiKeyItem[] {
  const lines = variable(env, name, warn)?.match(/\S(.*\S)?/g) ?? [];
  return lines.map((key) => ({ key: checkKey(key, name, warn), scope }));
}

function checkKey(key: string, where: string, warn?: Warn): string {
  if (key.trim() === "") warn?.(`${where} holds an empty key, which counts as not set`);
  else if (KEY.test(key)) warnShort(key, where, KEY_CHARACTERS, warn);
  else {
    throw new TypeError(`${where}: expected a key of visible ASCII without spaces and commas`);
  }
  return key;
}

/** What may be a key: a Bearer credential, and `X-API-Key`, because people try it. */
function headersOf(request: Request): (string | null | undefined)[] {
  const { scheme, credentials } = authorizationOf(request) ?? {};
  if (scheme === "") return [];
  return [scheme === "bearer" ? credentials : null, request.headers.get("X-API-Key")];
}

function principalWith(digest: Uint8Array, scope: Scope, id = `key-${hexOf(digest.subarray(0, 4))}`): Principal {
  return { id, strategy: "api-key", scope };
}
