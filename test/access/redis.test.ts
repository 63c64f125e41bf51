/** Counts that instances share, on a real Redis. */
import { createClient } from "redis";
import { describe, expect, it } from "vitest";
import { redisRateLimiter } from "../../src/access/redis.ts";
import { missing, type Redis, startRedis } from "../engines/redis-server.ts";
import { type Started, start, status, stops } from "./support.ts";

describe.skipIf(missing !== null && !process.env.CI)("redisRateLimiter", () => {
  async function startLimiter(): Promise<{ redis: Redis; open: () => Promise<ReturnType<typeof redisRateLimiter>> }> {
    if (missing !== null) throw new Error(missing);
    const redis = await startRedis({ durable: false });
    stops.push(() => redis[Symbol.asyncDispose]());
    const { port } = redis.nodes[0] as Redis["nodes"][0];
    return {
      redis,
      async open() {
        const client = createClient({ url: `redis://127.0.0.1:${port}`, disableOfflineQueue: true });
        client.on("error", () => {});
        await client.connect();
        stops.push(() => client.destroy());
        return redisRateLimiter(client);
      },
    };
  }

  it("two instances share one count, exactly, under load", async () => {
    const { open } = await startLimiter();
    const services = [
      await start({ rateLimit: { limit: 50, window: 3600, rateLimiter: await open() } }),
      await start({ rateLimit: { limit: 50, window: 3600, rateLimiter: await open() } }),
    ];
    const statuses = await Promise.all(
      Array.from({ length: 200 }, (_, index) => status((services[index % 2] as Started).url)),
    );
    expect(statuses.filter((code) => code !== 429)).toHaveLength(50);
  });

  it("slides, by the clock of Redis, and leaves nothing behind", async () => {
    const { redis, open } = await startLimiter();
    const limiter = await open();
    const quota = { limit: 2, window: 1 };
    expect(await limiter.hit("a", quota)).toMatchObject({ allowed: true, remaining: 1 });
    expect(await limiter.hit("a", quota)).toMatchObject({ allowed: true, remaining: 0 });
    const refused = await limiter.hit("a", quota);
    expect(refused.allowed).toBe(false);
    expect(refused.reset).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, (refused.reset as number) * 1000 + 20));
    expect((await limiter.hit("a", quota)).allowed).toBe(true);
    expect(await redis.admin("KEYS", "*")).toEqual(["workertown-kv:rate:a"]);
    await new Promise((resolve) => setTimeout(resolve, 2100));
    expect(await redis.admin("KEYS", "*")).toEqual([]);
  });

  it("while Redis is away requests go on, and are bound again when it is back", async () => {
    const { redis, open } = await startLimiter();
    const { url, clock, warnings } = await start({ rateLimit: { limit: 1, window: 3600, rateLimiter: await open() } });
    expect([await status(url), await status(url)]).toEqual([404, 429]);
    await redis.kill();
    expect([await status(url), await status(url)]).toEqual([404, 404]);
    expect(warnings.filter((line) => line.includes("the limiter failed"))).toHaveLength(1);
    await redis.start();
    const bound = async () => {
      clock.now += 2000;
      return (await status(url)) === 429;
    };
    for (const deadline = Date.now() + 10_000; !(await bound()); ) {
      if (Date.now() > deadline) throw new Error("It is not asked again");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  });
});
