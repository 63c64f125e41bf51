/**
 * The built service where the command has no option for what is measured: a storage in memory, a file of libSQL, a read
 * cache, a namespace. It logs as the command does.
 *
 *   node bench/engines/service.ts PORT '{"engine":…}'
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { LogEntry } from "../../src/log.ts";
import type { StorageAdapter } from "../../src/storage/adapter.ts";
import { KEY } from "../harness/data.ts";
import { start } from "../harness/process.ts";
import { OUR_DIALECT, type Service } from "../harness/service.ts";
import { ROOT } from "../harness/settings.ts";

export interface ServiceSettings {
  engine: "memory" | "libsql" | "postgres";
  url?: string;
  namespace?: string;
  cache?: { maxBytes: number; maxAge: number };
}

export async function startService(folder: string, label: string, settings: ServiceSettings): Promise<Service> {
  mkdirSync(folder, { recursive: true });
  const running = await start({
    log: join(folder, `${label.replace(/\W+/g, "-")}.log`),
    file: process.execPath,
    args: (port) => [import.meta.filename, String(port), JSON.stringify(settings)],
    cwd: folder,
  });
  return { ...OUR_DIALECT, ...running, label, onDisk: settings.engine !== "memory" };
}

const LOG_MS = 20;
let lines = "";

function log({ time, level, message, requestId, duration, cause }: LogEntry): void {
  if (lines === "") setTimeout(flush, LOG_MS);
  lines += `${time} ${level} ${message} ${duration} ms [${requestId}]${cause === undefined ? "" : `\n${cause}`}\n`;
}

function flush(): void {
  process.stdout.write(lines);
  lines = "";
}

const built = async <T>(path: string) => (await import(join(ROOT, "dist", path))) as T;

async function storageOf({ engine, url = "", namespace = "default" }: ServiceSettings): Promise<StorageAdapter> {
  if (engine === "memory") {
    return (await built<typeof import("../../src/storage/memory.ts")>("storage/memory.js")).memoryStorage();
  }
  if (engine === "libsql") {
    const { libsqlStorage } = await built<typeof import("../../src/storage/libsql.ts")>("storage/libsql.js");
    return libsqlStorage({ url, namespace });
  }
  const { postgresStorage } = await built<typeof import("../../src/storage/postgres.ts")>("storage/postgres.js");
  return postgresStorage({ url, namespace });
}

if (import.meta.main) {
  const [port, text = "{}"] = process.argv.slice(2);
  const settings = JSON.parse(text) as ServiceSettings;
  const { kv } = await built<typeof import("../../src/index.ts")>("index.js");
  const { serve } = await built<typeof import("../../src/node.ts")>("node.js");
  const { cache } = settings;
  const runtime = { storage: await storageOf(settings), ...(cache && { cache }) };
  await serve(kv({ auth: { apiKey: { apiKey: KEY } }, logger: log, runtime }), { port: Number(port) });
}
