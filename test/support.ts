/** What the tests share: a service over real HTTP, and requests to it. */
import { type KvApp, type KvOptions, kv } from "../src/index.ts";
import { serve } from "../src/node.ts";
import { memoryStorage } from "../src/storage/memory.ts";
import { checkAnswer } from "./contract.ts";

export const KEY = "test-key-0123456789abcdef";

export interface TestService extends AsyncDisposable {
  app: KvApp;
  url: string;
  /** A request with the test's API key; a body that is not a string is sent as JSON. */
  call(method: string, path: string, options?: RequestOptions): Promise<Answer>;
}

export interface RequestOptions {
  body?: unknown;
  headers?: Record<string, string>;
  /** Whether the answer is held to the document of the default paths: `false` where the paths are others. */
  contract?: boolean;
}

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  /** The body parsed, `undefined` where there is none. */
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into answers of any shape
  json: any;
}

/** Serves `kv(options)` on a free port, in memory and with {@link KEY} unless the options say otherwise. */
export async function startService(options: KvOptions = {}): Promise<TestService> {
  const app = kv({
    auth: { apiKey: { apiKey: KEY } },
    runtime: { storage: memoryStorage() },
    logger: false,
    ...options,
  });
  const server = await serve(app, { port: 0 });
  return {
    app,
    url: server.url,
    call: (method, path, given) => request(server.url + path, method, given),
    [Symbol.asyncDispose]: () => server.close(),
  };
}

export async function request(
  url: string,
  method: string,
  { body, headers = {}, contract = true }: RequestOptions = {},
): Promise<Answer> {
  const response = await fetch(url, {
    method,
    headers: {
      Authorization: `Bearer ${KEY}`,
      ...(body !== undefined && { "Content-Type": "application/json" }),
      ...headers,
    },
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  if (contract) checkAnswer({ method, url, status: response.status, headers: response.headers, text });
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: text !== "" && /[/+]json\b/.test(response.headers.get("Content-Type") ?? "") ? JSON.parse(text) : undefined,
  };
}
