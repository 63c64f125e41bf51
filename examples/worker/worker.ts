import { kv } from "@workertown/kv";

export default kv();
