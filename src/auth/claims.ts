/** What the claims of a JWT, once its signature holds, mean here. */
import { SCOPES, type Scope } from "./principal.ts";

/** The payload of a JWT: whatever the issuer put there. */
export interface Claims {
  [name: string]: unknown;
  iss?: string;
  sub?: string;
  aud?: string | string[];
  exp?: number;
  nbf?: number;
  iat?: number;
  jti?: string;
}

/** What claims are held to. */
export interface ClaimChecks {
  issuer: readonly string[] | undefined;
  audience: readonly string[] | undefined;
}

const CLOCK_SKEW_SECONDS = 5;

/** RFC 7519, section 4.1: `exp` must be there, `nbf`, `iss` and `aud` must hold where they are or are asked for. */
export function claimsHold(claims: Claims, { issuer, audience }: ClaimChecks, seconds: number): boolean {
  const { exp, nbf = seconds, iss, aud } = Object(claims) as Claims;
  return (
    Number.isFinite(exp) &&
    (exp as number) > seconds - CLOCK_SKEW_SECONDS &&
    Number.isFinite(nbf) &&
    nbf <= seconds + CLOCK_SKEW_SECONDS &&
    (issuer === undefined || issuer.includes(iss as string)) &&
    (audience === undefined || [aud ?? []].flat().some((name) => audience.includes(name)))
  );
}

/**
 * What the `scope` claim (RFC 8693, section 4.2) allows: the most of ours that it has, everything where it has none, and
 * `null` where it is no text or list of texts, or means one of ours and does not hit it, such as `kv:raed`.
 */
export function scopeOf({ scope = "" }: Claims): Scope | null {
  const texts = [scope].flat();
  if (texts.some((text) => typeof text !== "string")) return null;
  const text = texts.join(" ");
  const found = SCOPES.findLast((name) => text.split(" ").includes(`kv:${name}`));
  return found ?? (/kv:/i.test(text) ? null : "admin");
}
