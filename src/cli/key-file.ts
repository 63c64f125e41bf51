import { randomBytes, randomUUID } from "node:crypto";

// To import a module of Node's loads whatever its exports name.
const { chmodSync, linkSync, readFileSync, rmSync, statSync, writeFileSync } = process.getBuiltinModule("node:fs");

/** Variables that let somebody in; the second half of Basic alone lets nobody in. */
const CREDENTIALS = ["KV_API_KEY", "KV_READ_API_KEY", "KV_PASSWORD", "KV_JWT_SECRET", "KV_JWKS_URL"];

/** Whether the environment names a credential. */
export function hasCredential(env: NodeJS.ProcessEnv): boolean {
  return CREDENTIALS.some((name) => (env[name] ?? "").trim() !== "");
}

/** Where the key of a database is kept: beside its file, or in the working directory where it has none. */
export function keyFileOf(database: string): string {
  return database === ":memory:" || database.includes("://") ? "workertown-kv.key" : `${database}.key`;
}

/**
 * The key in the file, which is made where there is none, readable by its owner only. Throws an `Error` of one line that
 * names the file.
 */
export function readOrMakeKey(file: string, warn: (message: string) => void): string {
  try {
    makeKey(file);
    const key = readFileSync(file, "utf8").trim();
    if (key === "") throw new Error("it is empty; delete it and a new one is made");
    const mode = statSync(file).mode & 0o777;
    if (process.platform !== "win32" && (mode & 0o077) !== 0) {
      chmodSync(file, 0o600);
      warn(`${file} could be read by others than its owner; it is now for its owner only`);
    }
    return key;
  } catch (error) {
    throw new Error(`Cannot use the key file ${JSON.stringify(file)}: ${(error as Error).message}`, { cause: error });
  }
}

/** Under its own name only once it is whole, so that of two first starts at once both use the same. */
function makeKey(file: string): void {
  if (statSync(file, { throwIfNoEntry: false }) !== undefined) return;
  const draft = `${file}.${randomUUID()}`;
  try {
    writeFileSync(draft, `${randomBytes(24).toString("base64url")}\n`, { mode: 0o600, flag: "wx" });
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}
