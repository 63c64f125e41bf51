/** What counts, called directly: what it answers, throws and warns of. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { type AccessOptions, createAccess, resolveAccess } from "../../src/access/access.ts";
import { parseAddress, parseNetwork } from "../../src/access/ip.ts";
import { type RateLimitHit, type RateLimitOptions, rateLimit, tooMany } from "../../src/access/rate-limit.ts";
import { workersRateLimiter } from "../../src/access/workers.ts";

afterEach(() => void vi.useRealTimers());

describe("the options of access", () => {
  it("let everybody in, trust no proxy and slow guessing by default", () => {
    const defaults = { ip: undefined, trustProxy: 0, rateLimit: undefined, guessing: { limit: 20, window: 600 } };
    expect(resolveAccess()).toEqual(defaults);
    expect(resolveAccess({})).toEqual(defaults);
  });

  it("take networks, hops and what guessing may cost", () => {
    const quota = { limit: 3, window: 10 };
    const resolved = resolveAccess({ ip: ["10.0.0.0/8", "::1"], trustProxy: 2, rateLimit: quota });
    expect(resolved).toMatchObject({ trustProxy: 2, rateLimit: quota });
    expect(resolved.ip).toEqual(["10.0.0.0/8", "::1"].map(parseNetwork));
    expect(resolveAccess({ trustProxy: ["10.0.0.0/8"] }).trustProxy).toEqual([parseNetwork("10.0.0.0/8")]);
    expect(resolveAccess({ guessing: { failures: 2 } }).guessing).toEqual({ limit: 2, window: 600 });
    expect(resolveAccess({ guessing: { window: 5 } }).guessing).toEqual({ limit: 20, window: 5 });
    expect(resolveAccess({ guessing: false }).guessing).toBe(false);
  });

  it.each<[AccessOptions, RegExp]>([
    [{ ip: [] }, /^access\.ip: expected at least one address or block, got an empty list/],
    [{ trustProxy: [] }, /^access\.trustProxy: expected at least one/],
    [
      { ip: ["::1", "nonsense"] },
      /^access\.ip\.1: expected an address or a block .*"10\.0\.0\.0\/8".*, got "nonsense"$/,
    ],
    [
      { trustProxy: ["10.0.0.1/8"] },
      /^access\.trustProxy\.0: expected an address or a block .*, got "10\.0\.0\.1\/8"$/,
    ],
  ])("%j is a TypeError that says where", (options, message) => {
    expect(() => resolveAccess(options)).toThrow(TypeError);
    expect(() => resolveAccess(options)).toThrow(message);
  });
});

function start(options: AccessOptions, { inMemory = true }: { inMemory?: boolean } = {}) {
  const clock = { now: 1_800_000_000_000 };
  const warnings: string[] = [];
  const context = {
    env: { WHO: "env" },
    warn: (line: string) => void warnings.push(line),
    now: () => clock.now,
    inMemory,
  };
  return { clock, warnings, access: createAccess(resolveAccess(options), context) };
}

describe("guessing", () => {
  const at = (address: string) => () => parseAddress(address);

  it("is refused once a pair of address and user name has failed so often, and only that", () => {
    const { access, clock } = start({ guessing: { failures: 2, window: 10 } });
    const guesses = access.guesses(at("192.0.2.7"));
    guesses?.check("ann");
    guesses?.failed("ann");
    guesses?.check("ann");
    guesses?.check("ann");
    guesses?.failed("ann");
    const refusal = { code: "rate_limited", headers: { "Retry-After": "15" } };
    expect(() => guesses?.check("ann")).toThrow(expect.objectContaining(refusal));
    expect(() => guesses?.check("ann")).toThrow("Too many wrong passwords for this user name; try again in 15 s");
    expect(() => guesses?.check("bob")).not.toThrow();
    expect(() => access.guesses(at("192.0.2.8"))?.check("ann")).not.toThrow();
    expect(() => access.guesses(() => null)?.check("ann")).not.toThrow();
    expect(() => access.guesses(at("::ffff:192.0.2.7"))?.check("ann")).toThrow();
    clock.now += 15_000;
    expect(() => guesses?.check("ann")).not.toThrow();
  });

  it("is not slowed where that is off", () => {
    expect(start({ guessing: false }).access.guesses(() => null)).toBeUndefined();
  });
});

describe("a limiter", () => {
  const quota = { limit: 2, window: 10 };

  it("is none where there is no quota", () => {
    expect(start({}).access.count).toBeUndefined();
  });

  it("counts in memory by default, each policy and name for itself", async () => {
    const { access } = start({ rateLimit: quota });
    expect(await access.count?.("address", "a")).toEqual({
      "RateLimit-Policy": '"address";q=2;w=10',
      RateLimit: '"address";r=1;t=10',
    });
    expect(await access.count?.("address", "a")).toMatchObject({ RateLimit: '"address";r=0;t=10' });
    await expect(access.count?.("address", "a")).rejects.toMatchObject({ code: "rate_limited" });
    expect(await access.count?.("principal", "a")).toMatchObject({ RateLimit: '"principal";r=1;t=10' });
    expect(await access.count?.("address", "b")).toMatchObject({ RateLimit: '"address";r=1;t=10' });
  });

  it("must be given where memory is nobody's", () => {
    expect(() => start({ rateLimit: quota }, { inMemory: false })).toThrow(
      /^access\.rateLimit\.rateLimiter: expected workersRateLimiter\(\) of a binding, got nothing$/,
    );
    const rateLimiter = { hit: () => ({ allowed: true }) };
    expect(() => start({ rateLimit: { ...quota, rateLimiter } }, { inMemory: false })).not.toThrow();
  });

  it("may be given, or made of the environment, and is told whom it counts by what quota", async () => {
    const asked: unknown[] = [];
    const rateLimiter = {
      hit(...given: unknown[]) {
        asked.push(given);
        return { allowed: true };
      },
    };
    await start({ rateLimit: { ...quota, rateLimiter } }).access.count?.("principal", "ann");
    const make = vi.fn(() => rateLimiter);
    await start({ rateLimit: { ...quota, rateLimiter: make } }).access.count?.("address", "x");
    expect(make.mock.calls).toEqual([[{ WHO: "env" }]]);
    expect(asked).toEqual([
      ["principal:ann", quota],
      ["address:x", quota],
    ]);
  });
});

describe("what a limiter answers", () => {
  const quota = { limit: 5, window: 60 };

  function limited(answer: () => RateLimitHit | Promise<RateLimitHit>, options: Partial<RateLimitOptions> = {}) {
    const clock = { now: 1000 };
    const warnings: string[] = [];
    const hit = vi.fn(answer);
    const context = { warn: (line: string) => void warnings.push(line), now: () => clock.now };
    return { clock, warnings, hit, count: rateLimit({ ...quota, ...options }, { hit }, context) };
  }

  it("goes into the fields of the draft, as far as it knows it", async () => {
    const policy = { "RateLimit-Policy": '"address";q=5;w=60' };
    expect(await limited(() => ({ allowed: true })).count("address", "x")).toEqual(policy);
    const known = await limited(() => ({ allowed: true, remaining: 0, reset: 1.2 })).count("address", "x");
    expect(known).toEqual({ ...policy, RateLimit: '"address";r=0;t=2' });
    expect(await limited(() => ({ allowed: true, remaining: 3 })).count("address", "x")).toEqual({
      ...policy,
      RateLimit: '"address";r=3;t=60',
    });
  });

  it("refuses with them, and with when to come again", async () => {
    const { count } = limited(() => ({ allowed: false, remaining: 0, reset: 6.1 }));
    await expect(count("principal", "x")).rejects.toMatchObject({
      code: "rate_limited",
      message: "Expected at most 5 requests in 60 s; try again in 7 s",
      headers: { "RateLimit-Policy": '"principal";q=5;w=60', RateLimit: '"principal";r=0;t=7', "Retry-After": "7" },
    });
    await expect(limited(() => ({ allowed: false })).count("address", "x")).rejects.toMatchObject({
      headers: { "RateLimit-Policy": '"address";q=5;w=60', "Retry-After": "60" },
    });
  });

  it("where it is an error lets through, and asks no more for a second", async () => {
    const { clock, warnings, hit, count } = limited(() => Promise.reject(new Error("gone")));
    expect(await count("address", "x")).toEqual({});
    clock.now += 999;
    expect(await count("address", "x")).toEqual({});
    expect(hit).toHaveBeenCalledTimes(1);
    clock.now += 1;
    hit.mockReturnValueOnce({ allowed: true });
    expect(await count("address", "x")).toHaveProperty("RateLimit-Policy");
    expect(hit).toHaveBeenCalledTimes(2);
    expect(warnings).toEqual(["access.rateLimit: the limiter failed, requests are let through: gone"]);
  });

  it("where it is an error refuses if that is wanted", async () => {
    const { warnings, count } = limited(
      () => {
        throw new Error("gone");
      },
      { onFailure: "refuse" },
    );
    for (let turn = 0; turn < 2; turn++)
      await expect(count("address", "x")).rejects.toMatchObject({ code: "unavailable" });
    expect(warnings).toEqual(["access.rateLimit: the limiter failed, requests are refused: gone"]);
  });

  it("is waited for one second", async () => {
    vi.useFakeTimers();
    const { warnings, count } = limited(() => new Promise(() => {}));
    let answer: unknown;
    void count("address", "x").then((headers) => {
      answer = headers;
    });
    await vi.advanceTimersByTimeAsync(999);
    expect(answer).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1);
    expect(answer).toEqual({});
    expect(warnings).toEqual([expect.stringMatching(/: no answer in 1000 ms$/)]);
  });
});

describe("the binding of Workers", () => {
  it("decides by its key alone, and says no more than that", async () => {
    const limiter = workersRateLimiter({ limit: async ({ key }) => ({ success: key === "a" }) });
    expect(await limiter.hit("a", { limit: 1, window: 1 })).toEqual({ allowed: true });
    expect(await limiter.hit("b", { limit: 1, window: 1 })).toEqual({ allowed: false });
  });

  it.each([undefined, null, {}])("is none where it is %j", (binding) => {
    expect(() => workersRateLimiter(binding as never)).toThrow(/^workersRateLimiter: expected a rate limiting binding/);
  });
});

it("who has too many may come again in whole seconds, at least one", () => {
  expect(tooMany("address", "No", 0).headers).toEqual({ "Retry-After": "1" });
  expect(tooMany("address", "No", 1.01, { Vary: "Origin" }).headers).toEqual({ Vary: "Origin", "Retry-After": "2" });
  expect(tooMany("address", "No", 3).message).toBe("No; try again in 3 s");
});
