/** The short form of `npm run fuzz`, and the proof that the fuzzer finds what it looks for. */
import { describe, expect, it } from "vitest";
import { fuzz } from "./run.ts";

it("20,000 inputs are answered as they must be", { timeout: 120_000 }, async () => {
  const seed = Number(process.env.FUZZ_SEED ?? 20_261_124);
  expect(await fuzz({ seed, count: 20_000 })).toBe(20_000);
});

describe("the fuzzer finds", () => {
  it.each([
    ["an exception in a handler", "exception", /A fault of the server: 500/],
    ["a crash", "crash", /The service ended with 1: .*planted/s],
    ["an answer that does not come", "hang", /It hangs/],
    ["a missing envelope", "envelope", /request ids: 404/],
    ["a write without a credential", "open", /Let in without a credential/],
    ["a change of what nobody was to change", "canary", /The canary was 200 .* and is 404/],
  ])("%s", { timeout: 60_000 }, async (_what, fault, message) => {
    await expect(fuzz({ seed: 5, count: 3000, fault, hangMs: fault === "hang" ? 2000 : 10_000 })).rejects.toThrow(
      message,
    );
  });
});
