/**
 * A peer: the same routes as a competent person writes them in 40 lines, with Hono and `node:sqlite`.
 *
 *   KV_API_KEY=… node bench/servers/forty-lines.ts PORT FILE
 */
import { createHash, randomUUID, timingSafeEqual } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import { serve } from "@hono/node-server";
import { Hono } from "hono";

const [port, file = "kv.sqlite"] = process.argv.slice(2);
const database = new DatabaseSync(file);
database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
database.exec(
  "CREATE TABLE IF NOT EXISTS kv (key TEXT PRIMARY KEY, value TEXT NOT NULL, etag TEXT NOT NULL, expires INT)",
);
const get = database.prepare("SELECT value, etag FROM kv WHERE key = ? AND (expires IS NULL OR expires > ?)");
const put = database.prepare("INSERT OR REPLACE INTO kv (key, value, etag, expires) VALUES (?, ?, ?, ?)");
const remove = database.prepare("DELETE FROM kv WHERE key = ?");
const list = database.prepare(
  "SELECT key AS name, etag FROM kv WHERE key >= ? AND key < ? AND (expires IS NULL OR expires > ?) ORDER BY key LIMIT ?",
);

const digest = (text: string) => createHash("sha256").update(text).digest();
const expected = digest(`Bearer ${process.env.KV_API_KEY}`);

const app = new Hono();
app.get("/health", (c) => c.json({ status: 200, success: true, data: "OK" }));
app.use("/v1/*", async (c, next) => {
  if (timingSafeEqual(digest(c.req.header("Authorization") ?? ""), expected)) return next();
  return c.json({ status: 401, success: false, data: null }, 401);
});
app.get("/v1/kv", (c) => {
  const { prefix = "", limit = "1000" } = c.req.query();
  return c.json({
    status: 200,
    success: true,
    data: { keys: list.all(prefix, `${prefix}\u{10ffff}`, Date.now(), +limit) },
  });
});
app.get("/v1/kv/:key", (c) => {
  const row = get.get(c.req.param("key"), Date.now()) as { value: string; etag: string } | undefined;
  if (row === undefined) return c.json({ status: 404, success: false, data: null }, 404);
  if (c.req.header("If-None-Match") === row.etag) return c.body(null, 304, { ETag: row.etag });
  return c.json({ status: 200, success: true, data: JSON.parse(row.value) }, 200, { ETag: row.etag });
});
app.put("/v1/kv/:key", async (c) => {
  const { value, ttl } = await c.req.json<{ value: unknown; ttl?: number }>();
  const etag = `"${randomUUID()}"`;
  put.run(c.req.param("key"), JSON.stringify(value), etag, ttl === undefined ? null : Date.now() + ttl * 1000);
  return c.json({ status: 200, success: true, data: value }, 200, { ETag: etag });
});
app.delete("/v1/kv/:key", (c) => {
  return c.json({ status: 200, success: true, data: remove.run(c.req.param("key")).changes > 0 });
});

serve({ fetch: app.fetch, port: Number(port), hostname: "127.0.0.1" });
