import type { Env, Warn } from "../core/env.ts";
import type { ResolvedOptions } from "../options.ts";
import type { Route } from "../routes/route.ts";
import type { StorageAdapter } from "../storage/adapter.ts";

/** What the platform gives a service. */
export interface Runtime {
  storage: StorageAdapter;
  /**
   * Keeps what was read in memory, for an engine that is far away: `maxBytes` bytes at most, each entry for `maxAge`
   * seconds at most, after which other instances' writes are seen. Off by default.
   */
  cache?: { maxBytes: number; maxAge: number } | undefined;
  /** Epoch milliseconds; `Date.now` by default. Every expiry is judged by this clock alone. */
  now?: (() => number) | undefined;
  /** Makes the version of one write, by default 72 random bits: unique for all time, ASCII letters, digits, `-` and `_`. */
  version?: (() => string) | undefined;
}

/** What a {@link RuntimeFactory} may know of the options. */
export interface RuntimeContext {
  /** The name of the variable or binding that says where the data is: `options.env.database`. */
  database: string;
  warn: Warn;
}

/**
 * Makes a runtime from the environment. Throws a `TypeError` that names the variable and the mend where the environment
 * is wrong.
 */
export type RuntimeFactory = (context: RuntimeContext, env: Env) => Runtime | Promise<Runtime>;

/** Lets all that the options lead to be counted, and answers the routes that show the counts. */
export type Measure = (config: ResolvedOptions) => readonly Route[];
