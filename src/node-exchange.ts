/** One request that the server answers by itself. */
import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Principal } from "./auth/principal.ts";
import type { Hold } from "./core/budget.ts";
import type { JsonScannerOptions } from "./core/json-scanner.ts";
import { type Answer, answerOf, type Head, headOf, send } from "./node-answer.ts";
import { readBody } from "./node-body.ts";
import type { PlainFields } from "./node-fields.ts";
import type { TextResponse } from "./node-response.ts";
import { atEndOfTurn } from "./node-turn.ts";
import type { ResolvedOptions } from "./options.ts";
import { accessEntry, report, requestIdOf } from "./report.ts";
import type { RequestBody } from "./routes/body.ts";
import { JSON_TYPE, problemParts, READ_HEADERS, SAFE_HEADERS } from "./routes/respond.ts";
import type { Instance } from "./service.ts";

/** What has been found out about a request before anything of it is done. */
export interface Arrival {
  request: IncomingMessage;
  response: TextResponse;
  fields: PlainFields;
  instance: Instance;
  principal: Principal;
}

function fieldsFrom(headers: Readonly<Record<string, string>>): string[] {
  return Object.entries(headers).flatMap(([name, value]) => [name.toLowerCase(), value]);
}

/** What every success has, of a read and of a write. */
export const READ: Head = headOf(fieldsFrom({ ...SAFE_HEADERS, ...READ_HEADERS, "Content-Type": JSON_TYPE }));
export const WRITE: Head = headOf(fieldsFrom({ ...SAFE_HEADERS, "Content-Type": JSON_TYPE }));
export const UNCHANGED: Head = headOf(fieldsFrom({ ...SAFE_HEADERS, ...READ_HEADERS }));
const REFUSED: Head = headOf([]);

/** Does what a request asks, now or later; what it throws is answered as a refusal. */
export type Work = (exchange: Exchange) => undefined | Promise<void>;

export class Exchange {
  readonly method: string;
  /** Counts bytes that the request holds. */
  readonly hold: Hold;
  readonly #config: ResolvedOptions;
  /** The route that answers, `undefined` where none does. */
  route: string | undefined;
  readonly #arrival: Arrival;
  readonly #requestId: string;
  readonly #began = performance.now();
  #told: readonly string[] = [];
  #answer: Answer | null = null;

  /** What was written has happened: its answer is counted and not refused. */
  get shareOfAnswer(): number {
    return hasBody(this.method) ? Number.POSITIVE_INFINITY : 1;
  }

  constructor(config: ResolvedOptions, route: string, arrival: Arrival, hold: Hold) {
    this.hold = hold;
    this.#config = config;
    this.route = route;
    this.#arrival = arrival;
    this.method = arrival.request.method as string;
    this.#requestId = requestIdOf(arrival.fields["x-request-id"], randomUUID);
  }

  /** Header fields that the answer is to have, whatever it is. */
  tell(headers: Readonly<Record<string, string>>): void {
    this.#told = fieldsFrom(headers);
  }

  /** Answers when the turn of the event loop ends. */
  answer(answer: Answer): void {
    this.#answer = answer;
    deliver(this);
  }

  refuse(thrown: unknown): void {
    const error = report(this.#config, thrown, {
      method: this.method,
      requestId: this.#requestId,
      webRequest: () => webRequestOf(this.#arrival.request),
    });
    const { status, headers, text } = problemParts(error, this.#requestId);
    const { "X-Request-Id": _, ...own } = headers;
    const body = this.method === "HEAD" ? null : { latin1: Buffer.from(text).toString("latin1") };
    this.answer(answerOf(status, REFUSED, fieldsFrom(own), body));
  }

  private send(answer: Answer): void {
    const { request, response } = this.#arrival;
    const own = ["x-request-id", this.#requestId, ...this.#told];
    // What is still to come of the body is not the next request.
    if (!request.complete && hasBody(this.method)) response.shouldKeepAlive = false;
    send(response, answer, own);
    this.#config.logger(
      accessEntry({
        method: this.method,
        route: this.route,
        status: answer.status,
        requestId: this.#requestId,
        began: this.#began,
      }),
    );
  }

  static deliver(exchanges: readonly Exchange[]): void {
    for (const exchange of exchanges) {
      try {
        exchange.send(exchange.#answer as Answer);
      } catch (error) {
        // What cannot be sent, such as a tag that no header takes.
        const { response } = exchange.#arrival;
        if (response.headersSent) response.destroy();
        else exchange.refuse(error);
      }
    }
  }
}

const deliver = atEndOfTurn(Exchange.deliver);

/** The body of a request as the routes take it; its bytes count before they are read. */
export async function readRequest(
  exchange: Exchange,
  { request, fields }: Arrival,
  form: JsonScannerOptions,
): Promise<RequestBody> {
  exchange.hold(Number(fields["content-length"]));
  const { bytes, body, spans } = await readBody(request, form);
  return {
    body,
    text(index) {
      const [start, end] = spans[index as number] ?? [];
      return bytes.subarray(start, end);
    },
  };
}

export function hasBody(method: string | undefined): boolean {
  return method === "PUT" || method === "POST";
}

/** For the operator's `onError`, which wants a web request. */
function webRequestOf({ method = "GET", url = "/", headers, rawHeaders }: IncomingMessage): Request {
  const pairs = Array.from({ length: rawHeaders.length / 2 }, (_, index): [string, string] => [
    rawHeaders[index * 2] as string,
    rawHeaders[index * 2 + 1] as string,
  ]);
  return new Request(`http://${headers.host ?? "localhost"}${url}`, { method, headers: pairs });
}
