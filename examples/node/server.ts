// KV_API_KEY=$(openssl rand -hex 24) node server.ts
import { kv } from "@workertown/kv";
import { serve } from "@workertown/kv/node";

const server = await serve(kv(), { port: Number(process.env.PORT ?? 3000) });
console.log(server.url);
