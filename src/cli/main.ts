#!/usr/bin/env node
/** The command `workertown-kv`. */
import { KvError } from "../core/errors.ts";
import { VERSION } from "../version.ts";
import { fail } from "./log.ts";
import { UsageError } from "./usage.ts";

const HELP = `workertown-kv ${VERSION}: a JSON key/value store over HTTP

Usage: workertown-kv serve [options]

  --port PORT       where to listen, 0 for any free port  (PORT, 3000)
  --host HOST       the address to listen on              (HOST, 127.0.0.1)
  --db DATABASE     a file, :memory: or an engine's URL   (KV_DB, kv.sqlite)
  --log FORMAT      text, or json: an object a line       (KV_LOG, text)
  --env-file FILE   read variables from a file; those that are set already win
  --help, --version

Variables: KV_API_KEY, KV_READ_API_KEY, KV_USERNAME, KV_PASSWORD, KV_JWT_SECRET, KV_JWKS_URL, KV_JWT_ISSUER,
KV_JWT_AUDIENCE. With no credential among them a key is made and kept beside the database, in kv.sqlite.key.
`;

async function main([verb, ...args]: string[]): Promise<void> {
  if (verb === undefined || args.includes("--help") || ["--help", "-h", "help"].includes(verb)) {
    process.stdout.write(HELP);
  } else if (verb === "--version" || verb === "-v" || args.includes("--version")) {
    process.stdout.write(`${VERSION}\n`);
  } else if (verb === "serve") {
    const { serveCommand } = await import("./serve.ts");
    await serveCommand(args);
  } else {
    throw new UsageError(`Expected the command "serve", got ${JSON.stringify(verb)}; see workertown-kv --help`);
  }
}

/** One line. Of a storage that cannot be used the reason too, which never holds a secret. */
function lineOf(error: unknown): string {
  const message = firstLine(error instanceof Error ? error.message : String(error));
  return error instanceof KvError ? `KV_DB: ${message}${reasonOf(error.cause)}` : message;
}

/** What lies at the bottom of an error. */
function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return "";
  const first = cause instanceof AggregateError ? cause.errors[0] : cause.cause;
  return reasonOf(first) || (cause.message === "" ? "" : `: ${firstLine(cause.message)}`);
}

function firstLine(text: string): string {
  return text.split("\n")[0] as string;
}

main(process.argv.slice(2)).catch((error: unknown) => {
  fail(lineOf(error));
  process.exitCode = 1;
});
