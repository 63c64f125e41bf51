// KV_API_KEY=$(openssl rand -hex 24) bun server.ts
import { kv } from "@workertown/kv";

export default kv();
