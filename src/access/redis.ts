import type { RateLimiter } from "./rate-limit.ts";

/** What is used of a client of the driver `redis`: made, connected and closed by whoever gives it. */
export interface RedisEvalClient {
  eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>;
}

export interface RedisRateLimiterOptions {
  /** How its keys in Redis begin. Default `workertown-kv:rate:`. */
  prefix?: string | undefined;
}

/**
 * Counts in Redis, so that several instances share their counts: `rateLimiter: redisRateLimiter(client)`. One command a
 * request, which counts and judges in one step by the clock of Redis. A key of Redis lives for two windows.
 */
export function redisRateLimiter(
  client: RedisEvalClient,
  { prefix = "workertown-kv:rate:" }: RedisRateLimiterOptions = {},
): RateLimiter {
  return {
    async hit(key, { limit, window }) {
      const answer = await client.eval(SCRIPT, { keys: [prefix + key], arguments: [`${limit}`, `${window * 1000}`] });
      const [allowed, remaining, reset] = (answer as unknown[]).map(Number) as [number, number, number];
      return { allowed: allowed === 1, remaining, reset: reset / 1000 };
    },
  };
}

/** The sliding window of `sliding-window.ts`; `reset` in milliseconds. */
const SCRIPT = `
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local current = math.floor(now / window)
local left = 1 - (now % window) / window
local kept = redis.call("HMGET", KEYS[1], "window", "count", "before")
local last, count, before = tonumber(kept[1] or 0), tonumber(kept[2] or 0), tonumber(kept[3] or 0)
if last ~= current then
  before = last == current - 1 and count or 0
  count = 0
end
local free = limit - count - before * left
if free >= 1 then
  redis.call("HSET", KEYS[1], "window", current, "count", count + 1, "before", before)
  redis.call("PEXPIRE", KEYS[1], window * 2)
  return { 1, math.floor(free - 1), math.ceil(left * window) }
end
local wait = left + 1 - (limit - 1) / count
if 1 - free <= before * left then wait = (1 - free) / before end
return { 0, 0, math.ceil(wait * window) }
`;
