import { kv } from "@workertown/kv";
import { type DurableObjectNamespaceLike, durableObjectStorage } from "@workertown/kv/storage/durable-object";

export { KvDurableObject } from "@workertown/kv/storage/durable-object";

export default kv({
  runtime: (_context, env) => ({ storage: durableObjectStorage(env.KV_DO as DurableObjectNamespaceLike) }),
});
