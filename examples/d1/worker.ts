import { kv } from "@workertown/kv";
import { type D1DatabaseLike, d1Storage } from "@workertown/kv/storage/d1";

export default kv({
  runtime: (_context, env) => ({ storage: d1Storage(env.KV_DB as D1DatabaseLike) }),
});
