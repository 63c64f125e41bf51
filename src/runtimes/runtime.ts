import type { StorageAdapter } from "../storage/adapter.ts";

/** What counts as the environment: the bindings on Workers, the process's variables elsewhere. */
export type Env = Readonly<Record<string, unknown>>;

/** What the platform gives a service. */
export interface Runtime {
  storage: StorageAdapter;
  /** Epoch milliseconds; `Date.now` by default. Every expiry is judged by this clock alone. */
  now?: (() => number) | undefined;
}

/** What a {@link RuntimeFactory} may know of the options. */
export interface RuntimeContext {
  /** The name of the variable or binding that says where the data is: `options.env.database`. */
  database: string;
  /** For what an operator should know; never a secret. */
  warn(message: string): void;
}

/**
 * Makes a runtime from the environment. Throws a `TypeError` that names the variable and the mend where the environment
 * is wrong.
 */
export type RuntimeFactory = (context: RuntimeContext, env: Env) => Runtime | Promise<Runtime>;
