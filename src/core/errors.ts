import { ISSUES_MAX } from "./limits.ts";

/** Every code that an answer can carry, with its HTTP status: the one table of the service and its client. */
const STATUS = {
  invalid_request: 400,
  invalid_key: 400,
  invalid_value: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  no_such_route: 404,
  method_not_allowed: 405,
  request_timeout: 408,
  precondition_failed: 412,
  too_large: 413,
  unsupported_media_type: 415,
  rate_limited: 429,
  headers_too_large: 431,
  internal: 500,
  unsupported: 501,
  unavailable: 503,
  storage_full: 507,
} as const;

/** A stable code: it is API and never changes inside v1. */
export type KvErrorCode = keyof typeof STATUS;

/** One fault of a request: `path` leads to it (`operations.3.key`, empty for the body as a whole). */
export interface KvIssue {
  path: string;
  message: string;
}

/** What can refuse a request: an address that may not call, a rate by address or principal, guessing, bodies at once. */
export type MeteredLimit = "ip" | "address" | "principal" | "guessing" | "bytes";

/** What a {@link KvError} carries besides its code and detail. */
export interface KvErrorInit {
  /** Why it happened, for logs only: it is never sent. */
  cause?: unknown;
  /** The faults of an `invalid_request`, one each. */
  issues?: readonly KvIssue[];
  /** The indexes of the operations whose condition did not hold. */
  failed?: readonly number[];
  /** Header fields that the answer must carry, for example `Allow`. */
  headers?: Readonly<Record<string, string>>;
  /** The limit that refused the request, for metrics only. */
  limit?: MeteredLimit;
}

/** A condition met at run time, with a stable `code`. Its `detail` is for people and may be sent to the caller. */
export class KvError extends Error {
  override readonly name = "KvError";
  declare readonly code: KvErrorCode;
  declare readonly issues: readonly KvIssue[] | undefined;
  declare readonly failed: readonly number[] | undefined;
  declare readonly headers: Readonly<Record<string, string>>;
  declare readonly limit: MeteredLimit | undefined;

  constructor(code: KvErrorCode, detail: string, init: KvErrorInit = {}) {
    super(detail, init);
    this.code = code;
    this.issues = init.issues;
    this.failed = init.failed;
    this.headers = init.headers ?? {};
    this.limit = init.limit;
  }

  /** The HTTP status of the code. */
  get status(): number {
    return STATUS[this.code];
  }

  /** The code in words (RFC 9457 `title`). */
  get title(): string {
    return titleOf(this.code);
  }
}

/** What was caught where it was thrown on purpose; anything else is thrown on. */
export function onPurpose(error: unknown): KvError {
  if (error instanceof KvError) return error;
  throw error;
}

/** An error with its faults, the first of very many, which make its detail. */
export function faulty(code: KvErrorCode, all: readonly KvIssue[]): KvError {
  const issues = all.slice(0, ISSUES_MAX);
  const detail = issues.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`)).join("; ");
  return new KvError(code, detail, { issues });
}

/** An `invalid_request` with one fault. */
export function invalid(path: string, message: string): KvError {
  return faulty("invalid_request", [{ path, message }]);
}

/** Every code, in the order of its status. */
export const KV_ERROR_CODES = Object.keys(STATUS) as readonly KvErrorCode[];

/** The HTTP status of a code. */
export function statusOf(code: KvErrorCode): number {
  return STATUS[code];
}

/** A code in words: `not_found` is "Not found". */
export function titleOf(code: KvErrorCode): string {
  return code[0]?.toUpperCase() + code.slice(1).replaceAll("_", " ");
}

/** Whether a string, for example from another service's answer, is one of our codes. */
export function isKvErrorCode(code: unknown): code is KvErrorCode {
  return typeof code === "string" && Object.hasOwn(STATUS, code);
}
