import { describe, expect, it } from "vitest";
import { conditionHolds, expiresAtOf, isLive, isUnchanged } from "../../src/core/entry.ts";

const NOW = 1_700_000_000_000;

describe("isLive", () => {
  it("ends at the very millisecond of the expiry", () => {
    expect(isLive({ expiresAt: NOW }, NOW - 1)).toBe(true);
    expect(isLive({ expiresAt: NOW }, NOW)).toBe(false);
    expect(isLive({ expiresAt: null }, NOW)).toBe(true);
  });
});

describe("expiresAtOf", () => {
  it.each([
    [1, 1000],
    [0.0001, 1],
    [1e-10, 1],
    [Number.MIN_VALUE, 1],
    [1.1, 1100],
    [0.2999, 300],
    [2.0011, 2002],
    [4.35, 4350],
    // What binary fractions add is no part of it, what was given is: here 2007.0000000000002 and 1000.000002 ms.
    [2.007, 2007],
    [4.001, 4001],
    [1.000000002, 1001],
    [1.0000000005, 1000],
  ])("takes a ttl of %d s as %d ms, rounded up", (ttl, milliseconds) => {
    expect(expiresAtOf({ ttl }, NOW)).toBe(NOW + milliseconds);
  });

  it("takes an expiration in Unix seconds with fractions", () => {
    expect(expiresAtOf({ expiration: 1_700_000_000.5 }, NOW)).toBe(NOW + 500);
    expect(expiresAtOf({ expiration: 1_700_000_000.0005 }, NOW)).toBe(NOW + 1);
    // 2150000000977.0002 ms, of which the last digit is noise: the larger the number, the more of it.
    expect(expiresAtOf({ expiration: 2_150_000_000.977 }, NOW)).toBe(2_150_000_000_977);
  });

  it("takes null as none", () => {
    expect(expiresAtOf({ ttl: null, expiration: null }, NOW)).toBeNull();
    expect(expiresAtOf({ ttl: null, expiration: 1_700_000_001 }, NOW)).toBe(NOW + 1000);
  });

  it.each([
    [{ ttl: 0 }, "ttl"],
    [{ ttl: -1 }, "ttl"],
    [{ ttl: 1e14 }, "ttl"],
    [{ expiration: 1_700_000_000 }, "expiration"],
    [{ expiration: 1e15 }, "expiration"],
    [{ ttl: 1, expiration: 1_700_000_001 }, "expiration"],
  ])("refuses %o and names the member", (expiry, path) => {
    expect(() => expiresAtOf(expiry, NOW)).toThrow(
      expect.objectContaining({ code: "invalid_request", issues: [expect.objectContaining({ path })] }),
    );
  });

  it("takes the year 275760", () => {
    expect(expiresAtOf({ expiration: 8_640_000_000_000 }, NOW)).toBe(8_640_000_000_000_000);
  });
});

describe("conditionHolds", () => {
  it.each([
    [undefined, null, true],
    [undefined, "a", true],
    [{ ifMatch: "*" }, null, false],
    [{ ifMatch: "*" }, "a", true],
    [{ ifMatch: ["a", "b"] }, "b", true],
    [{ ifMatch: ["a"] }, "b", false],
    [{ ifMatch: [] }, "b", false],
    [{ ifMatch: ["a"] }, null, false],
    [{ ifNoneMatch: "*" }, null, true],
    [{ ifNoneMatch: "*" }, "a", false],
    [{ ifNoneMatch: ["a"] }, "a", false],
    [{ ifNoneMatch: ["a"] }, "b", true],
    [{ ifNoneMatch: ["a"] }, null, true],
    [{ ifMatch: ["a"], ifNoneMatch: ["a"] }, "a", false],
    [{ ifMatch: ["a"], ifNoneMatch: ["b"] }, "a", true],
  ] as const)("%o against version %s: %s", (condition, version, holds) => {
    expect(conditionHolds(condition, version)).toBe(holds);
  });
});

describe("isUnchanged", () => {
  it("is a read whose If-None-Match has the version", () => {
    expect(isUnchanged(undefined, { version: "a" })).toBe(false);
    expect(isUnchanged({ ifNoneMatch: ["a"] }, { version: "a" })).toBe(true);
    expect(isUnchanged({ ifNoneMatch: "*" }, { version: "a" })).toBe(true);
    expect(isUnchanged({ ifNoneMatch: ["b"] }, { version: "a" })).toBe(false);
    expect(isUnchanged({ ifMatch: ["a"], ifNoneMatch: ["a"] }, { version: "a" })).toBe(true);
    expect(isUnchanged({ ifMatch: ["a"] }, { version: "a" })).toBe(false);
  });

  it("is refused where If-Match has not, whatever If-None-Match says", () => {
    for (const condition of [{ ifMatch: ["b"] }, { ifMatch: ["b"], ifNoneMatch: ["a"] }]) {
      expect(() => isUnchanged(condition, { version: "a" })).toThrow(
        expect.objectContaining({ code: "precondition_failed" }),
      );
    }
  });
});
