/** Runs the conformance suite inside a Worker: `GET /?test=3&binding=KV3` answers what was wrong, or nothing. */
import { type KvNamespaceLike, workersKvStorage } from "../../src/storage/workers-kv.ts";
import { adapterSubject, storageConformance } from "../../src/testing/conformance.ts";

export default {
  async fetch(request: Request, env: Record<string, KvNamespaceLike>): Promise<Response> {
    const query = new URL(request.url).searchParams;
    const adapter = workersKvStorage(env[query.get("binding") as string] as KvNamespaceLike);
    const conformance = storageConformance()[Number(query.get("test"))];
    try {
      await conformance?.run(adapterSubject(adapter, { now: Date.now() }));
      return new Response("");
    } catch (error) {
      return new Response(error instanceof Error ? `${error.name}: ${error.message}` : String(error), { status: 500 });
    }
  },
};
