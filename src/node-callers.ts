import { hash } from "node:crypto";
import type { Socket } from "node:net";
import type { Principal } from "./auth/principal.ts";
import type { PlainFields } from "./node-fields.ts";
import type { Instance } from "./service.ts";

/** How long a credential that was accepted is not checked again, and how many are remembered. */
const REMEMBERED_MS = 60_000;
const REMEMBERED = 1000;

/** Who was let in, and until when. */
interface Known {
  principal: Principal;
  until: number;
  basis: unknown;
}

/** The credential that a connection sent last, and its digest. */
interface Sent {
  text: string;
  digest: string;
}

/**
 * Who was let in by which credential: kept by its SHA-256, for a minute, a JWT no longer than it lives and its keys are those
 * that are good. What a connection sends once more is not digested again.
 */
export function rememberedCallers() {
  let owner: Instance | undefined;
  const known = new Map<string, Known>();
  const sent = new WeakMap<Socket, Sent>();
  return {
    digestOf(socket: Socket, { authorization = "", "x-api-key": key }: PlainFields): string {
      const text = key === undefined ? authorization : `${authorization}\n${key}`;
      const last = sent.get(socket);
      if (last !== undefined && isSame(last.text, text)) return last.digest;
      const digest = hash("sha256", text, "binary");
      sent.set(socket, { text, digest });
      return digest;
    },
    find(instance: Instance, digest: string): Principal | undefined {
      if (instance !== owner) return undefined;
      const found = known.get(digest);
      if (found === undefined) return undefined;
      const { principal, until, basis } = found;
      if (until > instance.now() && (principal.strategy !== "jwt" || isBasis(instance, basis))) return principal;
      known.delete(digest);
      return undefined;
    },
    remember(instance: Instance, digest: string, principal: Principal): void {
      if (instance !== owner) known.clear();
      owner = instance;
      const expiry = Number(principal.claims?.exp ?? Number.POSITIVE_INFINITY) * 1000;
      const basis = instance.authenticator.tokenBasis();
      known.set(digest, { principal, until: Math.min(instance.now() + REMEMBERED_MS, expiry), basis });
      if (known.size > REMEMBERED) known.delete(known.keys().next().value as string);
    },
  };
}

function isBasis({ authenticator }: Instance, basis: unknown): boolean {
  return basis !== undefined && basis === authenticator.tokenBasis();
}

/** In a time that tells nothing of where two texts of one length differ. */
function isSame(one: string, other: string): boolean {
  if (one.length !== other.length) return false;
  let difference = 0;
  for (let at = 0; at < one.length; at++) difference |= one.charCodeAt(at) ^ other.charCodeAt(at);
  return difference === 0;
}
