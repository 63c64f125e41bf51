/** Who a request comes from: any strategy that is configured may say, and `authenticateRequest` has the last word. */
import type { Env } from "../core/env.ts";
import { type ApiKeyOptions, apiKey, checkApiKeyOptions } from "./api-key.ts";
import { type BasicOptions, basic } from "./basic.ts";
import { checkJwtOptions, type JwtOptions, jwt } from "./jwt.ts";
import type { Principal } from "./principal.ts";
import { type Attempts, ask, type StrategyContext } from "./strategy.ts";

export type { ApiKeyItem, ApiKeyOptions } from "./api-key.ts";
export type { BasicCredentials, BasicOptions } from "./basic.ts";
export type { JwtOptions } from "./jwt.ts";

/** A caller as `authenticateRequest` may state it: the rest is `custom` and `admin`. */
export type CustomPrincipal = Pick<Principal, "id"> & Partial<Principal>;

/** Runs after the strategies and may grant or refuse; it must leave the request's body alone. */
export type AuthenticateRequest = (
  request: Request,
  principal: Principal | null,
  env: Env,
) => CustomPrincipal | null | Promise<CustomPrincipal | null>;

/** Each strategy is on unless it is `false`, and lets nobody in unless it is configured. */
export interface AuthOptions {
  apiKey?: ApiKeyOptions | false | undefined;
  basic?: BasicOptions | false | undefined;
  jwt?: JwtOptions | false | undefined;
  authenticateRequest?: AuthenticateRequest | undefined;
}

export interface Authenticator {
  /** The strategies that are on and configured. */
  readonly strategies: readonly string[];
  /** The value of `WWW-Authenticate`. */
  readonly challenge: string;
  /** What the acceptance of a token rests on besides the token; see {@link AuthStrategy.basis}. */
  tokenBasis(): unknown;
  /** The caller, or `null` where nobody vouches for the request. */
  authenticate(request: Request, env: Env, attempts?: Attempts): Promise<Principal | null>;
}

/** What lets somebody in, for the log of a service that lets nobody in. */
const MEND =
  "Nobody gets in: no credential is configured. Set KV_API_KEY, KV_READ_API_KEY, KV_USERNAME and KV_PASSWORD, KV_JWT_SECRET or KV_JWKS_URL, or the options of auth";

/** Throws a `TypeError` that names the option where what is given in code cannot be. */
export function checkAuthOptions(options: AuthOptions): void {
  if (options.apiKey) checkApiKeyOptions(options.apiKey);
  if (options.jwt) checkJwtOptions(options.jwt);
}

/** Whether no environment can let anybody in. */
export function isClosed(options: AuthOptions): boolean {
  const strategies = [options.apiKey, options.basic, options.jwt];
  return strategies.every((strategy) => strategy === false) && options.authenticateRequest === undefined;
}

/** The strategies as the options and the environment configure them. Throws a `TypeError` that names what is wrong. */
export function createAuthenticator(options: AuthOptions, context: StrategyContext): Authenticator {
  const { apiKey: keys = {}, basic: users = {}, jwt: tokens = {}, authenticateRequest } = options;
  const strategies = [
    keys && apiKey(keys, context),
    users && basic(users, context),
    tokens && jwt(tokens, context),
  ].filter((strategy) => !!strategy);
  const names: string[] = strategies.map(({ name }) => name);
  if (authenticateRequest !== undefined) names.push("custom");
  if (names.length === 0 && !isClosed(options)) context.warn(MEND);

  return {
    strategies: names,
    challenge: [...new Set(strategies.map(({ challenge }) => challenge))].join(", ") || "Bearer",
    tokenBasis: () => strategies.find(({ name }) => name === "jwt")?.basis?.(),
    async authenticate(request, env, attempts) {
      let principal: Principal | null = null;
      for (const strategy of strategies) principal ??= await strategy.verify(request, env, attempts);
      if (authenticateRequest === undefined) return principal;
      const answer = await ask("auth.authenticateRequest", context.warn, authenticateRequest, request, principal, env);
      return typeof answer?.id === "string" ? { strategy: "custom", scope: "admin", ...answer } : null;
    },
  };
}
