/** How entries lie in the table: their keys, their attributes and what conditions are in DynamoDB's words. */
import type { Condition, StoredEntry } from "../core/entry.ts";
import { keyBytes } from "../core/key.ts";
import type { FoundEntry } from "./adapter.ts";
import { shardOf } from "./sharded.ts";

/** An attribute's value in DynamoDB's JSON: a string, a number in decimal digits, or bytes in Base64. */
export interface Attribute {
  S?: string;
  N?: string;
  B?: string;
}

export type Item = Record<string, Attribute>;

/** Where the entries of one namespace are. */
export interface Layout {
  readonly table: string;
  /** The partition keys, one a shard. */
  readonly partitions: readonly string[];
  /** The primary key of the item for a key. */
  keyOf(key: string): Item;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** How long after its end DynamoDB's own clean-up may take an entry, for clocks that differ. */
const TTL_GRACE_SECONDS = 60;

export function layoutOf(table: string, namespace: string, shards: number): Layout {
  const partitions = Array.from({ length: shards }, (_, shard) => `${namespace}#${shard}`);
  return {
    table,
    partitions,
    keyOf(key) {
      return { partition: { S: partitions[shardOf(key, shards)] as string }, name: binary(keyBytes(key)) };
    },
  };
}

export function binary(bytes: Uint8Array): Attribute {
  return { B: btoa(String.fromCharCode(...bytes)) };
}

export const number = (value: number): Attribute => ({ N: String(value) });

/** The key that an item is for. */
export function nameOf({ name }: Item): string {
  return decoder.decode(Uint8Array.from(atob(name?.B ?? ""), (character) => character.charCodeAt(0)));
}

export function itemOf(key: Item, { value, metadata, expiresAt, version }: StoredEntry, now: number): Item {
  return {
    ...key,
    value: { S: decoder.decode(value) },
    ...(metadata !== null && { metadata: { S: metadata } }),
    ...(expiresAt !== null && {
      expires_at: number(expiresAt),
      ttl: number(Math.ceil(expiresAt / 1000) + TTL_GRACE_SECONDS),
    }),
    version: { S: version },
    updated_at: number(now),
  };
}

/** The entry of an item, without its value where that was not asked for. */
export function entryOf(item: Item): FoundEntry {
  const { value, metadata, version } = item;
  return {
    value: value?.S === undefined ? null : encoder.encode(value.S),
    metadata: metadata?.S ?? null,
    expiresAt: expiresAtOf(item),
    version: version?.S ?? "",
  };
}

export function expiresAtOf({ expires_at }: Item): number | null {
  return expires_at === undefined ? null : Number(expires_at.N);
}

/** `#name` for each attribute: half of their names are reserved words. */
export function namesOf(...attributes: string[]): Record<string, string> {
  return Object.fromEntries(attributes.map((attribute) => [`#${attribute}`, attribute]));
}

/** What a read needs of an item, with its value or without. */
export function projected(values: boolean): string[] {
  return ["name", "metadata", "expires_at", "version", ...(values ? ["value"] : [])];
}

/** A condition as parameters of a request. */
export interface Guard {
  ConditionExpression?: string;
  ExpressionAttributeNames?: Record<string, string>;
  ExpressionAttributeValues?: Item;
}

/** What holds as long as an entry is still of the version that was read, or still missing. */
export function guardOf(read: { version: string } | null): Guard {
  const ExpressionAttributeNames = namesOf("version");
  if (read === null) return { ConditionExpression: "attribute_not_exists(#version)", ExpressionAttributeNames };
  const ExpressionAttributeValues = { ":read": { S: read.version } };
  return { ConditionExpression: "#version = :read", ExpressionAttributeNames, ExpressionAttributeValues };
}

const LIVE = "attribute_exists(#version) AND (attribute_not_exists(#expires_at) OR #expires_at > :now)";
/** How many operands DynamoDB's IN takes. */
const VERSIONS = 100;
/** The form of versions; what has another cannot match, and might be refused. */
const VERSION = /^[\w-]{1,1024}$/;

/**
 * A condition as DynamoDB evaluates it; without one, what always holds. `null` where it names more versions than an
 * expression has room for.
 */
export function conditionOf({ ifMatch, ifNoneMatch }: Condition = {}, now: number): Guard | null {
  const values: Item = { ":now": number(now) };
  const matches = (tags: "*" | readonly string[], prefix: string): string => {
    if (tags === "*") return LIVE;
    const versions = [...new Set(tags)].filter((tag) => VERSION.test(tag));
    const operands = versions.map((_, index) => `:${prefix}${index}`);
    versions.forEach((version, index) => {
      values[`:${prefix}${index}`] = { S: version };
    });
    // There is no constant for what is never true.
    return `${LIVE} AND ${operands.length > 0 ? `#version IN (${operands})` : "attribute_not_exists(#version)"}`;
  };
  const expressions = [
    ...(ifMatch === undefined ? [] : [`(${matches(ifMatch, "m")})`]),
    ...(ifNoneMatch === undefined ? [] : [`NOT (${matches(ifNoneMatch, "n")})`]),
  ];
  if (expressions.length === 0) return {};
  if (Object.keys(values).length > VERSIONS) return null;
  return {
    ConditionExpression: expressions.join(" AND "),
    ExpressionAttributeNames: namesOf("version", "expires_at"),
    ExpressionAttributeValues: values,
  };
}
