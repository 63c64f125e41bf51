/** What the attacks on authentication share: a service that is asked both ways, and tokens made by hand. */
import { createHmac } from "node:crypto";
import { once } from "node:events";
import type { Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import type { AuthOptions } from "../../src/auth/authenticate.ts";
import { kv } from "../../src/index.ts";
import { createHttpServer } from "../../src/node-http.ts";
import { memoryStorage } from "../../src/storage/memory.ts";
import { CLAIMS, START } from "../auth/support.ts";

/** What answers who is let in, as there is no such key, and who is not. */
export const IN = 404;
export const OUT = 401;

export const SECRET = "canary-secret-of-32-bytes-or-more-0123456789";

const GET = "GET /v1/kv/none";

export interface Target extends AsyncDisposable {
  /** What was logged as a warning. */
  warnings: string[];
  /**
   * How a request for a key with these header lines, Latin-1 as they go over the wire, is answered: by the server itself and
   * by the app. Throws where the two differ.
   */
  status(...lines: string[]): Promise<number>;
  /** {@link status} of a Bearer credential. */
  bearer(token: string): Promise<number>;
  /** The same of a request of another kind. */
  send(head: string, ...lines: string[]): Promise<number>;
  /** What the server answers a request for a key by itself, and what the app does. */
  both(...lines: string[]): Promise<(number | undefined)[]>;
}

interface TargetOptions {
  env?: Record<string, unknown>;
  clock?: { now: number };
}

/** One service behind two servers: one with the fast path, one that hands everything to the app. */
export async function startTarget(
  auth: AuthOptions,
  { env = {}, clock = { now: START } }: TargetOptions = {},
): Promise<Target> {
  const warnings: string[] = [];
  const app = kv({
    auth,
    getEnv: () => ({ ...env }),
    runtime: { storage: memoryStorage(), now: () => clock.now },
    logger: ({ level, message }) => void (level === "warn" && warnings.push(message)),
  });
  await app.ready();
  const servers = [createHttpServer(app), createHttpServer(app, { fast: false })];
  for (const server of servers) await once(server.listen(0, "127.0.0.1"), "listening");

  const ask = (head: string, lines: readonly string[]) => {
    const text = [`${head} HTTP/1.1`, "Host: kv.example", "Connection: close", ...lines, "", ""].join("\r\n");
    return Promise.all(servers.map((server) => exchange(server, text)));
  };
  const send: Target["send"] = async (head, ...lines) => {
    const [fast, slow] = await ask(head, lines);
    if (fast === slow && fast !== undefined) return fast;
    throw new Error(`The server answers ${fast}, the app ${slow}, to ${[head, ...lines].join("\n")}`);
  };
  const status: Target["status"] = (...lines) => send(GET, ...lines);
  return {
    warnings,
    send,
    status,
    both: (...lines) => ask(GET, lines),
    bearer: (token) => status(`Authorization: Bearer ${token}`),
    async [Symbol.asyncDispose]() {
      for (const server of servers) server.close().closeAllConnections();
      await app.close();
    },
  };
}

async function exchange(server: Server, text: string): Promise<number> {
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  socket.write(Buffer.from(text, "latin1"));
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Number(/^HTTP\/1\.1 (\d{3}) /.exec(Buffer.concat(chunks).toString("latin1"))?.[1]);
}

/** The statuses of tokens, each by the name of its attack. */
export async function verdicts(target: Target, tokens: Readonly<Record<string, string>>) {
  const found: Record<string, number> = {};
  for (const [name, token] of Object.entries(tokens)) found[name] = await target.bearer(token);
  return found;
}

/** The same verdict for each of the tokens. */
export const each = (tokens: object, verdict: number) =>
  Object.fromEntries(Object.keys(tokens).map((name) => [name, verdict]));

type Part = object | string;
/** A part of a token: a text goes in as it is, so that it may say what no object can. */
export const part = (given: Part) =>
  Buffer.from(typeof given === "string" ? given : JSON.stringify(given)).toString("base64url");

/** A token of any header and claims, signed with HMAC and SHA-256 whatever its header says. */
export function hmacToken(header: Part = {}, claims: Part = CLAIMS, secret: string | Uint8Array = SECRET): string {
  const input = `${part(typeof header === "string" ? header : { alg: "HS256", ...header })}.${part(claims)}`;
  return `${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`;
}
