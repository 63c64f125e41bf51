import { parseAddress } from "../access/ip.ts";
import type { Budget } from "../core/budget.ts";
import type { Env } from "../core/env.ts";
import { type KvNamespaceLike, workersKvStorage } from "../storage/workers-kv.ts";
import type { Measure, RuntimeFactory } from "./runtime.ts";

/** The bindings of the request. */
export function readEnv(bindings: unknown): Env {
  return (bindings ?? {}) as Env;
}

/** Whether one process serves all: an isolate's own counts mean little. */
export const COUNTS_IN_MEMORY: boolean = false;

/** The address of who calls, as the platform states it. */
export function addressOf(request: Request): bigint | null {
  return parseAddress(request.headers.get("CF-Connecting-IP") ?? "");
}

/** Workers KV, by the binding that `database` names. */
export const defaultRuntime: RuntimeFactory = ({ database }, env) => {
  const binding = env[database];
  if (typeof (binding as Partial<KvNamespaceLike> | undefined)?.getWithMetadata !== "function") {
    const got = binding === undefined ? "nothing" : "something else";
    throw new TypeError(
      `${database}: expected the binding of a KV namespace, got ${got}; add it to kv_namespaces in wrangler.jsonc`,
    );
  }
  return { storage: workersKvStorage(binding as KvNamespaceLike) };
};

const held = { hold() {}, release() {} };

/** The platform bounds the memory of an isolate. */
export const createBudget = (): Budget => () => held;

/** Nothing: a Worker only runs while it answers. KV removes what expires, the other engines do so as they write. */
export function startSweeper(): () => void {
  return () => {};
}

/** What an isolate counts means nothing: it is one of many and soon gone. */
export const measure: Measure = () => [];
