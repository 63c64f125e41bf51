import type { Env } from "../core/env.ts";
import { utf8Length } from "../core/key.ts";
import type { Awaitable, StorageAdapter } from "./adapter.ts";
import { layoutOf } from "./dynamodb-item.ts";
import { migrateTable } from "./dynamodb-migrate.ts";
import { readsOf } from "./dynamodb-read.ts";
import { type AwsClientLike, type AwsCredentials, clientsFor, sender } from "./dynamodb-request.ts";
import { writeOf } from "./dynamodb-write.ts";
import { migrateFirst } from "./migrate-first.ts";

export type { AwsClientLike, AwsCredentials, SignedInit } from "./dynamodb-request.ts";

export interface DynamodbStorageOptions {
  /** The name of the table, made where there is none. */
  table: string;
  /** The AWS region: `eu-central-1`. */
  region: string;
  /** Where DynamoDB answers. Default `https://dynamodb.<region>.amazonaws.com`. */
  endpoint?: string | undefined;
  /** What requests are signed with, by aws4fetch, or a function that is asked for it before each request. */
  credentials?: AwsCredentials | (() => Awaitable<AwsCredentials>) | undefined;
  /** Signs the requests instead: `new AwsClient({ ..., region, service: "dynamodb" })` of aws4fetch. */
  client?: AwsClientLike | undefined;
  /** Adapters with different namespaces see nothing of each other in one table. Default `default`. */
  namespace?: string | undefined;
  /** Over how many partitions a namespace is spread, 1 to 64. It cannot change later. Default 1. */
  shards?: number | undefined;
}

/** What DynamoDB takes in an item, 409,600 bytes with the names of its attributes, is never reached by these together. */
const MAX_KEY = 1023;
const MAX_VALUE = 400_000;
const MAX_METADATA = 4096;
const MAX_NAMESPACE = 512;
const MAX_SHARDS = 64;

/**
 * Storage in one DynamoDB table, which is made on first use (on demand, keys `partition` and `name`). All reads are strongly
 * consistent, conditions are evaluated by DynamoDB in the request that writes, atomic batches are its transactions. Only
 * what reads several entries, a list or `getMany`, may see a part of an atomic batch that is just being written: the reads
 * of an atomic batch do not.
 *
 * Rejects with `unavailable` where DynamoDB cannot be reached, refuses the credentials or keeps on throttling, and with
 * `too_large` where an atomic batch takes more than the 4 MB of a transaction. Throws a `TypeError` for wrong options.
 */
export function dynamodbStorage(options: DynamodbStorageOptions): StorageAdapter {
  const { table, region, namespace = "default", shards = 1 } = options;
  check(
    typeof table === "string" && /^[\w.-]{3,255}$/.test(table),
    "table",
    `3 to 255 letters, digits, "_", "-" or "."`,
  );
  check(typeof region === "string" && /^[a-z\d-]+$/.test(region), "region", `a region such as "eu-central-1"`);
  check(
    namespace !== "" && namespace.isWellFormed() && utf8Length(namespace) <= MAX_NAMESPACE,
    "namespace",
    `a name of 1 to ${MAX_NAMESPACE} bytes`,
  );
  check(Number.isInteger(shards) && shards >= 1 && shards <= MAX_SHARDS, "shards", `a number from 1 to ${MAX_SHARDS}`);
  const endpoint = endpointOf(options.endpoint ?? `https://dynamodb.${region}.amazonaws.com`);
  const send = sender(endpoint, clientsOf(options));
  const layout = layoutOf(table, namespace, shards);
  const reads = readsOf(send, layout);

  return migrateFirst({
    engine: "dynamodb",
    capabilities: {
      consistency: "strong",
      conditional: true,
      // A transaction takes 4 MB; the keys, metadata and the rest of 100 items are within what is left.
      atomic: { operations: 100, bytes: 3_400_000 },
      ordered: true,
      snapshot: false,
      reportsDelete: true,
      maxKey: MAX_KEY,
      maxValue: MAX_VALUE,
      maxMetadata: MAX_METADATA,
    },
    get: reads.get,
    getMany: reads.getMany,
    list: reads.list,
    write: writeOf(send, layout, reads),
    migrate: () => migrateTable({ send, table, namespace, shards }),
  });
}

/**
 * The options that a URL states, `dynamodb://<table>?region=…&endpoint=…&namespace=…&shards=…`, with the credentials and
 * the region of the usual AWS variables. Throws a `TypeError` that quotes nothing of the URL but parameters' names.
 */
export function dynamodbOptions(url: string, env: Env): DynamodbStorageOptions {
  const variable = (name: string) => (typeof env[name] === "string" && env[name] !== "" ? env[name] : undefined);
  const { protocol, hostname, username, password, searchParams } = new URL(URL.canParse(url) ? url : "none:");
  check(protocol === "dynamodb:" && hostname !== "", "url", "dynamodb://<table>?region=<region>");
  check(
    username === "" && password === "",
    "url",
    "no credentials in it; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
  );
  const { region, endpoint, namespace, shards, ...others } = Object.fromEntries(searchParams);
  check(
    Object.keys(others).length === 0,
    "url",
    "no parameters but region, endpoint, namespace and shards",
    Object.keys(others).join(),
  );
  const [accessKeyId, secretAccessKey] = [variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")];
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    throw new TypeError("AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY: Expected credentials for DynamoDB, got none");
  }
  const found = region ?? variable("AWS_REGION") ?? variable("AWS_DEFAULT_REGION");
  if (found === undefined)
    throw new TypeError("AWS_REGION: Expected a region, here or as ?region= in the URL, got none");
  return {
    table: hostname,
    region: found,
    endpoint,
    credentials: { accessKeyId, secretAccessKey, sessionToken: variable("AWS_SESSION_TOKEN") },
    namespace,
    shards: shards === undefined ? undefined : Number(shards),
  };
}

function clientsOf({ client, credentials, region }: DynamodbStorageOptions): () => Promise<AwsClientLike> {
  check((client === undefined) !== (credentials === undefined), "credentials", "these or a client, one of the two");
  if (client !== undefined) {
    check(typeof client.sign === "function", "client", "an AwsClient of aws4fetch");
    return async () => client;
  }
  if (typeof credentials !== "function") {
    const given = [credentials?.accessKeyId, credentials?.secretAccessKey];
    check(
      given.every((text) => typeof text === "string" && text !== ""),
      "credentials",
      "an accessKeyId and a secretAccessKey",
    );
  }
  return clientsFor(credentials as NonNullable<typeof credentials>, region);
}

function endpointOf(endpoint: string): string {
  const { protocol, username, password, href } = new URL(URL.canParse(endpoint) ? endpoint : "none:");
  check(/^https?:$/.test(protocol), "endpoint", "a URL of http or https");
  check(username === "" && password === "", "endpoint", "no credentials in it");
  return href;
}

function check(holds: boolean, path: string, expected: string, got = ""): void {
  if (!holds) throw new TypeError(`${path}: Expected ${expected}${got && `, got ${got}`}`);
}
