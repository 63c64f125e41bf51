#!/usr/bin/env node
/** The command `workertown-kv`. */
import { VERSION } from "../version.ts";
import { UsageError } from "./usage.ts";

const HELP = `workertown-kv ${VERSION}: a JSON key/value store over HTTP

Usage: workertown-kv serve [options]

  --port PORT       where to listen, 0 for any free port  (PORT, 3000)
  --host HOST       the address to listen on              (HOST, 127.0.0.1)
  --db DATABASE     a file, or :memory:                   (KV_DB, kv.sqlite)
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

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message.split("\n")[0] : String(error)}\n`);
  process.exitCode = 1;
});
