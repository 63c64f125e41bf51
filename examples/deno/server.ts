// KV_API_KEY=$(openssl rand -hex 24) deno serve --allow-env --allow-read --allow-write server.ts
import { kv } from "@workertown/kv";

export default kv();
