import { type Env, variable, type Warn } from "../core/env.ts";
import { LATE, within } from "../core/within.ts";
import type { Principal, Scope } from "./principal.ts";

/** One way of proving who one is, configured and ready. */
export interface AuthStrategy {
  readonly name: Exclude<Principal["strategy"], "custom">;
  /** What `WWW-Authenticate` offers (RFC 9110, section 11.6.1). */
  readonly challenge: string;
  /** The caller, or `null` where the request carries no credential of this kind or a wrong one. */
  verify(request: Request, env: Env, attempts?: Attempts): Promise<Principal | null>;
  /** What else an acceptance rests on: once it is another, or `undefined`, a credential must be verified anew. */
  basis?(): unknown;
}

/** Slows who guesses a secret that can be guessed. */
export interface Attempts {
  /** Throws `rate_limited` where this name was tried in vain too often. */
  check(name: string): void;
  failed(name: string): void;
}

/** What a strategy is made from. */
export interface StrategyContext {
  env: Env;
  warn: Warn;
  /** Epoch milliseconds. */
  now(): number;
}

/** The text of an option, or of its variable where it is not given, and the name of the one it came from. */
export function setting({ env, warn }: StrategyContext, given: string | undefined, option: string, name: string) {
  const source = given === undefined ? name : option;
  return { source, value: variable(given === undefined ? env : { [option]: given }, source, warn) };
}

/** Warns of a secret of fewer characters than that, which can be guessed. */
export function warnShort(secret: string | undefined, source: string, least: number, warn?: Warn): void {
  if (secret && secret.length < least) {
    warn?.(`${source}: expected a secret of at least ${least} characters; openssl rand -hex 32 makes one`);
  }
}

/** What `verifyCredentials` answers: `false` refuses, `true` accepts, an object says who it is and what he may do. */
export type Verdict = boolean | { id?: string | undefined; scope?: Scope | undefined };

/** Reads a credential from a request, `null` where there is none; it must leave the body alone. */
export type GetCredentials<C> = (request: Request, env: Env) => C | null | undefined | Promise<C | null | undefined>;

export type VerifyCredentials<C> = (credential: C, env: Env) => Verdict | Promise<Verdict>;

/** How long a callback of the operator's may take. */
const CALLBACK_MS = 5000;

/** What a callback answers, or `null` where it throws or does not answer in 5 s: then nobody gets in. */
export async function ask<A extends unknown[], T>(
  option: string,
  warn: Warn,
  callback: (...given: A) => T | Promise<T>,
  ...given: A
): Promise<T | null> {
  try {
    const answer = await within(CALLBACK_MS, callback(...given));
    if (answer === LATE) throw new Error(`no answer in ${CALLBACK_MS} ms`);
    return answer;
  } catch (error) {
    warn(`${option} failed, so the request was refused: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
}

/** The caller whom a verdict lets in, or `null`. */
export function principalOf(verdict: Verdict | null, otherwise: Principal): Principal | null {
  if (verdict === true) return otherwise;
  // An object that says neither was meant to say something else, an error for example.
  if (typeof verdict !== "object" || verdict === null || (verdict.id ?? verdict.scope) === undefined) return null;
  return { ...otherwise, id: verdict.id ?? otherwise.id, scope: verdict.scope ?? otherwise.scope };
}
