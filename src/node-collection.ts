/** A list and a batch, from Node's own request. */
import { type AnswerBody, answerOf, dataBody } from "./node-answer.ts";
import { type Arrival, type Exchange, hasBody, READ, readRequest, type Work, WRITE } from "./node-exchange.ts";
import { batchBody, runBody } from "./routes/batch.ts";
import { listRequest, pagePieces, parseQuery } from "./routes/entries.ts";
import { LIST_QUERY } from "./routes/schema.ts";
import type { ListedEntry } from "./storage/adapter.ts";
import type { ListPage } from "./storage/store.ts";

/** What a list comes to; throws where it is to be refused. */
export function listWork(query: string, { instance: { store } }: Arrival): Work {
  const request = listRequest(parseQuery(query, LIST_QUERY));
  return async (exchange) => {
    const page = await store.list(request);
    answerData(exchange, bodies.get(page.entries) ?? newBody(page));
  };
}

/** The bodies that were made of pages: from a cache the same page comes again. */
const bodies = new WeakMap<readonly ListedEntry[], Uint8Array>();

function newBody(page: ListPage): AnswerBody {
  const body = dataBody(pagePieces(page));
  if (body instanceof Uint8Array) bodies.set(page.entries, body);
  return body;
}

export function batchWork(arrival: Arrival): Work {
  const { principal, instance } = arrival;
  const { store } = instance;
  return async (exchange) => {
    const body = await readRequest(exchange, arrival, batchBody(store.limits));
    answerData(exchange, dataBody(await runBody(store, principal, body)));
  };
}

function answerData(exchange: Exchange, body: AnswerBody): void {
  if ("groups" in body) exchange.hold(body.length, exchange.shareOfAnswer);
  exchange.answer(answerOf(200, hasBody(exchange.method) ? WRITE : READ, [], body));
}
