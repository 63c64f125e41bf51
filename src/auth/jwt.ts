import { encoder } from "../core/bytes.ts";
import type { Env } from "../core/env.ts";
import { credentialsOf } from "./authorization.ts";
import { type Claims, claimsHold, scopeOf } from "./claims.ts";
import { checkJwksUrl, remoteJwks } from "./jwks.ts";
import { type JwsHeader, type VerificationKey, verifiedJws } from "./jws.ts";
import type { Principal } from "./principal.ts";
import {
  type AuthStrategy,
  ask,
  type GetCredentials,
  principalOf,
  type StrategyContext,
  setting,
  type VerifyCredentials,
} from "./strategy.ts";

export interface JwtOptions {
  /** Verifies HS256, HS384 and HS512; at least 32 bytes. */
  secret?: string | undefined;
  /** Where the identity provider has its keys, and for how many seconds they are good (86,400); excludes `secret`. */
  jwks?: { url?: string | undefined; cacheTtl?: number | undefined } | undefined;
  /** What `iss` must be, where given. */
  issuer?: string | readonly string[] | undefined;
  /** What `aud` must have, where given. */
  audience?: string | readonly string[] | undefined;
  env?:
    | {
        /** The variable with the JWKS URL; `"KV_JWKS_URL"`. */
        jwksUrl?: string | undefined;
        /** The variable with the fixed secret; `"KV_JWT_SECRET"`. */
        secret?: string | undefined;
        /** The variable with the issuer; `"KV_JWT_ISSUER"`. */
        issuer?: string | undefined;
        /** The variable with the audience; `"KV_JWT_AUDIENCE"`. */
        audience?: string | undefined;
      }
    | undefined;
  /** Where a request has its token; `Authorization: Bearer` by default. */
  getCredentials?: GetCredentials<string> | undefined;
  /** Asked about the claims of a token that is verified. */
  verifyCredentials?: VerifyCredentials<Claims> | undefined;
}

const HMAC = "HS256 HS384 HS512".split(" ");
const PUBLIC_KEY = "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519".split(" ");
/** RFC 7518, section 3.2: a key is at least as long as the digest of HS256. */
const SECRET_BYTES = 32;
const CACHE_TTL_SECONDS = 86_400;
/** What says that it is something else, a logout token for example, gives no access (RFC 8725, section 3.11). */
const TYPE = /^(application\/)?((at\+)?jwt|jose)$/i;
/** Claims that are not encoded (`b64`; RFC 7797, section 7) are none either: an object has other characters. */
const JWS = /^[\w-]+\.[\w-]+\.[\w-]+$/;

interface Verifier {
  current(): unknown;
  keysOf(header: JwsHeader): Promise<readonly VerificationKey[]>;
  algorithms: string[];
}

/**
 * Lets in who sends a JWT that the secret or the identity provider's keys verify (RFC 7519, RFC 8725); `null` where neither
 * is configured. `exp` is required; `nbf`, `iss` and `aud` are checked where they are given. Throws a `TypeError` that names
 * the variable on a short secret, on an URL that is not https, and where both are given.
 */
export function jwt(options: JwtOptions, context: StrategyContext): AuthStrategy | null {
  const { env, warn, now } = context;
  const { getCredentials = (request: Request) => credentialsOf(request, "bearer"), verifyCredentials } = options;
  const verifier = verifierOf(options, context);
  if (verifier === null) return null;
  const { issuer: issuerVariable = "KV_JWT_ISSUER", audience: audienceVariable = "KV_JWT_AUDIENCE" } =
    options.env ?? {};
  const expected = (given: string | readonly string[] | undefined, name: string) => {
    const value = given ?? expectedClaim(env, name);
    return value === undefined ? value : [value].flat();
  };
  const checks = {
    issuer: expected(options.issuer, issuerVariable),
    audience: expected(options.audience, audienceVariable),
  };

  return {
    name: "jwt",
    challenge: 'Bearer realm="kv"',
    basis: verifier.current,
    async verify(request, requestEnv) {
      const token = await ask("auth.jwt.getCredentials", warn, getCredentials, request, requestEnv);
      if (typeof token !== "string" || !JWS.test(token)) return null;
      const claims = await signedClaims(token, verifier);
      if (claims === null || !claimsHold(claims, checks, now() / 1000)) return null;
      const scope = scopeOf(claims);
      if (scope === null) return null;
      const principal: Principal = {
        id: typeof claims.sub === "string" ? claims.sub : "jwt",
        strategy: "jwt",
        scope,
        claims,
      };
      if (verifyCredentials === undefined) return principal;
      const verdict = await ask("auth.jwt.verifyCredentials", warn, verifyCredentials, claims, requestEnv);
      return principalOf(verdict, principal);
    },
  };
}

/** What a claim must be. An empty one would switch the check off unseen. */
function expectedClaim(env: Env, name: string): string | undefined {
  const value = env[name];
  if (value === undefined || (typeof value === "string" && value.trim() !== "")) return value;
  throw new TypeError(`${name}: expected a non-empty string; unset it where any will do`);
}

/** Throws a `TypeError` that names the option where what is given in code cannot be. */
export function checkJwtOptions({ secret, jwks }: JwtOptions): void {
  if (secret?.trim()) {
    if (jwks !== undefined) throw bothGiven("auth.jwt.secret", "auth.jwt.jwks");
    checkSecret(secret, "auth.jwt.secret");
  }
  if (jwks?.url !== undefined) checkJwksUrl(jwks.url, "auth.jwt.jwks.url");
}

function verifierOf(options: JwtOptions, context: StrategyContext): Verifier | null {
  const { secret: secretVariable = "KV_JWT_SECRET", jwksUrl: urlVariable = "KV_JWKS_URL" } = options.env ?? {};
  const secret = setting(context, options.secret, "auth.jwt.secret", secretVariable);
  const jwks = setting(context, options.jwks?.url, "auth.jwt.jwks.url", urlVariable);
  if (secret.value !== undefined) {
    if (jwks.value !== undefined) throw bothGiven(secret.source, jwks.source);
    const key = checkSecret(secret.value, secret.source);
    return { keysOf: async () => [key], current: () => key, algorithms: HMAC };
  }
  if (jwks.value === undefined) return null;
  checkJwksUrl(jwks.value, jwks.source);
  const cacheTtl = options.jwks?.cacheTtl ?? CACHE_TTL_SECONDS;
  return { ...remoteJwks({ ...context, url: jwks.value, cacheTtl }), algorithms: PUBLIC_KEY };
}

function checkSecret(secret: string, where: string): Uint8Array<ArrayBuffer> {
  const bytes = encoder.encode(secret);
  if (bytes.length >= SECRET_BYTES) return bytes;
  throw new TypeError(
    `${where}: expected a secret of at least ${SECRET_BYTES} bytes, got ${bytes.length}; openssl rand -hex 32 makes one`,
  );
}

function bothGiven(secret: string, jwks: string): TypeError {
  return new TypeError(`${secret}: expected this or ${jwks}, got both`);
}

/** What a token claims, where one of the keys that may have signed it did; else `null`. */
async function signedClaims(token: string, { keysOf, algorithms }: Verifier): Promise<Claims | null> {
  const signed = await verifiedJws(token, algorithms, keysOf);
  if (signed === null || !TYPE.test(String(signed.header.typ ?? "jwt"))) return null;
  try {
    return JSON.parse(signed.payload);
  } catch {
    return null;
  }
}
