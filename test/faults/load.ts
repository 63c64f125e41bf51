/** Clients that write without a pause over HTTP and note in a ledger what they sent and what was answered. */
import { KEY } from "../support.ts";
import { COUNTER, type Held, type Ledger } from "./ledger.ts";

export interface LoadOptions {
  url: string;
  ledger: Ledger;
  random(): number;
  /** Tells clients of several loads apart: their keys begin with it. */
  name?: string;
  /** How long values are at most, in characters. */
  length?: number;
}

export interface Load {
  /** How many writes were acknowledged so far. */
  readonly count: number;
  /** Answers that must not be: a condition refused that holds, a status that nobody expects. */
  readonly faults: string[];
  /** Resolves once no request is under way. */
  stop(): Promise<void>;
}

interface Answer {
  status: number;
  etag: string | null;
  // biome-ignore lint/suspicious/noExplicitAny: the answers of several routes
  json: any;
}

const OWNERS = 8;
const BATCHERS = 4;
const COUNTERS = 4;

/** An answer, or `undefined` where the connection broke. */
async function call(url: string, method: string, id: string, body?: unknown, condition = {}) {
  try {
    const headers = { Authorization: `Bearer ${KEY}`, "X-Request-Id": id, "Content-Type": "application/json" };
    const response = await fetch(url, {
      method,
      headers: { ...headers, ...condition },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const answer: Answer = { status: response.status, etag: response.headers.get("ETag"), json: await response.json() };
    return answer;
  } catch {
    return undefined;
  }
}

/** Starts 16 clients: some write keys of their own, with and without conditions, some batches, some all count in one key. */
export function startLoad({ url, ledger, random, name = "", length = 200 }: LoadOptions): Load {
  const faults: string[] = [];
  let stopped = false;
  let count = 0;
  const pick = (limit: number) => Math.floor(random() * limit);
  const valueFor = (id: string) => `${id} ${"x".repeat(pick(length))}`;

  /** Whether the client may go on. */
  function isGood(id: string, answer: Answer | undefined): answer is Answer {
    if (answer !== undefined && answer.status !== 200) faults.push(`${id}: ${answer.status} ${answer.json?.detail}`);
    return answer?.status === 200;
  }

  /** As {@link isGood}, of a write. */
  function note(id: string, answer: Answer | undefined): answer is Answer {
    if (!isGood(id, answer)) return false;
    ledger.acknowledged.add(id);
    count += 1;
    return true;
  }

  async function owner(client: number): Promise<void> {
    const etags = new Map<string, string | null>();
    while (!stopped) {
      const key = `${name}own/${client}/${pick(6)}`;
      const known = etags.get(key);
      const removes = random() < 0.2;
      const { id, value } = ledger.send([key], (own) => (removes ? null : valueFor(own)));
      const condition =
        known === undefined || random() < 0.5 ? {} : known === null ? { "If-None-Match": "*" } : { "If-Match": known };
      const answer = removes
        ? await call(`${url}/v1/kv/${key}`, "DELETE", id)
        : await call(`${url}/v1/kv/${key}`, "PUT", id, { value }, condition);
      if (!note(id, answer)) return;
      etags.set(key, answer.etag);
    }
  }

  async function batcher(client: number): Promise<void> {
    const keys = ["a", "b", "c", "d"].map((part) => `${name}batch/${client}/${part}`);
    ledger.together(keys);
    while (!stopped) {
      // One whose last condition cannot hold must never be seen, in no part.
      if (random() < 0.1) {
        const puts = keys.map((key) => ({ op: "put", key, value: "refused" }));
        const operations = [...puts, { op: "delete", key: keys[0], ifMatch: '"never"' }];
        const answer = await call(`${url}/v1/kv`, "POST", "refused", { operations, atomic: true });
        if (answer?.status !== 412) {
          if (answer !== undefined) faults.push(`refused: ${answer.status} ${answer.json.detail}`);
          return;
        }
      }
      const removes = random() < 0.3;
      const { id, value } = ledger.send(keys, (own) => (removes ? null : valueFor(own)));
      const operations = keys.map((key) => (removes ? { op: "delete", key } : { op: "put", key, value }));
      if (!note(id, await call(`${url}/v1/kv`, "POST", id, { operations, atomic: true }))) return;
    }
  }

  async function counter(): Promise<void> {
    while (!stopped) {
      const found = await call(`${url}/v1/kv/${COUNTER}`, "GET", "count");
      if (found?.status !== 404 && !isGood("count", found)) return;
      const counted = found.status === 404 ? 0 : Number(found.json.data.split(" ")[1]);
      const { id, value } = ledger.sendCount(counted + 1);
      const condition = found.etag === null ? { "If-None-Match": "*" } : { "If-Match": found.etag };
      const answer = await call(`${url}/v1/kv/${COUNTER}`, "PUT", id, { value }, condition);
      if (answer?.status === 412) continue;
      if (!note(id, answer)) return;
    }
  }

  const clients = [
    ...Array.from({ length: OWNERS }, (_, client) => owner(client)),
    ...Array.from({ length: BATCHERS }, (_, client) => batcher(client)),
    ...Array.from({ length: COUNTERS }, counter),
  ];
  return {
    get count() {
      return count;
    },
    faults,
    async stop() {
      stopped = true;
      await Promise.all(clients);
    },
  };
}

/** Everything that the service holds. */
export async function heldBy(url: string): Promise<Held> {
  const held = new Map<string, string>();
  let cursor = "";
  do {
    const answer = await call(`${url}/v1/kv?include=values${cursor}`, "GET", "list");
    if (answer?.status !== 200) throw new Error(`The list was answered ${answer?.status}`);
    for (const { name, value } of answer.json.data.keys) held.set(name, value);
    cursor = answer.json.data.list_complete ? "" : `&cursor=${encodeURIComponent(answer.json.data.cursor)}`;
  } while (cursor !== "");
  return held;
}
