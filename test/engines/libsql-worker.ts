/** The adapter for libSQL inside a Worker, on the server that its bindings name. */
import { libsqlStorage } from "../../src/storage/libsql.ts";
import { create, NOW, put, textOf } from "./libsql-shared-entries.ts";

export default {
  async fetch(_request: Request, { url, authToken }: { url: string; authToken: string }): Promise<Response> {
    const storage = libsqlStorage({ url, authToken, namespace: "worker" });
    const outcomes = [
      await storage.write([put("k", "1.0")], { now: NOW, atomic: false }),
      await storage.write([create("k", "2"), put("l", "2")], { now: NOW, atomic: false }),
    ];
    const entries = await storage.getMany?.(["k", "l", "m"], 100);
    return Response.json([...outcomes, entries?.map(textOf)]);
  },
};
