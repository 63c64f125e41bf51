// KV_DB=mysql://kv:password@127.0.0.1:3306/kv KV_API_KEY=$(openssl rand -hex 24) node server.ts
import { kv } from "@workertown/kv";
import { serve } from "@workertown/kv/node";
import { mysqlStorage } from "@workertown/kv/storage/mysql";

const storage = mysqlStorage({
  url: process.env.KV_DB ?? "mysql://kv@127.0.0.1:3306/kv",
  namespace: process.env.KV_NAMESPACE ?? "default",
});
const server = await serve(kv({ runtime: { storage } }), { port: Number(process.env.PORT ?? 3000) });
console.log(server.url);
