import { kv } from "@workertown/kv";
import { dynamodbOptions, dynamodbStorage } from "@workertown/kv/storage/dynamodb";

export default kv({
  runtime: (_context, env) => ({ storage: dynamodbStorage(dynamodbOptions(String(env.KV_DB), env)) }),
});
