/** Who may reach the service at all, and how often. */
import type { Env, Warn } from "../core/env.ts";
import { clientOf, type Network, parseNetwork } from "./ip.ts";
import { type Policy, type Quota, type RateLimiter, type RateLimitOptions, rateLimit, tooMany } from "./rate-limit.ts";
import { slidingWindow } from "./sliding-window.ts";

export interface AccessOptions {
  /** The addresses and blocks that may call: `["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"]`. All by default. */
  ip?: readonly string[] | undefined;
  /**
   * The proxies whose `X-Forwarded-For` or `Forwarded` is believed: how many stand before the service, or their addresses and
   * blocks. None by default. On Workers the platform itself says who calls.
   */
  trustProxy?: number | readonly string[] | undefined;
  /** How many requests one principal may make, and one address without an accepted credential. No bound by default. */
  rateLimit?: RateLimitOptions | undefined;
  /** How many wrong Basic passwords one address may try for one user name: 20 in 600 s by default. */
  guessing?: { failures?: number | undefined; window?: number | undefined } | false | undefined;
}

export interface ResolvedAccess {
  /** `undefined`: everybody. */
  ip: readonly Network[] | undefined;
  trustProxy: number | readonly Network[];
  rateLimit: RateLimitOptions | undefined;
  guessing: Quota | false;
}

/** The options with their defaults. Throws a `TypeError` that quotes the first network that is none. */
export function resolveAccess({ ip, trustProxy = 0, rateLimit, guessing = {} }: AccessOptions = {}): ResolvedAccess {
  return {
    ip: ip && networks("access.ip", ip),
    trustProxy: typeof trustProxy === "number" ? trustProxy : networks("access.trustProxy", trustProxy),
    rateLimit,
    guessing: guessing && { limit: guessing.failures ?? 20, window: guessing.window ?? 600 },
  };
}

function networks(option: string, list: readonly string[]): Network[] {
  // An empty list would refuse everybody, or trust nobody: both have a clearer spelling.
  if (list.length === 0) throw new TypeError(`${option}: expected at least one address or block, got an empty list`);
  return list.map((text, index) => {
    const network = parseNetwork(text);
    if (network !== null) return network;
    const expected = 'an address or a block whose bits after the prefix are 0, such as "10.0.0.0/8" or "2001:db8::/32"';
    throw new TypeError(`${option}.${index}: expected ${expected}, got ${JSON.stringify(text)}`);
  });
}

/** What keeps an address from guessing a user's password. */
export interface Guesses {
  /** Throws `rate_limited` where this user name was tried in vain too often. */
  check(name: string): void;
  failed(name: string): void;
}

export interface Access {
  /** Counts a request and answers header fields; throws `rate_limited`. `undefined`: nobody counts. */
  count: ((policy: Policy, name: string) => Promise<Record<string, string>>) | undefined;
  /** For one request. `undefined`: guessing is not slowed. */
  guesses(address: () => bigint | null): Guesses | undefined;
}

/** What counts, for one environment. */
export function createAccess(
  { rateLimit: options, guessing }: ResolvedAccess,
  context: { env: Env; warn: Warn; now(): number; inMemory: boolean },
): Access {
  const { now } = context;
  return {
    count: options && rateLimit(options, limiterOf(options, context), context),
    guesses: guessing === false ? () => undefined : guesses(slidingWindow(guessing, now)),
  };
}

function guesses(hit: ReturnType<typeof slidingWindow>) {
  return (address: () => bigint | null): Guesses => {
    const pair = (name: string) => `${clientOf(address())} ${name}`;
    return {
      check(name) {
        const { allowed, reset } = hit(pair(name), 0);
        if (!allowed) throw tooMany("guessing", "Too many wrong passwords for this user name", reset);
      },
      failed: (name) => void hit(pair(name)),
    };
  };
}

function limiterOf(
  { rateLimiter, ...quota }: RateLimitOptions,
  { env, now, inMemory }: { env: Env; now(): number; inMemory: boolean },
): RateLimiter {
  if (rateLimiter !== undefined) return typeof rateLimiter === "function" ? rateLimiter(env) : rateLimiter;
  if (!inMemory)
    throw new TypeError("access.rateLimit.rateLimiter: expected workersRateLimiter() of a binding, got nothing");
  const hit = slidingWindow(quota, now);
  return { hit: (key) => hit(key) };
}
