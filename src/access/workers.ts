import type { RateLimiter } from "./rate-limit.ts";

/** What is used of a rate limiting binding of Cloudflare Workers. */
export interface RateLimitBinding {
  limit(options: { key: string }): Promise<{ success: boolean }>;
}

/**
 * Counts by the rate limiting binding of Workers: `rateLimiter: (env) => workersRateLimiter(env.RATE_LIMITER)`. The binding's
 * own `limit` and `period` decide, so `access.rateLimit` repeats them for what callers are told; it counts for each location of
 * Cloudflare apart, and does not say how many are left.
 *
 * @see https://developers.cloudflare.com/workers/runtime-apis/bindings/rate-limit/
 */
export function workersRateLimiter(binding: RateLimitBinding): RateLimiter {
  if (typeof binding?.limit !== "function") {
    throw new TypeError("workersRateLimiter: expected a rate limiting binding; add it to ratelimits in wrangler.jsonc");
  }
  return {
    async hit(key) {
      const { success } = await binding.limit({ key });
      return { allowed: success };
    },
  };
}
