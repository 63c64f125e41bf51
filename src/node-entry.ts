/** `GET`, `HEAD` and `PUT` of one key, from Node's own request. */
import { type Condition, isUnchanged, type StoredEntry, valueLength } from "./core/entry.ts";
import { KvError } from "./core/errors.ts";
import { checkKey, decodeKey, quote } from "./core/key.ts";
import { STREAM_BYTES } from "./core/limits.ts";
import { type Answer, answerOf, entryBody } from "./node-answer.ts";
import { type Arrival, type Exchange, READ, readRequest, UNCHANGED, type Work, WRITE } from "./node-exchange.ts";
import type { PlainFields } from "./node-fields.ts";
import { isLargePut, putLarge } from "./node-large.ts";
import { newEntry, putBody } from "./routes/body.ts";
import { parseCondition } from "./routes/conditions.ts";
import { etag } from "./routes/respond.ts";
import { PUT_BODY, type PutBody, parse } from "./routes/schema.ts";
import type { NewEntry, Store } from "./storage/store.ts";

/** What a request to a key comes to; throws where that is to be refused. */
export function entryWork(path: string, arrival: Arrival): Work {
  const { request, fields, instance } = arrival;
  const { store } = instance;
  const key = checkKey(decodeKey(path), store.limits.key);
  const condition = conditionOf(fields);
  if (request.method !== "PUT") return (exchange) => get(exchange, store, key, condition);
  const put = (entry: NewEntry) => store.put(key, entry, condition);
  if (isLargePut(arrival)) return async (exchange) => answerEntry(exchange, await putLarge(exchange, arrival, put));
  return async (exchange) => {
    const { body, text } = await readRequest(exchange, arrival, putBody(store.limits));
    answerEntry(exchange, await put(newEntry(parse<PutBody>(PUT_BODY, body), text)));
  };
}

function get(exchange: Exchange, store: Store, key: string, condition: Condition | undefined) {
  const found = store.get(key);
  if (found instanceof Promise) return found.then((stored) => answerFound(exchange, key, condition, stored));
  answerFound(exchange, key, condition, found);
  return undefined;
}

function answerFound(
  exchange: Exchange,
  key: string,
  condition: Condition | undefined,
  stored: StoredEntry | null,
): void {
  if (stored === null) throw new KvError("not_found", `No value under key ${quote(key)}`);
  if (condition !== undefined && isUnchanged(condition, stored)) exchange.answer(unchangedAnswer(stored));
  else answerEntry(exchange, stored);
}

function answerEntry(exchange: Exchange, stored: StoredEntry): void {
  const length = valueLength(stored);
  // Of a value in parts that was put, the answer is made of the body, which is held already.
  const isHeld = exchange.method === "PUT" && stored.parts !== undefined;
  if (length > STREAM_BYTES && !isHeld) exchange.hold(length, exchange.shareOfAnswer);
  exchange.answer(entryAnswer(stored, exchange.method));
}

/** Where an entry keeps the answer that was made of it: from a cache the same entry comes again. */
const FOUND = Symbol();
const SAME = Symbol();
type Answered = StoredEntry & { [FOUND]?: Answer; [SAME]?: Answer };

function entryAnswer(stored: Answered, method: string): Answer {
  const tag = ["etag", etag(stored.version)];
  if (method === "HEAD") return answerOf(200, READ, tag, null);
  if (method === "PUT") return answerOf(200, WRITE, tag, entryBody(stored));
  stored[FOUND] ??= answerOf(200, READ, tag, entryBody(stored));
  return stored[FOUND];
}

function unchangedAnswer(stored: Answered): Answer {
  stored[SAME] ??= answerOf(304, UNCHANGED, ["etag", etag(stored.version)], null);
  return stored[SAME];
}

/** One tag as we give it. */
const OUR_TAG = /^"[\w-]+"$/;

function conditionOf({ "if-match": match, "if-none-match": noneMatch }: PlainFields): Condition | undefined {
  if (match === undefined) {
    if (noneMatch === undefined) return undefined;
    if (OUR_TAG.test(noneMatch)) return { ifNoneMatch: [noneMatch.slice(1, -1)] };
  }
  return parseCondition({ name: "If-Match", field: match }, { name: "If-None-Match", field: noneMatch });
}
