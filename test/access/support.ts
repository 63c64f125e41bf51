/** A service with `access`, over real HTTP. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterEach } from "vitest";
import type { AccessOptions } from "../../src/access/access.ts";
import { type KvOptions, kv } from "../../src/index.ts";
import { createHttpServer } from "../../src/node-http.ts";
import { memoryStorage } from "../../src/storage/memory.ts";
import { KEY, request } from "../support.ts";

/** Run after each test, the last one first. */
export const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

export interface Started {
  url: string;
  warnings: string[];
  clock: { now: number };
}

/** A service on both loopback addresses, by a clock of the test's; with `fast: false` every request goes through the app. */
export async function start(
  access: AccessOptions,
  { fast = true, ...options }: KvOptions & { fast?: boolean } = {},
): Promise<Started> {
  const warnings: string[] = [];
  const clock = { now: 1_800_000_000_000 };
  const app = kv({
    auth: { apiKey: { apiKey: KEY }, basic: { username: "ann", password: "correct horse" } },
    access,
    logger: ({ level, message }) => void (level === "warn" && warnings.push(message)),
    runtime: { storage: memoryStorage(), now: () => clock.now },
    ...options,
  });
  await app.ready();
  const server = createHttpServer(app, { fast });
  server.listen(0, "::");
  await once(server, "listening");
  stops.push(() => {
    server.closeAllConnections();
    server.close();
    return app.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, warnings, clock };
}

export const basic = (password: string, user = "ann") => ({ Authorization: `Basic ${btoa(`${user}:${password}`)}` });
export const from = (address: string) => ({ "X-Forwarded-For": address });
export const get = (url: string, headers: Record<string, string> = {}, path = "/v1/kv/a") =>
  request(url + path, "GET", { headers });
export const status = async (url: string, headers?: Record<string, string>, path?: string) =>
  (await get(url, headers, path)).status;
