/** A real PostgreSQL, with one database that belongs to the user of the service. */
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import pg from "pg";
import { postgresStorage } from "../../src/storage/postgres.ts";
import type { Engine } from "./engine.ts";
import { findBinary, startServer } from "./server.ts";

const INITDB = findBinary(
  "/usr/lib/postgresql/*/bin/initdb",
  "/usr/local/pgsql/bin/initdb",
  "/opt/homebrew/opt/postgresql*/bin/initdb",
);

export const missing = INITDB === null ? "needs PostgreSQL: apt-get install postgresql" : null;

export interface Postgres extends Engine {
  /** What the service connects by. */
  url: string;
  secret: string;
  /** One statement as the superuser, in the database of the service or in another one. */
  admin(text: string, values?: unknown[], database?: string): Promise<Record<string, unknown>[]>;
  /** The URL of another database, which is made for it. */
  database(name: string, options?: string): Promise<string>;
  kill(): Promise<void>;
  start(): Promise<void>;
  pause(): void;
  resume(): void;
  cut(): Promise<void>;
  refuse(refused: boolean): Promise<void>;
}

export async function startPostgres(): Promise<Postgres> {
  const bin = dirname(INITDB as string);
  const [secret, root] = [randomBytes(12).toString("hex"), randomBytes(12).toString("hex")];
  const urlOf = (user: string, password: string, port: number, database: string) =>
    `postgres://${user}:${password}@127.0.0.1:${port}/${database}`;

  async function query(url: string, text: string, values: unknown[] = []) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000 });
    client.on("error", () => {});
    try {
      await client.connect();
      return (await client.query(text, values)).rows as Record<string, unknown>[];
    } finally {
      await client.end().catch(() => {});
    }
  }

  const server = await startServer({
    user: "postgres",
    async prepare(folder, run) {
      writeFileSync(join(folder, "password"), root, { mode: 0o644 });
      const access = ["-U", "postgres", "-A", "scram-sha-256", `--pwfile=${join(folder, "password")}`];
      await run(join(bin, "initdb"), ["-D", join(folder, "data"), "-E", "UTF8", "--locale=C.UTF-8", "-N", ...access]);
    },
    command(folder, port) {
      const options = ["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300"];
      return [join(bin, "postgres"), "-D", join(folder, "data"), "-p", `${port}`, "-k", folder, ...options];
    },
    answers: (port) => query(urlOf("postgres", root, port, "postgres"), "SELECT 1"),
  });
  const { port } = server;
  const admin = (text: string, values?: unknown[], database = "kv") =>
    query(urlOf("postgres", root, port, database), text, values);
  await admin(`CREATE ROLE kv LOGIN PASSWORD '${secret}'`, [], "postgres");
  await admin("CREATE DATABASE kv OWNER kv", [], "postgres");

  /** The postmaster and its children: each leads a process group of its own. */
  function signal(name: NodeJS.Signals): void {
    const [line = ""] = readFileSync(join(server.folder, "data", "postmaster.pid"), "utf8").split("\n");
    const postmaster = Number(line);
    for (const pid of [postmaster, ...childrenOf(postmaster)]) {
      try {
        process.kill(pid, name);
      } catch {}
    }
  }

  const url = urlOf("kv", secret, port, "kv");
  return {
    url,
    secret,
    admin,
    async database(name, options = "") {
      await admin(`CREATE DATABASE ${name} OWNER kv ${options}`, [], "postgres");
      return urlOf("kv", secret, port, name);
    },
    open: (namespace) => postgresStorage({ url, namespace }),
    async kill() {
      signal("SIGKILL");
      await server.kill();
    },
    start: server.start,
    pause: () => signal("SIGSTOP"),
    resume: () => signal("SIGCONT"),
    async cut() {
      await admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'kv'");
    },
    async refuse(refused) {
      await admin(`ALTER ROLE kv PASSWORD '${refused ? randomBytes(12).toString("hex") : secret}'`);
    },
    async [Symbol.asyncDispose]() {
      signal("SIGKILL");
      await server[Symbol.asyncDispose]();
    },
  };
}

/** The processes that a process has started, by /proc; none where there is no such folder. */
function childrenOf(parent: number): number[] {
  const pids = readdirSync("/proc").map(Number).filter(Number.isInteger);
  return pids.filter((pid) => {
    try {
      // The name in parentheses may hold anything; what follows it is the state and the parent.
      return Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ")[1]) === parent;
    } catch {
      return false;
    }
  });
}
