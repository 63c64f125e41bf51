/** Clients that use a few keys at once, each on a connection of its own, and what they saw. */
import { setTimeout as sleep } from "node:timers/promises";
import { random } from "../engines/history.ts";
import { type Answered, openConnection, type RequestParts, type Unanswered } from "./connection.ts";
import type { Call, Operation, Result, Written } from "./register.ts";

export interface PlayOptions {
  /** Where the service is; the clients are shared out among several. */
  urls: readonly string[];
  seed: number;
  clients: number;
  /** How many requests each client makes. */
  requests: number;
  /** Whether atomic batches and lists bind the keys together. */
  binding: boolean;
}

export interface Played {
  calls: Call[];
  writes: Map<number, Written>;
  /** How many requests had no answer, or one that says that the outcome is unknown. */
  unknown: number;
}

const KEYS = ["a", "b", "c", "d", "e"];
/** A client that leaves does so within this time of its request. */
const LEAVE_MS = 3;

/** What an answer says of one operation. */
interface Said {
  status: number;
  data: unknown;
  etag: string | undefined;
  expiration: number | undefined;
}

/** Plays one history; throws where an answer contradicts another one by itself. */
export async function play({ urls, seed, clients, requests, binding }: PlayOptions): Promise<Played> {
  const prefix = `h${seed}/`;
  const calls: Call[] = [];
  const writes = new Map<number, Written>();
  const tags = new Map<string, string[]>(KEYS.map((key) => [key, ['"none"']]));
  let values = 0;
  let unknown = 0;

  /** Takes note of what a write was given, whoever says it. */
  function learn({ etag, expiration }: Said, value: number, key: string): void {
    const written = writes.get(value);
    if (written === undefined) throw new Error(`seed ${seed}: nobody wrote ${value}`);
    const expires = expiration === undefined ? Number.POSITIVE_INFINITY : Math.round(expiration * 1000);
    const known = written.etag === undefined || written.etag === etag;
    if (!known || expires < written.expires[0] || expires > written.expires[1]) {
      throw new Error(`seed ${seed}: ${value} has ${etag}, ${expiration}, and had ${JSON.stringify(written)}`);
    }
    written.etag = etag;
    written.expires = [expires, expires];
    const seen = tags.get(key) as string[];
    if (etag !== undefined && seen.at(-1) !== etag) seen.push(etag);
  }

  function resultOf(operation: Operation, said: Said): Result | null {
    const { status } = said;
    if (status === 503) return null;
    if (![200, 304, 404, 412].includes(status)) throw new Error(`seed ${seed}: ${JSON.stringify([operation, said])}`);
    if (operation.op === "put" && status === 200) learn(said, operation.value as number, operation.key);
    if (operation.op === "get" && status === 200) learn(said, said.data as number, operation.key);
    return {
      status: status as Result["status"],
      value: operation.op === "get" && status === 200 ? (said.data as number) : undefined,
      deleted: operation.op === "delete" && status === 200 ? (said.data as boolean) : undefined,
    };
  }

  async function client(id: number): Promise<void> {
    const next = random(seed * 1000 + id);
    const chance = (part: number) => next() < part;
    const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)] as T;
    const connection = openConnection(urls[id % urls.length] as string);

    function operation(): Operation {
      const key = pick(KEYS);
      const op = pick(["get", "get", "put", "put", "delete"] as const);
      const tag = () => (chance(0.25) ? "*" : pick((tags.get(key) as string[]).slice(-3)));
      const condition = chance(0.4) ? { [pick(["ifMatch", "ifNoneMatch"])]: tag() } : {};
      if (op !== "put") return { op, key, ...condition };
      const ttl = chance(0.4) ? 1 + Math.floor(next() * 40) : undefined;
      values += 1;
      const least = ttl === undefined ? Number.POSITIVE_INFINITY : Date.now() + ttl;
      writes.set(values, { etag: undefined, expires: [least, Number.POSITIVE_INFINITY] });
      return { op, key, value: values, ttl, ...condition };
    }

    async function ask(method: string, path: string, parts: RequestParts): Promise<Asked> {
      const from = Date.now();
      const invoked = performance.now();
      // To leave after a read would teach nothing.
      const leave = method !== "GET" && chance(0.02) ? setTimeout(connection.leave, next() * LEAVE_MS) : undefined;
      const answer = await connection.ask(method, path, parts);
      clearTimeout(leave);
      if (typeof answer === "string" || answer.status === 503) unknown += 1;
      return { answer, client: id, invoked, returned: performance.now(), wall: [from, Date.now()] };
    }

    /** Puts down calls of which not every outcome need be known. */
    function put(asked: Asked, made: Pick<Call, "operations" | "outcome" | "atomic" | "after">): Call | null {
      const { answer: _, ...times } = asked;
      if (made.outcome !== null) calls.push({ ...times, ...made });
      else if (made.operations.some(({ op }) => op !== "get")) {
        const later = Number.POSITIVE_INFINITY;
        calls.push({ ...times, ...made, returned: later, wall: [times.wall[0], later] });
      } else return null;
      return calls.at(-1) as Call;
    }

    async function single(): Promise<void> {
      const mine = operation();
      const headers = {
        ...(mine.ifMatch !== undefined && { "If-Match": mine.ifMatch }),
        ...(mine.ifNoneMatch !== undefined && { "If-None-Match": mine.ifNoneMatch }),
      };
      // A query is what the listener that is made for plain requests leaves to the app.
      const path = `/v1/kv/${prefix}${mine.key}${chance(0.5) ? "?" : ""}`;
      const asked = await ask(mine.op.toUpperCase(), path, {
        headers,
        ...(mine.op === "put" && { body: bodyOf(mine) }),
      });
      const { answer } = asked;
      const result = typeof answer === "string" ? null : resultOf(mine, saidBy(answer));
      put(asked, { operations: [mine], outcome: result && [result], atomic: false, after: null });
    }

    async function batch(atomic: boolean): Promise<void> {
      const mine = Array.from({ length: 2 + Math.floor(next() * 3) }, operation);
      const operations = mine.map((each) => itemOf(each, prefix));
      const asked = await ask("POST", "/v1/kv", { body: `{"operations":[${operations}],"atomic":${atomic}}` });
      const { answer } = asked;
      const json = typeof answer === "string" || answer.status === 503 ? null : JSON.parse(answer.text);
      if (json !== null && json.status !== 200 && !(atomic && json.status === 412))
        throw new Error(JSON.stringify(json));
      const results = mine.map((each, index) => (json?.data ? resultOf(each, json.data[index]) : null));
      if (atomic) {
        const outcome = json === null ? null : json.status === 412 ? { failed: json.failed } : (results as Result[]);
        put(asked, { operations: mine, outcome, atomic, after: null });
        return;
      }
      const last = new Map<string, Call>();
      for (const [index, each] of mine.entries()) {
        const result = results[index] ?? null;
        const after = last.get(each.key) ?? null;
        const call = put(asked, { operations: [each], outcome: result && [result], atomic, after });
        if (call !== null) last.set(each.key, call);
      }
    }

    async function list(): Promise<void> {
      const asked = await ask("GET", `/v1/kv?prefix=${prefix}&include=values`, {});
      if (typeof asked.answer === "string" || asked.answer.status === 503) return;
      const { data } = JSON.parse(asked.answer.text);
      const operations = KEYS.map((key): Operation => ({ op: "get", key }));
      const outcome = operations.map((each): Result => {
        const entry = data.keys.find(({ name }: { name: string }) => name === prefix + each.key);
        if (entry === undefined) return { status: 404 };
        return resultOf(each, { status: 200, data: entry.value, ...entry }) as Result;
      });
      put(asked, { operations, outcome, atomic: true, after: null });
    }

    for (let count = 0; count < requests; count++) {
      if (chance(0.3)) await sleep(next() * 4);
      const roll = next();
      if (binding && roll < 0.25) await batch(true);
      else if (binding && roll < 0.3) await list();
      else if (roll < 0.45) await batch(false);
      else await single();
    }
    connection.leave();
  }

  await Promise.all(Array.from({ length: clients }, (_, id) => client(id)));
  return { calls, writes, unknown };
}

type Asked = Pick<Call, "client" | "invoked" | "returned" | "wall"> & { answer: Answered | Unanswered };

function saidBy({ status, headers, text }: Answered): Said {
  const { data, expiration } = text === "" ? {} : JSON.parse(text);
  return { status, data, expiration, etag: headers.etag };
}

const bodyOf = ({ value, ttl }: Operation) => `{"value":${value}${ttl === undefined ? "" : `,"ttl":${ttl / 1000}`}}`;

function itemOf({ op, key, value, ttl, ifMatch, ifNoneMatch }: Operation, prefix: string): string {
  const entry = op === "put" && { value, ttl: ttl === undefined ? null : ttl / 1000 };
  return JSON.stringify({ op, key: prefix + key, ...entry, ifMatch, ifNoneMatch });
}
