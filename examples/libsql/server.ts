// npm install @workertown/kv @libsql/client
// KV_API_KEY=$(openssl rand -hex 24) LIBSQL_URL=libsql://… LIBSQL_TOKEN=… node server.ts
import { kv } from "@workertown/kv";
import { serve } from "@workertown/kv/node";
import { libsqlStorage } from "@workertown/kv/storage/libsql";

const { LIBSQL_URL = "file:kv.db", LIBSQL_TOKEN, PORT = "3000" } = process.env;
const storage = libsqlStorage({ url: LIBSQL_URL, ...(LIBSQL_TOKEN && { authToken: LIBSQL_TOKEN }) });
const server = await serve(kv({ runtime: { storage } }), { port: Number(PORT) });
console.log(server.url);
