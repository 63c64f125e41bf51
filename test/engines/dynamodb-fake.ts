/**
 * dynalite in a process of its own, with what it lacks: `TransactWriteItems` and `TransactGetItems`. These are the tests'
 * own idea of what AWS documents, and prove no more than that the adapter fits to it: conditions are checked first, then
 * each item is written by itself; what overlaps is refused as a conflict, and reads in between see a part.
 *
 * `node dynamodb-fake.ts <port> <folder> [<milliseconds between the items of a transaction>]`. Without that last argument
 * BatchGetItem waits for the transactions of its keys. DynamoDB's does not.
 */
import { EventEmitter } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http";
import { createRequire } from "node:module";

type Json = Record<string, unknown>;
type Item = Record<string, Record<string, string>>;
interface Answer {
  status: number;
  body: Json;
}
interface Action extends Json {
  Key?: Item;
  Item?: Item;
  TableName?: string;
}

const require = createRequire(import.meta.url);
const dynalite = require("dynalite");
const validations = require("dynalite/validations");
const deletion = require("dynalite/validations/deleteItem");
const { checkConditional, itemSize } = require("dynalite/db");

const [port, path, applyMs] = process.argv.slice(2);
const [handle] = dynalite({ path, createTableMs: 100 }).listeners("request");

const TRUSTED = {
  "content-type": "application/x-amz-json-1.0",
  authorization: "AWS4-HMAC-SHA256 Credential=fake, SignedHeaders=fake, Signature=fake",
  "x-amz-date": "now",
};

/** What dynalite answers. */
function ask(action: string, input: unknown, headers: IncomingHttpHeaders = TRUSTED): Promise<Answer> {
  return new Promise((resolve) => {
    const target = { "x-amz-target": `DynamoDB_20120810.${action}` };
    const request = Object.assign(new EventEmitter(), {
      method: "POST",
      url: "/",
      headers: { ...headers, ...target },
    });
    const response = {
      statusCode: 200,
      setHeader: () => {},
      end: (text?: string) => resolve({ status: response.statusCode, body: text ? JSON.parse(text) : {} }),
    };
    handle(request, response);
    request.emit("data", Buffer.from(JSON.stringify(input)));
    request.emit("end");
  });
}

const refusal = (type: string, message: string, more: Json = {}): Answer => ({
  status: 400,
  body: { __type: `com.amazonaws.dynamodb.v20120810#${type}`, message, ...more },
});

/** The items of transactions under way, and how many single writes and batch reads are. */
const locked = new Set<string>();
const writing = new Map<string, number>();
const reading = new Map<string, number>();

const idOf = ({ partition, name }: Item) => `${partition?.S} ${name?.B}`;
const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function during<T>(counts: Map<string, number>, ids: string[], step: () => Promise<T>): Promise<T> {
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  try {
    return await step();
  } finally {
    for (const id of ids) counts.set(id, (counts.get(id) ?? 0) - 1);
  }
}

/** Runs a step on items that nobody else is at; the others are cancelled. */
async function alone(ids: string[], step: () => Promise<Answer>): Promise<Answer> {
  const conflicts = ids.map((id) => (locked.has(id) || writing.get(id) ? "TransactionConflict" : "None"));
  if (conflicts.includes("TransactionConflict")) return cancelled(conflicts);
  for (const id of ids) locked.add(id);
  try {
    return await step();
  } finally {
    for (const id of ids) locked.delete(id);
  }
}

const cancelled = (codes: string[]) =>
  refusal("TransactionCanceledException", `Transaction cancelled [${codes.join(", ")}]`, {
    CancellationReasons: codes.map((Code) => ({ Code })),
  });

