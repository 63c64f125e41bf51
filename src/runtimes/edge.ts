import type { Env } from "../core/env.ts";
import type { Measure, RuntimeFactory } from "./runtime.ts";

/** Whether one process serves all, so that it may count by itself. */
export const COUNTS_IN_MEMORY: boolean = true;

export { createBudget } from "../core/budget.ts";
export { startSweeper } from "../storage/sweeper.ts";

/** What the platform passes with a request. */
export function readEnv(bindings: unknown): Env {
  return (bindings ?? {}) as Env;
}

/** Not known, so that an `access.ip` refuses everybody. */
export function addressOf(): bigint | null {
  return null;
}

/** A platform that is not known has no storage of its own. */
export const defaultRuntime: RuntimeFactory = () => {
  throw new TypeError("runtime: expected { storage }, since this platform has no storage of its own");
};

/** A platform that is not known may run many of us. */
export const measure: Measure = () => [];
