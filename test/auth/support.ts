/** What the tests of authentication share: a guarded service, an identity provider and its keys, forged tokens. */
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from "jose";
import { vi } from "vitest";
import type { AuthOptions } from "../../src/auth/authenticate.ts";
import type { Principal } from "../../src/auth/principal.ts";
import { memoryStorage } from "../../src/storage/memory.ts";
import { type Answer, startService } from "../support.ts";

/** Far from the real time, so that a look at another clock is seen. */
export const START = Date.UTC(2040, 0, 1);
export const SECOND = 1000;
/** How long a callback may take. */
const CALLBACK_MS = 5000;

export interface GuardedOptions {
  env?: Record<string, unknown>;
  clock?: { now: number };
}

export interface Guarded extends AsyncDisposable {
  url: string;
  /** What was logged as a warning. */
  warnings: string[];
  /** Asks with these headers and no other credential, for the list of keys unless for another path. */
  get(headers: Record<string, string>, path?: string): Promise<Answer>;
  send(method: string, path: string, headers: Record<string, string>, body?: unknown): Promise<Answer>;
  /** The status of the answer to this `Authorization`. */
  status(authorization: string): Promise<number>;
}

/** Serves what `auth` guards over HTTP; the variables are those of `env` alone, as they are at the time. */
export async function startGuarded(
  auth: AuthOptions,
  { env = {}, clock = { now: START } }: GuardedOptions = {},
): Promise<Guarded> {
  const warnings: string[] = [];
  const service = await startService({
    auth,
    getEnv: () => ({ ...env }),
    runtime: { storage: memoryStorage(), now: () => clock.now },
    logger: ({ level, message }) => {
      if (level === "warn") warnings.push(message);
    },
  });
  const send: Guarded["send"] = (method, path, headers, body) =>
    service.call(method, path, { headers: { Authorization: "", ...headers }, ...(body !== undefined && { body }) });
  const get: Guarded["get"] = (headers, path = "/v1/kv") => send("GET", path, headers);
  return {
    url: service.url,
    warnings,
    get,
    send,
    status: async (Authorization) => (await get({ Authorization })).status,
    [Symbol.asyncDispose]: () => service[Symbol.asyncDispose](),
  };
}

/** {@link startGuarded}, with an `authenticateRequest` that notes who calls and changes nothing. */
export async function startWatched(
  auth: AuthOptions,
  options?: GuardedOptions,
): Promise<Guarded & { callers: (Principal | null)[] }> {
  const callers: (Principal | null)[] = [];
  const authenticateRequest = (_request: Request, principal: Principal | null) => {
    callers.push(principal);
    return principal;
  };
  return { ...(await startGuarded({ ...auth, authenticateRequest }, options)), callers };
}

/** What a promise is rejected with, or `null` where it is not; what it holds is disposed of. */
export async function refusalOf(started: Promise<AsyncDisposable>): Promise<Error | null> {
  try {
    await (await started)[Symbol.asyncDispose]();
    return null;
  } catch (error) {
    return error as Error;
  }
}

export const basicOf = (username: string, password: string) =>
  `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;

/** Claims that hold at {@link START}. */
export const CLAIMS = { sub: "ada", exp: START / SECOND + 60 } as const;

type Header = Record<string, unknown>;

/** A pair of keys of an identity provider: the public one as it is published, the private one to sign with. */
export interface SigningKey {
  jwk: JWK;
  bearer(claims?: JWTPayload, header?: Header): Promise<string>;
}

/** Makes a key pair; without a `kid` its tokens name no key. */
export async function signingKey(alg: string, kid?: string): Promise<SigningKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const named = kid === undefined ? {} : { kid };
  // As a JWK, so that one RSA key signs by each of its algorithms.
  const secret = await exportJWK(privateKey);
  return {
    jwk: { ...(await exportJWK(publicKey)), ...named },
    async bearer(claims = CLAIMS, header = {}) {
      return `Bearer ${await new SignJWT(claims).setProtectedHeader({ alg, ...named, ...header }).sign(secret)}`;
    },
  };
}

/** A token signed with a secret. */
export async function secretBearer(
  secret: string | Uint8Array,
  claims: JWTPayload = CLAIMS,
  header: Header = {},
): Promise<string> {
  const key = typeof secret === "string" ? new TextEncoder().encode(secret) : secret;
  return `Bearer ${await new SignJWT(claims).setProtectedHeader({ alg: "HS256", ...header }).sign(key)}`;
}

/** A token of any header, claims and signature, as no library would make it; its input is signed by `sign`. */
export function forgedBearer(header: Header, claims: unknown = CLAIMS, sign: (input: string) => string = () => "AAAA") {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const input = `${part(header)}.${part(claims)}`;
  return `Bearer ${input}.${sign(input)}`;
}

/** The answer to a request whose callback never returns: it comes when the callback's time has passed, not before. */
export async function answerLate(auth: (hang: () => Promise<never>) => AuthOptions, authorization: string) {
  const called = Promise.withResolvers<void>();
  const hang = () => {
    called.resolve();
    return new Promise<never>(() => {});
  };
  await using service = await startGuarded(auth(hang));
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    let status: number | undefined;
    const answer = service.status(authorization).then((given) => {
      status = given;
    });
    await called.promise;
    await vi.advanceTimersByTimeAsync(CALLBACK_MS - 1);
    // Another request takes the same way through the server: an answer would have come by now.
    await fetch(`${service.url}/health`);
    if (status !== undefined) throw new Error(`answered ${status} too early`);
    await vi.advanceTimersByTimeAsync(1);
    await answer;
    return { status, warnings: service.warnings };
  } finally {
    vi.useRealTimers();
  }
}

export interface Idp extends AsyncDisposable {
  url: string;
  /** The paths that were asked for. */
  hits: string[];
  /** What it publishes. */
  keys: JWK[];
  /** Answers in place of the keys, while it is set. */
  answer: RequestListener | null;
}

/** An identity provider: a real server on this machine that publishes keys and can be made to fail. */
export async function startIdp(...keys: JWK[]): Promise<Idp> {
  const server = createServer((request, response) => {
    idp.hits.push(request.url ?? "");
    if (idp.answer !== null) return idp.answer(request, response);
    response.setHeader("Content-Type", "application/json").end(JSON.stringify({ keys: idp.keys }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const idp: Idp = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`,
    hits: [],
    keys,
    answer: null,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
  return idp;
}

/** Ends the connection without an answer, as a provider that is away does. */
export const away: RequestListener = (request) => request.socket.destroy();
