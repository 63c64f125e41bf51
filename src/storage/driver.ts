/**
 * What to do where a driver cannot be imported: `import("pg").catch(missingDriver("pg"))`. Throws a `TypeError` with the
 * line that installs it.
 */
export function missingDriver(name: string): (error: unknown) => never {
  return (error) => {
    const { code, message } = error as { code?: unknown; message?: unknown };
    const missing = code === "ERR_MODULE_NOT_FOUND" || /cannot find|not found|could not resolve/i.test(String(message));
    if (!missing) throw error;
    throw new TypeError(`The driver "${name}" is not installed: npm install ${name}`, { cause: error });
  };
}
