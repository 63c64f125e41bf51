import type { Env } from "../core/env.ts";
import type { RuntimeFactory } from "./runtime.ts";

export { startSweeper } from "../storage/sweeper.ts";

/** What the platform passes with a request. */
export function readEnv(bindings: unknown): Env {
  return (bindings ?? {}) as Env;
}

/** A platform that is not known has no storage of its own. */
export const defaultRuntime: RuntimeFactory = () => {
  throw new TypeError("runtime: expected { storage }, since this platform has no storage of its own");
};
