// KV_DB=redis://127.0.0.1:6379 KV_API_KEY=$(openssl rand -hex 24) node server.ts
import { kv } from "@workertown/kv";
import { serve } from "@workertown/kv/node";
import { redisStorage } from "@workertown/kv/storage/redis";

const storage = redisStorage({
  url: process.env.KV_DB ?? "redis://127.0.0.1:6379",
  namespace: process.env.KV_NAMESPACE ?? "default",
});
const server = await serve(kv({ runtime: { storage } }), { port: Number(process.env.PORT ?? 3000) });
console.log(server.url);
