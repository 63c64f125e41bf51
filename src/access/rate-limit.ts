/** How many requests somebody may make. */
import type { Env, Warn } from "../core/env.ts";
import { KvError, type MeteredLimit } from "../core/errors.ts";
import { LATE, within } from "../core/within.ts";

/** `limit` requests in any `window` seconds. */
export interface Quota {
  limit: number;
  window: number;
}

export interface RateLimitHit {
  allowed: boolean;
  /** How many more would be allowed now, where the limiter knows. */
  remaining?: number | undefined;
  /** Seconds until more is allowed, where the limiter knows. */
  reset?: number | undefined;
}

/** Counts requests by who makes them. */
export interface RateLimiter {
  /** Counts a request and says whether it is within the quota, in one step. */
  hit(key: string, quota: Quota): RateLimitHit | Promise<RateLimitHit>;
}

export interface RateLimitOptions extends Quota {
  /** Where the counts are kept: in memory by default. A function is given the environment, which holds the bindings. */
  rateLimiter?: RateLimiter | ((env: Env) => RateLimiter) | undefined;
  /** What becomes of a request while the limiter fails: `"allow"`, the default, or `"refuse"` (503). */
  onFailure?: "allow" | "refuse" | undefined;
}

/** Who is counted: by address where no credential was accepted. */
export type Policy = "address" | "principal";

/** How long a limiter may take, and is not asked again after it failed. */
const ANSWER_MS = 1000;

/**
 * Counts a request and answers the header fields that tell of it (draft-ietf-httpapi-ratelimit-headers-11); throws
 * `rate_limited` where it is one too many.
 */
export function rateLimit(
  { limit, window, onFailure }: RateLimitOptions,
  limiter: RateLimiter,
  { warn, now }: { warn: Warn; now(): number },
) {
  let awayUntil = Number.NEGATIVE_INFINITY;

  async function ask(key: string): Promise<RateLimitHit | null> {
    if (now() < awayUntil) return null;
    try {
      const hit = await within(ANSWER_MS, limiter.hit(key, { limit, window }));
      if (hit !== LATE) return hit;
      throw new Error(`no answer in ${ANSWER_MS} ms`);
    } catch (error) {
      awayUntil = now() + ANSWER_MS;
      const outcome = onFailure === "refuse" ? "refused" : "let through";
      warn(`access.rateLimit: the limiter failed, requests are ${outcome}: ${(error as Error).message}`);
      return null;
    }
  }

  return async function count(policy: Policy, name: string): Promise<Record<string, string>> {
    const hit = await ask(`${policy}:${name}`);
    if (hit === null) {
      if (onFailure === "refuse") throw new KvError("unavailable", "The rate limiter is away");
      return {};
    }
    const { allowed, remaining, reset = window } = hit;
    const seconds = Math.ceil(reset);
    const headers = {
      "RateLimit-Policy": `"${policy}";q=${limit};w=${window}`,
      ...(remaining !== undefined && { RateLimit: `"${policy}";r=${remaining};t=${seconds}` }),
    };
    if (!allowed) throw tooMany(policy, `Expected at most ${limit} requests in ${window} s`, seconds, headers);
    return headers;
  };
}

/** The refusal of one who may come again after so many seconds. */
export function tooMany(
  limit: MeteredLimit,
  message: string,
  reset: number,
  headers: Readonly<Record<string, string>> = {},
): KvError {
  const seconds = Math.max(1, Math.ceil(reset));
  const detail = `${message}; try again in ${seconds} s`;
  return new KvError("rate_limited", detail, { limit, headers: { ...headers, "Retry-After": `${seconds}` } });
}
