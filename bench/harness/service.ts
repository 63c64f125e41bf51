/** Who is measured, and how each is spoken to. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Fill, groupsOf, KEY } from "./data.ts";
import { type Running, start } from "./process.ts";
import { ROOT } from "./settings.ts";

/** What stands before and after a key, or a value. */
export type Around = readonly [before: string, after: string];

export interface Dialect {
  headers: Readonly<Record<string, string>>;
  /** The target of a read, and of a write by `PUT`. */
  get: Around;
  put: Around;
  /** The body of a write. */
  body: Around;
  /** The target that lists a prefix; null where it cannot be listed. */
  list: Around | null;
}

export interface Service extends Running, Dialect {
  label: string;
  /** Whether what it answered for is in a file. */
  onDisk: boolean;
}

/** Ours, and of those that speak like it. */
export const OUR_DIALECT: Dialect = {
  headers: { Authorization: `Bearer ${KEY}` },
  get: ["/v1/kv/", ""],
  put: ["/v1/kv/", ""],
  body: ['{"value":', "}"],
  list: ["/v1/kv?limit=1000&prefix=", ""],
};

export const OURS = "@workertown/kv";

export interface KvOptions {
  env?: Readonly<Record<string, string>>;
  /** Where it keeps its file, made where there is none; its log is beside it. */
  folder: string;
}

export function kvCommand(): { file: string; args(port: number): string[] } {
  return {
    file: process.execPath,
    args: (port) => [join(ROOT, "dist/cli/main.js"), "serve", "--port", String(port)],
  };
}

/** The built command with its defaults. */
export async function startKv({ folder, env = {} }: KvOptions): Promise<Service> {
  mkdirSync(folder, { recursive: true });
  const log = join(folder, "kv.log");
  const running = await start({ ...kvCommand(), log, cwd: folder, env: { KV_API_KEY: KEY, ...env } });
  return { ...OUR_DIALECT, ...running, label: OURS, onDisk: true };
}

/** The 40 lines, without what has not been built from them: a list has no cursor. */
export async function startForty(folder: string): Promise<Service> {
  mkdirSync(folder, { recursive: true });
  const running = await start({
    log: join(folder, "forty-lines.log"),
    file: process.execPath,
    args: (port) => [join(ROOT, "bench/servers/forty-lines.ts"), String(port), join(folder, "forty-lines.sqlite")],
    env: { KV_API_KEY: KEY },
  });
  return { ...OUR_DIALECT, ...running, label: "40 lines of Hono", onDisk: true };
}

/** How many entries one import has: it must be over before the service's time for a body is. */
const PART = 1_000_000;

/** Imports entries into a service of ours. */
export async function importInto({ url, headers }: Service, fill: Fill): Promise<void> {
  const groups = groupsOf(fill);
  async function* lines(count: number): AsyncGenerator<Buffer> {
    for (let sent = 0; sent < count; ) {
      const group: [name: string, value: string][] = groups.next().value ?? [];
      sent += group.length;
      yield Buffer.from(group.map(([name, value]) => `{"key":"${name}","value":${value}}\n`).join(""));
    }
  }
  for (let first = 0; first < fill.count; first += PART) {
    const count = Math.min(PART, fill.count - first);
    const answer = await fetch(`${url}/admin/import`, {
      method: "POST",
      headers: { ...headers, "Content-Type": "application/x-ndjson" },
      body: lines(count),
      duplex: "half",
    } as never);
    const { data } = (await answer.json()) as { data: { imported: number } | null };
    if (data?.imported !== count) throw new Error(`The import answered ${answer.status}, ${JSON.stringify(data)}`);
  }
}

/** Writes one value; rejects where it is refused. */
export async function put({ url, headers, put: [before, after], body }: Service, name: string, value: string) {
  const answer = await fetch(url + before + encodeURIComponent(name) + after, {
    method: "PUT",
    headers: { ...headers, "Content-Type": "application/json" },
    body: body[0] + value + body[1],
  });
  if (!answer.ok) throw new Error(`PUT ${name} answered ${answer.status}: ${(await answer.text()).slice(0, 200)}`);
  await answer.arrayBuffer();
}
