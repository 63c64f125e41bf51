/** A list and a batch, from Node's own request. */
import { dataBody } from "./node-answer.ts";
import { readBody } from "./node-body.ts";
import { type Arrival, type Exchange, parted, type Work } from "./node-exchange.ts";
import { batchBody, runBody } from "./routes/batch.ts";
import { listRequest, pagePieces, parseQuery } from "./routes/entries.ts";
import { JSON_TYPE, type Piece } from "./routes/respond.ts";
import { LIST_QUERY } from "./routes/schema.ts";

/** What a list comes to; throws where it is to be refused. */
export function listWork(query: string, { instance: { store } }: Arrival): Work {
  const request = listRequest(parseQuery(query, LIST_QUERY));
  return async (exchange) => answerData(exchange, pagePieces(await store.list(request)));
}

export function batchWork({ request, fields, principal, instance: { store } }: Arrival): Work {
  return async (exchange) => {
    exchange.hold(Number(fields["content-length"]));
    const body = parted(await readBody(request, batchBody(store.limits)));
    answerData(exchange, await runBody(store, principal, body));
  };
}

function answerData(exchange: Exchange, pieces: readonly Piece[]): void {
  const body = dataBody(pieces);
  if ("groups" in body) exchange.hold(body.length, exchange.method === "POST");
  exchange.succeed(200, ["content-type", JSON_TYPE], body);
}
