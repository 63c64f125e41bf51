/** `workertown-kv serve`: the service on Node, configured by flags and variables. */
import { kv } from "../kv.ts";
import { serve } from "../node.ts";
import { defaultRuntime } from "../runtimes/node.ts";
import { hasCredential, keyFileOf, readOrMakeKey } from "./key-file.ts";
import { flushLog, LOG_FORMATS, type LogFormat, log, say, setLogFormat, warn } from "./log.ts";
import { UsageError } from "./usage.ts";

// To import a module of Node's loads whatever its exports name.
const { parseArgs } = process.getBuiltinModule("node:util");

interface Settings {
  port: number;
  host: string;
  database: string;
  format: LogFormat;
}

/** Serves until a signal ends it. Rejects with an error of one line where it cannot. */
export async function serveCommand(args: string[]): Promise<void> {
  const { port, host, database, format } = settingsOf(args);
  setLogFormat(format);
  // Whoever reads the output may go away; the service stays.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  process.on("exit", flushLog);

  // What the database refuses is said before a key is made for it.
  const runtime = await defaultRuntime({ database: "KV_DB", warn }, { ...process.env, KV_DB: database });
  const keyFile = hasCredential(process.env) ? null : keyFileOf(database);
  // The key stays out of the environment, which children and crash reports see.
  const auth = keyFile === null ? {} : { apiKey: { apiKey: readOrMakeKey(keyFile, warn) } };
  const server = await serve(kv({ auth, logger: log, runtime: () => runtime }), { port, host });
  const { url } = server;
  const tryIt = keyFile === null ? [] : [`Try it: ${curlLine(url, keyFile)}`];
  say([`Listening on ${url}, storing in ${shown(database)}`, ...tryIt]);
}

/** A database as it may be printed: a URL without what may be a secret in it. */
function shown(database: string): string {
  const [, scheme, rest = ""] = /^([^/]*:\/\/)([^?#]*)/.exec(database) ?? [];
  return scheme === undefined ? database : scheme + rest.slice(rest.lastIndexOf("@") + 1);
}

/** A line that works as it stands and reads the key from its file. */
function curlLine(url: string, keyFile: string): string {
  const path = /^[\w./-]+$/.test(keyFile) ? keyFile : `'${keyFile.replaceAll("'", "'\\''")}'`;
  return `curl ${url}/v1/kv -H "Authorization: Bearer $(cat ${path})"`;
}

function settingsOf(args: string[]): Settings {
  const flags = flagsOf(args);
  if (flags["env-file"] !== undefined) loadEnvFile(flags["env-file"]);
  const { env } = process;
  const pick = (flag: string | undefined, variable: string | undefined, otherwise: string) =>
    flag ?? (variable?.trim() ? variable : otherwise);
  return {
    port: portOf(pick(flags.port, env.PORT, "3000"), flags.port === undefined ? "PORT" : "--port"),
    host: pick(flags.host, env.HOST, "127.0.0.1"),
    database: pick(flags.db, env.KV_DB, "kv.sqlite"),
    format: formatOf(pick(flags.log, env.KV_LOG, "text"), flags.log === undefined ? "KV_LOG" : "--log"),
  };
}

function flagsOf(args: string[]) {
  const text = { type: "string" } as const;
  try {
    const { values } = parseArgs({ args, options: { port: text, host: text, db: text, log: text, "env-file": text } });
    const empty = Object.entries(values).find(([, value]) => value.trim() === "");
    if (empty !== undefined) throw new Error(`Option '--${empty[0]}' is empty`);
    return values;
  } catch (error) {
    throw new UsageError(`${(error as Error).message.split(". ")[0]}; see workertown-kv --help`);
  }
}

function loadEnvFile(file: string): void {
  try {
    process.loadEnvFile(file);
  } catch (error) {
    throw new UsageError(`--env-file: cannot read ${JSON.stringify(file)}: ${(error as Error).message}`);
  }
}

function portOf(text: string, source: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new UsageError(`${source}: expected a port from 0 to 65535, got ${JSON.stringify(text)}`);
}

function formatOf(text: string, source: string): LogFormat {
  const format = LOG_FORMATS.find((known) => known === text);
  if (format !== undefined) return format;
  throw new UsageError(`${source}: expected "text" or "json", got ${JSON.stringify(text)}`);
}
