/** A real MariaDB, as durable as it is by default, and one database that belongs to the user of the service. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { createConnection, type RowDataPacket } from "mysql2/promise";
import { mysqlStorage } from "../../src/storage/mysql.ts";
import type { Engine } from "./engine.ts";
import { findBinary, startServer } from "./server.ts";

const SERVER = findBinary("/usr/sbin/mariadbd", "/usr/local/sbin/mariadbd", "/opt/homebrew/bin/mariadbd");
const INSTALL = findBinary("/usr/bin/mariadb-install-db", "/usr/local/bin/mariadb-install-db");

export const missing =
  SERVER === null || INSTALL === null ? "needs MariaDB: apt-get install --no-install-recommends mariadb-server" : null;

export interface Mysql extends Engine {
  /** What the service connects by. */
  url: string;
  port: number;
  secret: string;
  /** One statement as the superuser, in the database of the service. */
  admin(sql: string, values?: unknown[]): Promise<RowDataPacket[]>;
  kill(): Promise<void>;
  start(): Promise<void>;
  pause(): void;
  resume(): void;
  cut(): Promise<void>;
  refuse(refused: boolean): Promise<void>;
}

/** The default packet of MariaDB is 16 MiB; values of 25 MiB need more. */
const SETTINGS = { "max-allowed-packet": "64M" };

export async function startMysql(settings: Readonly<Record<string, string>> = SETTINGS): Promise<Mysql> {
  const secret = randomBytes(12).toString("hex");

  async function query(port: number, sql: string, values: unknown[] = [], database?: string): Promise<RowDataPacket[]> {
    const options = { host: "127.0.0.1", port, user: "root", connectTimeout: 5000, ...(database && { database }) };
    const connection = await createConnection(options);
    try {
      const [rows] = await connection.query<RowDataPacket[]>(sql, values);
      await connection.commit();
      return rows;
    } finally {
      connection.destroy();
    }
  }

  const server = await startServer({
    user: "mysql",
    async prepare(folder, run) {
      const options = ["--auth-root-authentication-method=normal", "--skip-test-db"];
      await run(INSTALL as string, ["--no-defaults", `--datadir=${join(folder, "data")}`, ...options]);
    },
    command(folder, port) {
      const all = { datadir: join(folder, "data"), socket: join(folder, "socket"), port, ...settings };
      const options = Object.entries({ ...all, "bind-address": "127.0.0.1" }).map(([name, to]) => `--${name}=${to}`);
      return [SERVER as string, "--no-defaults", ...options];
    },
    answers: (port) => query(port, "SELECT 1"),
  });
  const { port } = server;
  const admin = (sql: string, values?: unknown[]) => query(port, sql, values, "kv");
  await query(port, "CREATE DATABASE kv");
  await admin(`CREATE USER kv@'%' IDENTIFIED BY '${secret}'`);
  await admin("GRANT ALL ON kv.* TO kv@'%'");

  const url = `mysql://kv:${secret}@127.0.0.1:${port}/kv`;
  return {
    url,
    port,
    secret,
    admin,
    open: (namespace) => mysqlStorage({ url, namespace }),
    kill: server.kill,
    start: server.start,
    pause: server.pause,
    resume: server.resume,
    async cut() {
      for (const { id } of await admin("SELECT id FROM information_schema.processlist WHERE user = 'kv'")) {
        // One that has ended by itself meanwhile cannot be killed.
        await admin("KILL ?", [id]).catch(() => {});
      }
    },
    async refuse(refused) {
      await admin(`ALTER USER kv@'%' IDENTIFIED BY '${refused ? randomBytes(12).toString("hex") : secret}'`);
    },
    [Symbol.asyncDispose]: server[Symbol.asyncDispose],
  };
}
