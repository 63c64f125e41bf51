import { kv } from "@workertown/kv";
import { upstashStorage } from "@workertown/kv/storage/upstash";

export default kv({
  runtime: (_context, env) => ({
    storage: upstashStorage({
      url: String(env.UPSTASH_REDIS_REST_URL),
      token: String(env.UPSTASH_REDIS_REST_TOKEN),
    }),
  }),
});
