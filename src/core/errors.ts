/** Every code that an answer can carry, with its HTTP status and title: the one table of the service and its client. */
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
  rate_limited: [429, "Too many requests"],
  headers_too_large: [431, "Headers too large"],
  internal: [500, "Internal error"],
  unsupported: [501, "Unsupported by this storage engine"],
  unavailable: [503, "Unavailable"],
  storage_full: [507, "Storage full"],
} as const;

/** A stable code: it is API and never changes inside v1. */
export type KvErrorCode = keyof typeof TABLE;

/** One fault of a request: `path` leads to it (`operations.3.key`, empty for the body as a whole). */
export interface KvIssue {
  path: string;
  message: string;
}

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
}

/** A condition met at run time, with a stable `code`. Its `detail` is for people and may be sent to the caller. */
export class KvError extends Error {
  override readonly name = "KvError";
  readonly code: KvErrorCode;
  readonly issues: readonly KvIssue[] | undefined;
  readonly failed: readonly number[] | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: KvErrorCode, detail: string, init: KvErrorInit = {}) {
    super(detail, "cause" in init ? { cause: init.cause } : undefined);
    this.code = code;
    this.issues = init.issues;
    this.failed = init.failed;
    this.headers = init.headers ?? {};
  }

  /** The HTTP status of the code. */
  get status(): number {
    return TABLE[this.code][0];
  }

  /** The code in words (RFC 9457 `title`). */
  get title(): string {
    return TABLE[this.code][1];
  }
}

/** Every code, in the order of its status. */
export const KV_ERROR_CODES = Object.keys(TABLE) as readonly KvErrorCode[];

/** The HTTP status of a code. */
export function statusOf(code: KvErrorCode): number {
  return TABLE[code][0];
}

/** Whether a string, for example from another service's answer, is one of our codes. */
export function isKvErrorCode(code: unknown): code is KvErrorCode {
  return typeof code === "string" && Object.hasOwn(TABLE, code);
}
