/** What Redis is given, and what its replies mean: a client gives a string of a reply as bytes or as text. */
import type { FoundEntry, StoredEntry, WriteOperation, WriteOptions, WriteOutcome } from "./adapter.ts";
import { OUTCOMES, PURGE_MS } from "./redis-lua.ts";

export type RedisArgument = string | Uint8Array;

/** When an entry expires, and when Redis itself may remove it. */
export interface Expiry {
  expiresAt: string;
  purgeAt: string;
}

/** What the script for writes takes, operation by operation. */
export function writeArguments(
  operations: readonly WriteOperation[],
  { now, atomic, valueBytes = 0 }: WriteOptions,
  start: number,
): RedisArgument[] {
  const args: RedisArgument[] = [`${now}`, atomic ? "1" : "0", `${valueBytes}`, `${start}`];
  for (const operation of operations) {
    const { ifMatch, ifNoneMatch } = operation.condition ?? {};
    args.push(operation.kind, conditionOf(ifMatch), conditionOf(ifNoneMatch));
    if (operation.kind !== "put") continue;
    const { value, version, metadata, expiresAt } = operation.entry;
    args.push(value, version, metadata ?? "", expiresAt === null ? "" : `${expiresAt}`);
  }
  return args;
}

/** Versions between spaces; what cannot be a version matches none. */
function conditionOf(versions: "*" | readonly string[] | undefined): string {
  if (versions === undefined || versions === "*") return versions ?? "";
  return ` ${versions.filter((version) => /^[\w-]+$/.test(version)).join(" ")} `;
}

export function expiryOf({ expiresAt }: StoredEntry): Expiry | null {
  return expiresAt === null ? null : { expiresAt: `${expiresAt}`, purgeAt: `${expiresAt + PURGE_MS}` };
}

export function fieldsOf({ value, version, metadata, expiresAt }: StoredEntry): Record<string, RedisArgument> {
  return {
    value,
    version,
    ...(metadata !== null && { metadata }),
    ...(expiresAt !== null && { expires_at: `${expiresAt}` }),
  };
}

export function outcomeOf(reply: unknown): WriteOutcome {
  if (typeof reply === "number") return OUTCOMES[reply] as WriteOutcome;
  return { found: reply === null ? null : entryOf(reply as unknown[]) };
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** An entry from its fields: version, metadata, expiry and value. */
export function entryOf([version, metadata, expiresAt, value]: readonly unknown[]): FoundEntry {
  return {
    value: value === null || typeof value === "number" ? null : bytesOf(value),
    metadata: metadata === null ? null : textOf(metadata),
    expiresAt: expiresAt === null ? null : Number(textOf(expiresAt)),
    version: textOf(version),
  };
}

export function textOf(reply: unknown): string {
  return reply instanceof Uint8Array ? decoder.decode(reply) : String(reply);
}

function bytesOf(reply: unknown): Uint8Array {
  return typeof reply === "string" ? encoder.encode(reply) : (reply as Uint8Array);
}

const shas = new Map<string, Promise<string>>();

/** What names a script for `EVALSHA`. */
export function shaOf(lua: string): Promise<string> {
  let sha = shas.get(lua);
  if (sha === undefined) {
    sha = crypto.subtle
      .digest("SHA-1", encoder.encode(lua))
      .then((digest) => Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join(""));
    shas.set(lua, sha);
  }
  return sha;
}
