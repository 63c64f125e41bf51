import type { JSONWebKeySet, JWTVerifyGetKey } from "jose";
import type { Warn } from "../core/env.ts";
import { KvError } from "../core/errors.ts";

export interface RemoteJwksOptions {
  url: string;
  /** How long a set is good for, in seconds. */
  cacheTtl: number;
  /** Epoch milliseconds. */
  now(): number;
  warn: Warn;
}

/** How long to wait before asking again, for a key that is not in the set or after a failure. */
const COOLDOWN_MS = 30_000;
const FETCH_MS = 5000;
/** A larger answer is no set of keys. */
const MAX_BYTES = 1_048_576;

/** A URL that a set of keys may come from: https, or http on this machine. Throws a `TypeError` without quoting it. */
export function checkJwksUrl(url: string, where: string): void {
  const { protocol, hostname } = URL.canParse(url) ? new URL(url) : { protocol: "", hostname: "" };
  const loopback = hostname === "localhost" || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
  if (protocol === "https:" || (protocol === "http:" && loopback)) return;
  throw new TypeError(`${where}: expected an https URL (http is for this machine only)`);
}

/**
 * The keys of an identity provider (RFC 7517), fetched when first needed and again once they are `cacheTtl` old or a token
 * names a key that is not among them, one request at a time. Where that fails the old ones serve on. Rejects with
 * `unavailable` where there are none yet.
 */
export function remoteJwks({ url, cacheTtl, now, warn }: RemoteJwksOptions): JWTVerifyGetKey {
  let keys: JWTVerifyGetKey | null = null;
  let fetchedAt = -Infinity;
  let triedAt = -Infinity;
  let fetching: Promise<void> | null = null;

  async function refresh(): Promise<void> {
    triedAt = now();
    try {
      const { createLocalJWKSet } = await import("jose/jwks/local");
      keys = createLocalJWKSet(await fetchSet(url));
      fetchedAt = now();
    } catch (error) {
      const serving = keys === null ? "there are none yet" : "the old ones serve on";
      warn(`The keys that verify JWTs (JWKS) cannot be fetched, ${serving}: ${(error as Error).message}`);
    }
  }

  async function refreshOnce(): Promise<void> {
    if (fetching === null && now() - triedAt < COOLDOWN_MS) return;
    fetching ??= refresh().finally(() => {
      fetching = null;
    });
    await fetching;
  }

  return async (header, token) => {
    if (keys === null || now() - fetchedAt >= cacheTtl * 1000) await refreshOnce();
    if (keys === null) throw new KvError("unavailable", "The keys that verify JWTs cannot be had at the moment");
    try {
      return await keys(header, token);
    } catch (error) {
      if ((error as { code?: unknown }).code !== "ERR_JWKS_NO_MATCHING_KEY") throw error;
      await refreshOnce();
      return await keys(header, token);
    }
  };
}

async function fetchSet(url: string): Promise<JSONWebKeySet> {
  const response = await fetch(url, { redirect: "error", signal: AbortSignal.timeout(FETCH_MS) });
  if (!response.ok) throw new Error(`the identity provider answered ${response.status}`);
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > MAX_BYTES) throw new Error(`the identity provider sent more than ${MAX_BYTES} bytes`);
  }
  return JSON.parse(text);
}
