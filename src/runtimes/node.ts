/** Node, Bun and Deno: all of them have `node:process` and `node:sqlite`. */
import process from "node:process";
import { type Env, variable } from "../core/env.ts";
import { sqliteStorage } from "../storage/sqlite.ts";
import type { RuntimeFactory } from "./runtime.ts";

/** The variables of the process. */
export function readEnv(_bindings?: unknown): Env {
  return process.env;
}

/** What `database` names: an SQLite file, `kv.sqlite` by default, or `:memory:`. */
export const defaultRuntime: RuntimeFactory = ({ database, warn }, env) => ({
  storage: sqliteStorage({ path: pathOf(variable(env, database, warn) ?? "kv.sqlite", database) }),
});

/** A file's path or `:memory:`; throws a `TypeError` on a URL without quoting more than its scheme. */
function pathOf(value: string, name: string): string {
  const [, scheme] = /^([^/]*):\/\//.exec(value) ?? [];
  if (scheme === undefined) return value;
  const shown = /^[a-z][a-z0-9+.-]*$/i.test(scheme) ? `"${scheme}://…"` : "a URL";
  throw new TypeError(
    `${name}: expected a file such as ./kv.sqlite, or ":memory:"; got ${shown}, which no engine serves`,
  );
}
