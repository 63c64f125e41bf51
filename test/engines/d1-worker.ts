/** The adapter inside a Worker, on its own D1: each call of it is a request. */
import type { StorageAdapter } from "../../src/storage/adapter.ts";
import { type D1DatabaseLike, d1Storage } from "../../src/storage/d1.ts";
import { decode, encode } from "./d1-wire.ts";

/** A call of a method of the adapter number `id`, which is made where there is none yet. */
export interface D1Call {
  id: number;
  namespace: string;
  method: Exclude<keyof StorageAdapter, "engine" | "capabilities" | "check" | "snapshot">;
  args: unknown[];
  /** Answers at once, so that the request ends before the call has. */
  abandon?: boolean;
}

export interface D1Answer {
  result?: unknown;
  error?: { name: string; code?: string; message: string; cause: string };
}

const adapters = new Map<number, StorageAdapter>();

export default {
  async fetch(request: Request, env: { DB: D1DatabaseLike }): Promise<Response> {
    const { id, namespace, method, args, abandon } = decode(await request.text()) as D1Call;
    const adapter = adapters.get(id) ?? d1Storage(env.DB, { namespace });
    adapters.set(id, adapter);
    const answer: D1Answer = {};
    try {
      const result = (adapter[method] as ((...given: unknown[]) => unknown) | undefined)?.(...args);
      if (!abandon) answer.result = await result;
    } catch (error) {
      const { name, code, message, cause } = error as Error & { code?: string };
      answer.error = { name, message, cause: String(cause), ...(code !== undefined && { code }) };
    }
    return new Response(encode(answer));
  },
};
