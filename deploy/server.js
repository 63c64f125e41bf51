/** The service behind a proxy on the same machine: KV_API_KEY=… node server.js */
import { kv } from "@workertown/kv";
import { serve } from "@workertown/kv/node";

const app = kv({
  access: {
    // Whose X-Forwarded-For is believed; without this every client would have the proxy's address.
    trustProxy: ["127.0.0.1/32"],
    rateLimit: { limit: 600, window: 60 },
  },
  logger: (entry) => console.log(JSON.stringify(entry)),
});

await serve(app, { port: Number(process.env.PORT ?? 3000), host: process.env.HOST ?? "127.0.0.1" });
