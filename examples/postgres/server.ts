// npm install @workertown/kv pg
// createuser --pwprompt kv && createdb --owner=kv --encoding=UTF8 --template=template0 kv
// KV_API_KEY=$(openssl rand -hex 24) KV_DB=postgres://kv:password@localhost/kv node server.ts
import { kv } from "@workertown/kv";
import { serve } from "@workertown/kv/node";

const server = await serve(kv(), { port: Number(process.env.PORT ?? 3000) });
console.log(server.url);
