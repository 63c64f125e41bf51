/**
 * A peer: unstorage's own server over its SQLite (`db0` on `node:sqlite`) or its memory driver, with the API key checked.
 * Fills itself before it listens: over HTTP, every entry would be a commit of its own.
 *
 *   KV_API_KEY=… node bench/servers/unstorage.mjs PORT sqlite FILE '[FILL…]'
 *   KV_API_KEY=… node bench/servers/unstorage.mjs PORT memory "" '[FILL…]'
 */
import { timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { createDatabase } from "db0";
import nodeSqlite from "db0/connectors/node-sqlite";
import { createError } from "h3";
import { createStorage } from "unstorage";
import db0Driver from "unstorage/drivers/db0";
import memoryDriver from "unstorage/drivers/memory";
import { createStorageServer } from "unstorage/server";
import { groupsOf } from "../harness/data.ts";

const [port, driver, path, fills = "[]"] = process.argv.slice(2);
const database = driver === "sqlite" ? createDatabase(nodeSqlite({ path })) : null;
const storage = createStorage({ driver: database === null ? memoryDriver() : db0Driver({ database }) });

for (const fill of JSON.parse(fills)) {
  await storage.hasItem("the first call makes the table");
  for (const group of groupsOf(fill)) {
    await database?.exec("BEGIN");
    for (const [name, value] of group) await storage.setItem(name, value);
    await database?.exec("COMMIT");
  }
}

const expected = Buffer.from(`Bearer ${process.env.KV_API_KEY}`);
const { handle } = createStorageServer(storage, {
  authorize({ event }) {
    const given = Buffer.from(event.headers.get("authorization") ?? "");
    if (given.length === expected.length && timingSafeEqual(given, expected)) return;
    throw createError({ statusCode: 401, statusMessage: "Unauthorized" });
  },
});
createServer(handle).listen(Number(port), "127.0.0.1");
