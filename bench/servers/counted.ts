/**
 * The built service with the access log of the command's text form, with its metrics or without: they go with the admin
 * routes.
 *
 *   KV_API_KEY=… node bench/servers/counted.ts PORT FILE on|off
 */
import { createWriteStream } from "node:fs";

const [port, file = "kv.sqlite", metrics] = process.argv.slice(2);
const built = new URL("../../dist/", import.meta.url);
const { kv } = await import(new URL("kv.js", built).href);
const { serve } = await import(new URL("node.js", built).href);
const log = createWriteStream("/dev/null");

process.env.KV_DB = file;
const app = kv({
  endpoints: metrics === "on" ? {} : { v1: { admin: false } },
  logger: ({ time, level, message, duration, requestId }: Record<string, unknown>) =>
    log.write(`${time} ${level} ${message} ${duration} ms [${requestId}]\n`),
});
await serve(app, { port: Number(port) });
