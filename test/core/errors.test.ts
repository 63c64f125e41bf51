import { describe, expect, it } from "vitest";
import {
  faulty,
  invalid,
  isKvErrorCode,
  KV_ERROR_CODES,
  KvError,
  onPurpose,
  statusOf,
  titleOf,
} from "../../src/core/errors.ts";

describe("a KvError", () => {
  it("carries a code with its status and title, a detail, and what it is given", () => {
    const cause = new Error("why");
    const init = { cause, issues: [{ path: "a", message: "b" }], failed: [1], headers: { Allow: "GET" } };
    const error = new KvError("method_not_allowed", "Expected GET", init);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: "KvError", code: "method_not_allowed", message: "Expected GET", ...init });
    expect([error.status, error.title]).toEqual([405, "Method not allowed"]);
  });

  it("has no headers, issues or failed operations of its own", () => {
    const { headers, issues, failed, cause } = new KvError("internal", "No");
    expect({ headers, issues, failed, cause }).toEqual({ headers: {} });
  });
});

describe("every code", () => {
  // The table of docs/http-api.md: it is API.
  const TABLE = {
    invalid_request: [400, "Invalid request"],
    invalid_key: [400, "Invalid key"],
    invalid_value: [400, "Invalid value"],
    unauthorized: [401, "Unauthorized"],
    forbidden: [403, "Forbidden"],
    not_found: [404, "Not found"],
    no_such_route: [404, "No such route"],
    method_not_allowed: [405, "Method not allowed"],
    request_timeout: [408, "Request timeout"],
    precondition_failed: [412, "Precondition failed"],
    too_large: [413, "Too large"],
    unsupported_media_type: [415, "Unsupported media type"],
    rate_limited: [429, "Rate limited"],
    headers_too_large: [431, "Headers too large"],
    internal: [500, "Internal"],
    unsupported: [501, "Unsupported"],
    unavailable: [503, "Unavailable"],
    storage_full: [507, "Storage full"],
  };

  it("has its status and its words", () => {
    expect(Object.fromEntries(KV_ERROR_CODES.map((code) => [code, [statusOf(code), titleOf(code)]]))).toEqual(TABLE);
    expect([...KV_ERROR_CODES]).toEqual(Object.keys(TABLE));
  });

  it("is told from other text, and from what every object has", () => {
    expect(KV_ERROR_CODES.every(isKvErrorCode)).toBe(true);
    for (const other of ["", "toString", "Not found", undefined, null, 404, ["not_found"]])
      expect(isKvErrorCode(other)).toBe(false);
  });
});

describe("faults", () => {
  it("make the detail, each with its path where it has one", () => {
    const issues = [
      { path: "a.0", message: "Missing" },
      { path: "", message: "Expected an object" },
    ];
    const error = faulty("invalid_value", issues);
    expect(error).toMatchObject({ code: "invalid_value", issues, message: "a.0: Missing; Expected an object" });
  });

  it("that are one are an invalid_request", () => {
    const issues = [{ path: "ttl", message: "No" }];
    expect(invalid("ttl", "No")).toMatchObject({ code: "invalid_request", issues, message: "ttl: No" });
  });
});

it("what was thrown on purpose is told from all else, which is thrown on", () => {
  const error = new KvError("not_found", "No");
  expect(onPurpose(error)).toBe(error);
  const other = new TypeError("A fault of ours");
  expect(() => onPurpose(other)).toThrow(other);
});
