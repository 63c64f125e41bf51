export type { AccessOptions } from "./access/access.ts";
export type { Quota, RateLimiter, RateLimitHit, RateLimitOptions } from "./access/rate-limit.ts";
export type {
  ApiKeyItem,
  ApiKeyOptions,
  AuthenticateRequest,
  AuthOptions,
  BasicCredentials,
  BasicOptions,
  CustomPrincipal,
  JwtOptions,
} from "./auth/authenticate.ts";
export type { Principal, Scope } from "./auth/principal.ts";
export type { Verdict } from "./auth/strategy.ts";
export type { Env } from "./core/env.ts";
export { KvError, type KvErrorCode, type KvIssue } from "./core/errors.ts";
export type { Limits } from "./core/limits.ts";
export { type KvApp, kv, kv as default } from "./kv.ts";
export type { LogEntry, Logger } from "./log.ts";
export type { CorsOptions, KvOptions, OnError } from "./options.ts";
export type { Runtime, RuntimeContext, RuntimeFactory } from "./runtimes/runtime.ts";
export type * from "./storage/adapter.ts";
