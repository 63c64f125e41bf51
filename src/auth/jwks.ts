import type { Warn } from "../core/env.ts";
import { KvError } from "../core/errors.ts";
import { within } from "../core/within.ts";
import type { JwsHeader } from "./jws.ts";

export interface RemoteJwksOptions {
  url: string;
  /** How long a set is good for, in seconds. */
  cacheTtl: number;
  /** Epoch milliseconds. */
  now(): number;
  warn: Warn;
}

/** How long to wait before asking again, for a key that is not in the set or after a failure; `cacheTtl` at most. */
const COOLDOWN_MS = 30_000;
const FETCH_MS = 5000;
/** How many keys are tried for a token that names none. */
const CANDIDATES = 8;
/** A larger answer is no set of keys. */
const MAX_BYTES = 1_048_576;

/** A URL that a set of keys may come from: https, or http on this machine. Throws a `TypeError` without quoting it. */
export function checkJwksUrl(url: string, where: string): void {
  const { protocol, hostname, username, password } = new URL(URL.canParse(url) ? url : "invalid:");
  const loopback = /^(localhost|\[::1\]|127(\.\d+){3})$/.test(hostname);
  // fetch refuses a URL with a password, in a message that quotes it.
  const open = username + password === "";
  if (open && (protocol === "https:" || (protocol === "http:" && loopback))) return;
  throw new TypeError(`${where}: expected an https URL without a password (http is for this machine only)`);
}

/** As the provider has it (RFC 7517). */
export type PublicKey = JsonWebKey & { kid?: unknown };

/** The keys that may have signed what has this header. */
export type KeysOf = (header: JwsHeader) => Promise<PublicKey[]>;

export interface RemoteJwks {
  keysOf: KeysOf;
  /** The set of keys that is good now; `undefined` where it is to be fetched first. */
  current(): unknown;
}

/**
 * The keys of an identity provider (RFC 7517), fetched when first needed and again once they are `cacheTtl` old or a token
 * names a key that is not among them, one request at a time. Where that fails the old ones serve on. Rejects with
 * `unavailable` where there are none yet.
 */
export function remoteJwks({ url, cacheTtl, now, warn }: RemoteJwksOptions): RemoteJwks {
  let keys: PublicKey[] | null = null;
  let fetchedAt = -Infinity;
  let triedAt = -Infinity;
  let fetching: Promise<void> | null = null;
  const cooldown = Math.min(COOLDOWN_MS, cacheTtl * 1000);

  async function refresh(): Promise<void> {
    triedAt = now();
    try {
      keys = await fetchKeys(url);
      fetchedAt = now();
    } catch (error) {
      const serving = keys === null ? "there are none yet" : "the old ones serve on";
      warn(`The keys that verify JWTs cannot be fetched, ${serving}: ${(error as Error).message}`);
    }
  }

  async function refreshOnce(): Promise<void> {
    const age = now() - triedAt;
    // One that has not ended by then never will: the request that began it is gone, on Workers with its fetch.
    if (age >= COOLDOWN_MS) fetching = null;
    if (fetching === null && age < cooldown) return;
    fetching ??= refresh().finally(() => {
      fetching = null;
    });
    await within(2 * FETCH_MS, fetching);
  }

  const isOld = () => now() - fetchedAt >= cacheTtl * 1000;

  async function keysOf(header: JwsHeader): Promise<PublicKey[]> {
    if (isOld()) await refreshOnce();
    if (keys === null) {
      const headers = { "Retry-After": `${COOLDOWN_MS / 1000}` };
      throw new KvError("unavailable", "The keys that verify JWTs cannot be fetched", { headers });
    }
    const found = candidates(keys, header);
    if (found.length > 0) return found;
    await refreshOnce();
    return candidates(keys, header);
  }

  return { keysOf, current: () => (isOld() ? undefined : keys) };
}

/** Those that the header names, or where it names none those that its algorithm can use. */
function candidates(keys: readonly PublicKey[], { alg, kid }: JwsHeader): PublicKey[] {
  const type = alg.startsWith("ES") ? "EC" : alg.startsWith("Ed") ? "OKP" : "RSA";
  const fits = (key: PublicKey) =>
    key.kty === type && (kid ?? key.kid) === key.kid && (key.alg ?? alg) === alg && (key.use ?? "sig") === "sig";
  return keys.filter(fits).slice(0, CANDIDATES);
}

async function fetchKeys(url: string): Promise<PublicKey[]> {
  // A redirect is refused as no answer; "error" is unknown to Workers.
  const response = await fetch(url, { redirect: "manual", signal: AbortSignal.timeout(FETCH_MS) });
  if (!response.ok) throw new Error(`the identity provider answered ${response.status}`);
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > MAX_BYTES) throw new Error(`the identity provider sent more than ${MAX_BYTES} bytes`);
  }
  const { keys } = Object(JSON.parse(text)) as { keys?: unknown };
  if (!Array.isArray(keys)) throw new Error("the identity provider sent no set of keys");
  return keys.filter((key) => typeof key === "object" && key !== null);
}
