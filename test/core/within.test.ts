import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { LATE, within } from "../../src/core/within.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it("is what the promise comes to, and leaves no timer behind", async () => {
  expect(await within(1000, "at once")).toBe("at once");
  expect(await within(1000, Promise.resolve("soon"))).toBe("soon");
  await expect(within(1000, Promise.reject(new Error("No")))).rejects.toThrow("No");
  expect(vi.getTimerCount()).toBe(0);
});

it("is LATE once the time is up, not before", async () => {
  let answer: unknown;
  void within(1000, new Promise(() => {})).then((given) => {
    answer = given;
  });
  await vi.advanceTimersByTimeAsync(999);
  expect(answer).toBeUndefined();
  await vi.advanceTimersByTimeAsync(1);
  expect(answer).toBe(LATE);
});
