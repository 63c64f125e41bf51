/** The peers, each filled with the same entries before it is measured. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import { type Fill, groupsOf, KEY } from "./data.ts";
import { start } from "./process.ts";
import { OUR_DIALECT, type Service, startForty } from "./service.ts";
import { ROOT } from "./settings.ts";

export async function fortyLines(folder: string, fills: readonly Fill[]): Promise<Service> {
  const service = await startForty(folder);
  const database = new DatabaseSync(join(folder, "forty-lines.sqlite"));
  const insert = database.prepare("INSERT INTO kv (key, value, etag) VALUES (?, ?, ?)");
  for (const fill of fills) {
    for (const group of groupsOf(fill)) {
      database.exec("BEGIN");
      for (const [name, value] of group) insert.run(name, value, `"${name}"`);
      database.exec("COMMIT");
    }
  }
  database.close();
  return service;
}

/** Why a peer cannot be measured here; null where it can. */
export function missingPeer(peer: "unstorage" | "webdis"): string | null {
  if (peer === "unstorage") {
    return existsSync(join(ROOT, "bench/node_modules/unstorage"))
      ? null
      : "unstorage: npm ci --prefix bench installs it";
  }
  const isHere = (command: string) => {
    try {
      return execFileSync("sh", ["-c", `command -v ${command}`]).length > 0;
    } catch {
      return false;
    }
  };
  const missing = ["webdis", "redis-server"].filter((command) => !isHere(command));
  return missing.length === 0 ? null : `Webdis + Redis: apt-get install ${missing.join(" ")} installs them`;
}

export async function unstorage(driver: "sqlite" | "memory", folder: string, fills: readonly Fill[]): Promise<Service> {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "unstorage.sqlite");
  const running = await start({
    log: join(folder, "unstorage.log"),
    file: process.execPath,
    args: (port) => [join(ROOT, "bench/servers/unstorage.mjs"), String(port), driver, file, JSON.stringify(fills)],
    env: { KV_API_KEY: KEY },
  });
  const dialect = { get: ["/", ""], put: ["/", ""], body: ["", ""], list: ["/", ""] } as const;
  const label = `unstorage, ${driver === "sqlite" ? "SQLite" : driver}`;
  return { headers: OUR_DIALECT.headers, ...dialect, ...running, label, onDisk: driver === "sqlite" };
}

const NO_COMMANDS = { disabled: ["*"] };

/** Webdis before a Redis whose append-only file is flushed at each write, or that has none. */
export async function webdis(fsync: "always" | "off", folder: string, fills: readonly Fill[]): Promise<Service> {
  mkdirSync(folder, { recursive: true });
  const appending = fsync === "always" ? ["--appendonly", "yes", "--appendfsync", "always"] : ["--appendonly", "no"];
  const redis = await start({
    log: join(folder, "redis.log"),
    file: "redis-server",
    args: (port) => ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", ...appending],
  });
  for (const fill of fills) for (const group of groupsOf(fill)) await setAll(redis.port, group);
  const config = join(folder, "webdis.json");
  const running = await start({
    log: join(folder, "webdis.log"),
    file: "webdis",
    args(port) {
      const acl = [NO_COMMANDS, { http_basic_auth: `bench:${KEY}`, enabled: ["GET", "SET", "PING"] }];
      const server = { redis_host: "127.0.0.1", redis_port: redis.port, http_host: "127.0.0.1", http_port: port };
      const rest = { threads: 2, daemonize: false, verbosity: 0, logfile: join(folder, "webdis.out"), acl };
      writeFileSync(config, JSON.stringify({ ...server, ...rest }));
      return [config];
    },
  });
  const stop = async () => {
    await running.stop();
    await redis.stop();
  };
  const headers = { Authorization: `Basic ${Buffer.from(`bench:${KEY}`).toString("base64")}` };
  for (let tries = 0; tries < 100 && !(await fetch(`${running.url}/PING`, { headers })).ok; tries++) await delay(50);
  const dialect = { get: ["/GET/", ".txt"], put: ["/SET/", ""], body: ["", ""], list: null } as const;
  const label = `Webdis + Redis, fsync ${fsync}`;
  return { headers, ...dialect, ...running, stop, [Symbol.asyncDispose]: stop, label, onDisk: fsync === "always" };
}

/** Sets all of them by Redis' own protocol, in one piece. */
function setAll(port: number, group: readonly [string, string][]): Promise<void> {
  const words = ["MSET", ...group.flat()];
  const text = `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("")}`;
  return new Promise((done, fail) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(text));
    socket.once("error", fail);
    socket.once("data", (answer: Buffer) => {
      socket.end();
      if (String(answer).startsWith("+OK")) done();
      else fail(new Error(`Redis answered ${answer}`));
    });
  });
}
