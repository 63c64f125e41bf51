import { KvError } from "../core/errors.ts";
import { keyBytes } from "../core/key.ts";
import { binary, type Item, namesOf, number } from "./dynamodb-item.ts";
import type { Send } from "./dynamodb-request.ts";
import { newerSchema, unavailable } from "./failures.ts";

export interface MigrationTarget {
  readonly send: Send;
  readonly table: string;
  readonly namespace: string;
  readonly shards: number;
}

export interface Migration {
  readonly name: string;
  /** Brings the step about or finds it done: it runs again where an instance ended before that was noted. */
  run(target: MigrationTarget): Promise<void>;
}

/** The steps that make and upgrade the schema, oldest first; each namespace's item counts those that it has seen. */
const MIGRATIONS: readonly Migration[] = [{ name: "0001-create-table", run: createTable }];

/** The partition of these items: no namespace's ends like this. */
const SCHEMA_PARTITION = "workertown_kv_schema";

/** Runs the steps that have not run and names those that this call was the one to finish. */
export async function migrateTable(target: MigrationTarget, migrations = MIGRATIONS): Promise<string[]> {
  const ran: string[] = [];
  for (;;) {
    const version = await versionOf(target, migrations.length);
    const migration = migrations[version];
    if (migration === undefined) return ran;
    await migration.run(target);
    if (await note(target, version)) ran.push(migration.name);
  }
}

const keyOf = ({ namespace }: MigrationTarget): Item => ({
  partition: { S: SCHEMA_PARTITION },
  name: binary(keyBytes(namespace)),
});

/** How many steps have run. Throws where a newer version or another number of shards has made what is there. */
async function versionOf(target: MigrationTarget, known: number): Promise<number> {
  const { send, table, namespace, shards } = target;
  const request = { TableName: table, Key: keyOf(target), ConsistentRead: true };
  const expected = ["ResourceNotFoundException", "ValidationException"];
  const { refusal, message, body } = await send<{ Item: Item }>("GetItem", request, expected);
  if (refusal === "ValidationException") {
    const detail = `The table ${table} has another key than partition (S, HASH) and name (B, RANGE)`;
    throw new Error(`${detail}: ${message}`);
  }
  if (body.Item === undefined) return 0;
  const version = Number(body.Item.schema?.N);
  const made = Number(body.Item.shards?.N);
  if (version > known) throw newerSchema(version, known);
  if (made !== shards) {
    const detail = `The namespace ${JSON.stringify(namespace)} was made with shards: ${made}, which cannot change`;
    throw new KvError("unavailable", `${detail}; got shards: ${shards}`);
  }
  return version;
}

/** Notes that a step has run; `false` where another instance did so first. */
async function note(target: MigrationTarget, version: number): Promise<boolean> {
  const guard =
    version === 0
      ? { ConditionExpression: "attribute_not_exists(#schema)" }
      : { ConditionExpression: "#schema = :from", ExpressionAttributeValues: { ":from": number(version) } };
  const { refusal } = await target.send(
    "PutItem",
    {
      TableName: target.table,
      Item: { ...keyOf(target), schema: number(version + 1), shards: number(target.shards) },
      ExpressionAttributeNames: namesOf("schema"),
      ...guard,
    },
    ["ConditionalCheckFailedException"],
  );
  return refusal === null;
}

/** How often it is asked whether the table is there, at first after 50 ms, then each second: for a minute or so. */
const POLLS = 64;

async function createTable({ send, table }: MigrationTarget): Promise<void> {
  for (let poll = 0; poll < POLLS; poll++) {
    const { refusal, body } = await send<{ Table: { TableStatus: string } }>("DescribeTable", { TableName: table }, [
      "ResourceNotFoundException",
    ]);
    if (/^(ACTIVE|UPDATING)$/.test(body.Table?.TableStatus ?? "")) return;
    if (refusal !== null) {
      const request = {
        TableName: table,
        BillingMode: "PAY_PER_REQUEST",
        AttributeDefinitions: [
          { AttributeName: "partition", AttributeType: "S" },
          { AttributeName: "name", AttributeType: "B" },
        ],
        KeySchema: [
          { AttributeName: "partition", KeyType: "HASH" },
          { AttributeName: "name", KeyType: "RANGE" },
        ],
      };
      // In use: another instance was faster.
      await send("CreateTable", request, ["ResourceInUseException"]);
    }
    await new Promise((resolve) => setTimeout(resolve, Math.min(50 * 2 ** poll, 1000)));
  }
  throw unavailable(new Error(`The table ${table} is still being created`));
}
