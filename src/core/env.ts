/** What counts as the environment: the bindings on Workers, the process's variables elsewhere. */
export type Env = Readonly<Record<string, unknown>>;

/** Tells the operator what he should know; never a secret. */
export type Warn = (message: string) => void;

/**
 * The text of a variable, or `undefined` where it is not set. One that is empty or white space counts as not set, and a
 * warning says so. Throws a `TypeError` that names a binding that is no text.
 */
export function variable(env: Env, name: string, warn: Warn): string | undefined {
  const value = env[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string") throw new TypeError(`${name}: expected a string, got ${typeof value}`);
  if (value.trim() !== "") return value;
  warn(`${name} is set but empty, which counts as not set`);
  return undefined;
}