function transact(input: { TransactItems: Record<string, Action>[] }): Promise<Answer> | Answer {
  const actions = input.TransactItems.map((item) => Object.entries(item)[0] as [string, Action]);
  const ids = actions.map(([, { Key, Item }]) => idOf((Key ?? Item) as Item));
  if (ids.length > 100) return refusal("ValidationException", "Member must have length less than or equal to 100");
  if (new Set(ids).size < ids.length) {
    return refusal("ValidationException", "Transaction request cannot include multiple operations on one item");
  }
  return alone(ids, async () => {
    const items = await Promise.all(
      actions.map(async ([, { TableName, Key, Item }]) => {
        const { partition, name } = (Key ?? Item) as Item;
        const { body } = await ask("GetItem", { TableName, Key: { partition, name }, ConsistentRead: true });
        return body.Item as Item | undefined;
      }),
    );
    const sizes = actions.map(([, { Item }], index) => itemSize(Item ?? items[index] ?? {}));
    if (sizes.reduce((sum, size) => sum + size, 0) > 4 * 1024 * 1024) {
      return refusal("ValidationException", "The aggregate size of the items in the transaction exceeded 4 MB");
    }
    if (actions[0]?.[0] === "Get") return { status: 200, body: { Responses: items.map((Item) => ({ Item })) } };
    const codes = actions.map(([, action], index) => (holds(action, items[index]) ? "None" : "ConditionalCheckFailed"));
    if (codes.includes("ConditionalCheckFailed")) return cancelled(codes);
    while (applyMs === undefined && ids.some((id) => reading.get(id))) await pause(1);
    for (const [kind, { TableName, Key, Item }] of actions) {
      if (kind === "Put") await ask("PutItem", { TableName, Item });
      if (kind === "Delete") await ask("DeleteItem", { TableName, Key });
      if (applyMs !== undefined) await pause(Number(applyMs));
    }
    return { status: 200, body: {} };
  });
}

/** Whether an action's condition holds for an item, as dynalite evaluates it. */
function holds(action: Action, item: Item | undefined): boolean {
  const { TableName, Key, Item, ReturnValues: _, ...condition } = action;
  const { partition, name } = (Key ?? Item) as Item;
  const data = validations.checkTypes({ TableName, Key: { partition, name }, ...condition }, deletion.types);
  validations.checkValidations(data, deletion.types, deletion.custom);
  return checkConditional(data, item) == null;
}

type Requests = Record<string, { PutRequest?: { Item: Item }; DeleteRequest?: { Key: Item } }[]>;

async function dispatch(action: string, input: Json, headers: IncomingHttpHeaders): Promise<Answer> {
  const pass = (given: Json = input) => ask(action, given, headers);
  if (/^Transact(Write|Get)Items$/.test(action)) return transact(input as Parameters<typeof transact>[0]);
  if (/^(Put|Delete)Item$/.test(action)) {
    const id = idOf((input.Key ?? input.Item) as Item);
    if (locked.has(id)) return refusal("TransactionConflictException", "Transaction is ongoing for the item");
    return during(writing, [id], () => pass());
  }
  if (action === "BatchWriteItem") {
    const [[table, requests]] = Object.entries(input.RequestItems as Requests) as [[string, Requests[string]]];
    const keyed = requests.map((request) => ({
      request,
      id: idOf((request.PutRequest?.Item ?? request.DeleteRequest?.Key) as Item),
    }));
    const open = keyed.filter(({ id }) => !locked.has(id));
    const rest = keyed.filter(({ id }) => locked.has(id)).map(({ request }) => request);
    const UnprocessedItems = rest.length > 0 ? { [table]: rest } : {};
    if (open.length === 0) return { status: 200, body: { UnprocessedItems } };
    const ids = open.map(({ id }) => id);
    const given = { RequestItems: { [table]: open.map(({ request }) => request) } };
    const { status, body } = await during(writing, ids, () => pass(given));
    return { status, body: status === 200 ? { UnprocessedItems } : body };
  }
  if (action === "BatchGetItem" && applyMs === undefined) {
    const ids = Object.values(input.RequestItems as Record<string, { Keys: Item[] }>).flatMap(({ Keys }) =>
      Keys.map(idOf),
    );
    while (ids.some((id) => locked.has(id))) await pause(1);
    return during(reading, ids, () => pass());
  }
  return pass();
}

let refused = false;

const server = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  if (request.method === "GET") return response.end("healthy");
  if (request.url === "/fake/cut") {
    response.end(() => server.closeAllConnections());
    return;
  }
  if (request.url?.startsWith("/fake/refuse/")) {
    refused = request.url.endsWith("/true");
    return response.end();
  }
  let answer: Answer;
  try {
    const target = String(request.headers["x-amz-target"]).split(".")[1] as string;
    answer = refused
      ? refusal("UnrecognizedClientException", "The security token included in the request is invalid.")
      : await dispatch(target, JSON.parse(Buffer.concat(chunks).toString()), request.headers);
  } catch (error) {
    const { statusCode = 500, body = { message: String(error) } } = error as { statusCode?: number; body?: Json };
    answer = { status: statusCode, body };
  }
  response.writeHead(answer.status, { "Content-Type": "application/x-amz-json-1.0" });
  response.end(JSON.stringify(answer.body));
});
server.listen(Number(port), "127.0.0.1");
