/** Runs a Worker with its Durable Objects on disk until it is killed: `node durable-object-run.ts <script> <folder> <port>`. */
import { readFileSync } from "node:fs";
import { Miniflare } from "miniflare";

const [script = "", folder = "", port = ""] = process.argv.slice(2);

const miniflare = new Miniflare({
  modules: true,
  script: readFileSync(script, "utf8"),
  compatibilityDate: "2026-07-01",
  durableObjects: { KV_DO: { className: "KvDurableObject", useSQLite: true } },
  durableObjectsPersist: folder,
  // Not through Miniflare's own Worker before ours, which takes longer than all the rest.
  unsafeDirectSockets: [{ host: "127.0.0.1", port: Number(port) }],
  cf: false,
});
await miniflare.ready;
