/** libSQL in its two forms: a file in this process, and a server over HTTP. */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execPath } from "node:process";
import { createClient } from "@libsql/client";
import { libsqlStorage } from "../../src/storage/libsql.ts";
import type { SqliteEngine } from "./libsql-shared.ts";
import { startServer } from "./server.ts";

export const missing = null;

export interface LibsqlFile extends SqliteEngine {
  url: string;
}

export async function startLibsqlFile(): Promise<LibsqlFile> {
  const folder = mkdtempSync(join(tmpdir(), "kv-libsql-"));
  const url = `file:${join(folder, "kv.db")}`;
  return {
    url,
    open: (namespace) => libsqlStorage({ url, namespace }),
    query: (sql) => queryOnce(url, undefined, sql),
    async [Symbol.asyncDispose]() {
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export interface LibsqlServer extends SqliteEngine {
  url: string;
  /** The token. */
  secret: string;
  kill(): Promise<void>;
  start(): Promise<void>;
  pause(): void;
  resume(): void;
  cut(): Promise<void>;
  refuse(refused: boolean): Promise<void>;
  /** How many requests it has answered. */
  requests(): Promise<number>;
}

export async function startLibsql(): Promise<LibsqlServer> {
  const secret = randomBytes(16).toString("hex");
  const server = await startServer({
    user: "nobody",
    command: (folder, port) => [
      execPath,
      "--no-warnings",
      join(import.meta.dirname, "libsql-hrana.ts"),
      join(folder, "kv.db"),
      `${port}`,
      secret,
    ],
    answers: (port) => fetch(`http://127.0.0.1:${port}/test/requests`),
  });
  const url = `http://127.0.0.1:${server.port}`;
  const ask = async (path: string, method = "POST") => {
    // Not over a connection that the server may just have ended.
    const response = await fetch(`${url}/test/${path}`, { method, headers: { Connection: "close" } });
    return response.json();
  };
  return {
    url,
    secret,
    open: (namespace) => libsqlStorage({ url, authToken: secret, namespace }),
    query: (sql) => queryOnce(url, secret, sql),
    kill: server.kill,
    start: server.start,
    pause: server.pause,
    resume: server.resume,
    cut: async () => void (await ask("cut")),
    refuse: async (refused) => void (await ask(`refuse?on=${refused ? 1 : 0}`)),
    requests: async () => (await ask("requests", "GET")) as number,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function queryOnce(url: string, authToken: string | undefined, sql: string): Promise<Record<string, unknown>[]> {
  const client = createClient({ url, timeout: 5000, ...(authToken !== undefined && { authToken }) });
  try {
    return [...(await client.execute(sql)).rows];
  } finally {
    client.close();
  }
}
