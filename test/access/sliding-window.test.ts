import { describe, expect, it } from "vitest";
import { slidingWindow } from "../../src/access/sliding-window.ts";

/** By a clock that the test moves, in seconds. */
function windowOf(limit: number, window: number, maxEntries?: number) {
  const clock = { now: 1_800_000_000 };
  const hit = slidingWindow({ limit, window }, () => clock.now * 1000, maxEntries);
  return {
    clock,
    hit,
    allowed: (name: string, count: number) =>
      Array.from({ length: count }, () => hit(name)).filter(({ allowed }) => allowed).length,
  };
}

describe("a sliding window", () => {
  it("allows so many and no more, each name for itself", () => {
    const { hit, allowed } = windowOf(3, 10);
    expect([hit("a"), hit("a"), hit("a")].map(({ remaining }) => remaining)).toEqual([2, 1, 0]);
    expect(hit("a")).toMatchObject({ allowed: false, remaining: 0 });
    expect(allowed("b", 5)).toBe(3);
  });

  it("gives back bit by bit what the window before has counted", () => {
    const { clock, allowed } = windowOf(10, 10);
    clock.now += 9;
    expect(allowed("a", 20)).toBe(10);
    clock.now += 1;
    expect(allowed("a", 20)).toBe(0);
    clock.now += 5;
    expect(allowed("a", 20)).toBe(5);
    clock.now += 15;
    expect(allowed("a", 20)).toBe(10);
  });

  it("never allows twice the limit in one window's time, whenever that begins", () => {
    const { clock, hit } = windowOf(10, 10);
    const times: number[] = [];
    for (let step = 0; step < 5000; step++) {
      clock.now += step % 7 === 0 ? 0.9 : 0.01;
      if (hit("a").allowed) times.push(clock.now);
    }
    const most = Math.max(...times.map((from) => times.filter((time) => time >= from && time < from + 10).length));
    expect(most).toBeGreaterThanOrEqual(10);
    expect(most).toBeLessThan(20);
    const rate = times.length / ((times.at(-1) as number) - (times[0] as number));
    expect(rate).toBeGreaterThan(0.9);
    expect(rate).toBeLessThan(1.1);
  });

  it("what is refused is not counted, and asking is not either", () => {
    const { clock, hit, allowed } = windowOf(2, 10);
    for (let index = 0; index < 50; index++) expect(hit("a", 0).allowed).toBe(true);
    expect(allowed("a", 500)).toBe(2);
    clock.now += 20;
    expect(allowed("a", 500)).toBe(2);
  });

  it("says when more is allowed: not before, and then", () => {
    for (const start of [0, 3.3, 9.9]) {
      for (const limit of [1, 2, 10]) {
        const { clock, hit, allowed } = windowOf(limit, 10);
        clock.now += start;
        allowed("a", limit);
        for (let round = 0; round < 5; round++) {
          const { allowed: more, reset } = hit("a");
          expect(more).toBe(false);
          expect(reset).toBeGreaterThan(0);
          expect(reset).toBeLessThanOrEqual(20);
          clock.now += reset - 0.01;
          expect(hit("a", 0).allowed, `${start} ${limit} ${round}`).toBe(false);
          clock.now += 0.02;
          expect(hit("a", 0).allowed, `${start} ${limit} ${round}`).toBe(true);
          allowed("a", limit);
        }
      }
    }
  });

  it("says when more is allowed where only the window before has counted", () => {
    const { clock, hit } = windowOf(1, 10);
    hit("a");
    clock.now += 13;
    expect(hit("a")).toEqual({ allowed: false, remaining: 0, reset: expect.closeTo(7) });
  });

  it("forgets nobody who still counts, however many come", () => {
    const { clock, allowed } = windowOf(1, 10, 2 ** 17);
    const count = (from: number, to: number) => {
      let sum = 0;
      for (let index = from; index < to; index++) sum += allowed(`name ${index}`, 1);
      return sum;
    };
    expect(count(0, 600)).toBe(600);
    // Half of the next window passes: what the one before has counted is still in sight.
    clock.now += 10;
    expect(count(600, 4000)).toBe(3400);
    clock.now += 5;
    expect(count(0, 4000)).toBe(0);
  });

  it("where all places are taken forgets the one that was used longest ago, and no other", () => {
    const { hit } = windowOf(1, 10, 8);
    const isBound = (name: string) => !hit(name, 0).allowed;
    for (const name of "abcdefgh") hit(name);
    expect([..."abcdefgh"].map(isBound)).toEqual(Array(8).fill(true));
    // Asked for last of all, so that now it is b that goes.
    expect(isBound("a")).toBe(true);
    expect(hit("i").allowed).toBe(true);
    expect([..."cdefghai"].map(isBound)).toEqual(Array(8).fill(true));
    expect(isBound("b")).toBe(false);
  });

  it("keeps the last eight, wherever they stand", () => {
    for (let round = 0; round < 50; round++) {
      const { hit } = windowOf(1, 10, 32);
      for (let index = 0; index < 200; index++) hit(`name ${index}`);
      for (let index = 192; index < 200; index++) expect(hit(`name ${index}`, 0).allowed).toBe(false);
    }
  });

  it("a clock that goes back lets nobody wait for ever", () => {
    const { clock, allowed } = windowOf(5, 10);
    allowed("a", 5);
    clock.now -= 100_000;
    expect(allowed("a", 10)).toBe(5);
  });

  it("under a flood of names the last ones are still bound", () => {
    const { clock, hit } = windowOf(1, 1000, 1024);
    for (let index = 0; index < 10_000; index++) {
      clock.now += 0.1;
      hit(`name ${index}`);
    }
    clock.now += 0.1;
    const bound = Array.from({ length: 100 }, (_, index) => hit(`name ${9999 - index}`, 0)).filter(
      ({ allowed }) => !allowed,
    );
    expect(bound.length).toBeGreaterThan(90);
  });
});
