/** The service that the fuzzer sends to, as a process of its own; FUZZ_FAULT plants a fault that it must find. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { type KvApp, type KvOptions, kv } from "../../src/index.ts";
import { createHttpServer } from "../../src/node-http.ts";
import { sqliteStorage } from "../../src/storage/sqlite.ts";
import { KEY, PASSWORD, SECRET, USER } from "./credentials.ts";

const fault = process.env.FUZZ_FAULT ?? "";
const memory = sqliteStorage({ path: ":memory:" });
const isPlanted = (key: string) => key.startsWith("f-x/y");

const storage: typeof memory = {
  ...memory,
  get(key) {
    if (fault === "exception" && isPlanted(key)) throw new TypeError("planted");
    if (fault === "stall" && isPlanted(key)) for (;;);
    if (fault === "crash" && isPlanted(key)) setImmediate(() => Promise.reject(new Error("planted")));
    return memory.get(key);
  },
  write(operations, options) {
    if (fault === "canary" && operations.some(({ key }) => isPlanted(key))) {
      void memory.write([{ kind: "delete", key: "canary" }], options);
    }
    return memory.write(operations, options);
  },
};

const auth: KvOptions["auth"] = {
  apiKey: { apiKey: KEY },
  basic: { username: USER, password: PASSWORD },
  jwt: { secret: SECRET },
  ...(fault === "open" && { authenticateRequest: () => ({ id: "anybody" }) as never }),
};

/** What the app answers, with the fault in it. */
function planted(app: KvApp): KvApp {
  const fetch: KvApp["fetch"] = async (request, ...rest) => {
    const answer = await app.fetch(request, ...rest);
    if (fault === "envelope" && answer.status === 404) return new Response("Not found", { status: 404 });
    if (fault === "hang" && answer.status === 404) return new Promise<Response>(() => {});
    return answer;
  };
  return Object.create(app, { fetch: { value: fetch } }) as KvApp;
}

const app = kv({ auth, runtime: { storage }, logger: false, limits: { value: 1_000_000, inFlight: 400_000_000 } });
await app.ready();
const server = createHttpServer(planted(app), { fast: fault !== "envelope" && fault !== "hang" });
server.listen(0, "127.0.0.1");
await once(server, "listening");
process.send?.((server.address() as AddressInfo).port);
process.on("disconnect", () => process.exit(0));
