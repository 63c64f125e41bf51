/** Signed requests to DynamoDB's JSON API: how long they may take, which are sent again, and what their errors mean. */

import { LATE, within } from "../core/within.ts";
import type { Awaitable } from "./adapter.ts";
import { missingDriver } from "./driver.ts";
import { unavailable } from "./failures.ts";

export interface AwsCredentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string | undefined;
}

/** What is used of an `AwsClient` of aws4fetch: its signature, not its `fetch`, which would try again for half a minute. */
export interface AwsClientLike {
  sign(url: string, init: SignedInit): Promise<{ headers: Headers }>;
}

export interface SignedInit {
  method: string;
  headers: Record<string, string>;
  body: string;
}

/** What DynamoDB answered; `refusal` names the exception where it is one that the caller expected. */
export interface Answer<T> {
  refusal: string | null;
  message: string;
  body: Partial<T>;
}

/**
 * Asks for an action. Throws `unavailable` for every exception that is not expected, and an `Error` for those that only a
 * fault of ours can bring about.
 */
export type Send = <T>(action: string, input: object, expected?: readonly string[]) => Promise<Answer<T>>;

const REQUEST_MS = 4000;
const RETRIES = 6;

/** Nothing was done, and the same may be sent again. */
const THROTTLED =
  /^(ProvisionedThroughputExceeded|Throttling|RequestLimitExceeded|RequestThrottled|TransactionConflict)/;
/** What only a wrong request of ours is answered with. */
const FAULT = /^(Validation|Serialization|UnknownOperation)/;
const READ = /^(Get|BatchGet|TransactGet|Query|Describe)/;
/** Codes of a `fetch` that never reached anybody. */
const NOT_SENT = /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT)$/;

/** `client` gives what signs the next request. */
export function sender(endpoint: string, client: () => Promise<AwsClientLike>): Send {
  async function ask(action: string, body: string): Promise<{ status: number; body: Record<string, unknown> }> {
    const headers = { "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": `DynamoDB_20120810.${action}` };
    const init: SignedInit = { method: "POST", headers, body };
    const signer = await client();
    let sent = false;
    try {
      const signed = await signer.sign(endpoint, init);
      const signal = AbortSignal.timeout(REQUEST_MS);
      sent = true;
      const response = await fetch(endpoint, { ...init, headers: signed.headers, signal });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    } catch (error) {
      const { code } = ((error as Error).cause ?? {}) as { code?: unknown };
      throw unavailable(error, sent && !READ.test(action) && !NOT_SENT.test(String(code)));
    }
  }

  return async <T>(action: string, input: object, expected: readonly string[] = []) => {
    const text = JSON.stringify(input);
    for (let attempt = 0; ; attempt++) {
      const { status, body } = await ask(action, text);
      if (status === 200) return { refusal: null, message: "", body: body as Partial<T> };
      const type = String(body.__type ?? status).replace(/^.*#/, "");
      // A line, because the rest of what is said of a wrong signature holds the session token.
      const message = String(body.message ?? body.Message ?? "").split("\n", 1)[0] as string;
      if (expected.includes(type)) return { refusal: type, message, body: body as Partial<T> };
      const again = THROTTLED.test(type) || (status >= 500 && READ.test(action));
      if (again && attempt < RETRIES) {
        await backoff(attempt);
        continue;
      }
      const cause = new Error(`DynamoDB refused ${action}: ${type}: ${message}`);
      throw FAULT.test(type) ? cause : unavailable(cause, status >= 500 && !READ.test(action));
    }
  };
}

/** Clients with the credentials, or with what a function says that they are at the moment. */
export function clientsFor(
  credentials: AwsCredentials | (() => Awaitable<AwsCredentials>),
  region: string,
): () => Promise<AwsClientLike> {
  const cache = new Map<string, ArrayBuffer>();
  let driver: Promise<typeof import("aws4fetch")> | undefined;
  return async () => {
    driver ??= import("aws4fetch").catch(missingDriver("aws4fetch"));
    const { AwsClient } = await driver;
    const given = typeof credentials === "function" ? await current(credentials) : credentials;
    const { accessKeyId, secretAccessKey, sessionToken } = given;
    const client = { accessKeyId, secretAccessKey, region, service: "dynamodb", cache };
    return new AwsClient({ ...client, ...(sessionToken && { sessionToken }) });
  };
}

async function current(credentials: () => Awaitable<AwsCredentials>): Promise<AwsCredentials> {
  try {
    const given = await within(REQUEST_MS, credentials());
    if (given !== LATE) return given;
  } catch (error) {
    throw unavailable(error);
  }
  throw unavailable(new Error("The credentials took too long"));
}

/** Waits before the next attempt: longer each time, up to half a second, and never as long as others do. */
export function backoff(attempt: number): Promise<void> {
  const longest = Math.min(25 * 2 ** attempt, 500);
  return new Promise((resolve) => setTimeout(resolve, longest * (0.5 + Math.random() / 2)));
}

/** How often what DynamoDB left undone is asked for again. */
export const ATTEMPTS = RETRIES + 1;
