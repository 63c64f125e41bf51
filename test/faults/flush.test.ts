import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Command, startCommand } from "../command.ts";
import { KEY, type RequestOptions, request } from "../support.ts";
import { buildShim, noShim, type Shim } from "./shim.ts";

if (noShim && process.env.CI) it("flushes that fail can be tested", () => expect(noShim).toBe(false));

describe.skipIf(noShim)(`a flush that fails${noShim ? ` (${noShim})` : ""}`, () => {
  let folder: string;
  let shim: Shim;
  const start = () => startCommand(folder, { env: { KV_API_KEY: KEY, ...shim.env(folder) } });
  const call = ({ url }: Command, method: string, path: string, options?: RequestOptions) =>
    request(url + path, method, options);

  beforeEach(() => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), "kv-flush-")));
    shim = buildShim();
  });
  afterEach(() => {
    shim[Symbol.dispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  it("is the last write of the process: none is acknowledged until a restart, and reads go on", async () => {
    const service = await start();
    expect((await call(service, "PUT", "/v1/kv/a", { body: { value: 1 } })).status).toBe(200);
    shim.set("flush");
    const failed = await call(service, "PUT", "/v1/kv/a", { body: { value: 2 } });
    expect([failed.status, failed.json.error]).toEqual([503, "unavailable"]);
    expect(failed.json.detail).toContain("the outcome of the write is unknown");
    shim.set("none");

    const writes = await Promise.all([
      call(service, "PUT", "/v1/kv/b", { body: { value: 1 } }),
      call(service, "DELETE", "/v1/kv/a"),
      call(service, "POST", "/v1/kv", { body: { operations: [{ op: "put", key: "c", value: 1 }], atomic: true } }),
      call(service, "POST", "/v1/kv", { body: { operations: [{ op: "put", key: "d", value: 1 }] } }),
    ]);
    const details = writes.map(({ json }) => json.detail ?? json.data[0].detail);
    expect(details).toEqual(Array(4).fill("The database takes no more writes until the service is restarted"));
    expect((await call(service, "GET", "/v1/kv/a")).json.data).toBe(1);
    expect((await call(service, "GET", "/v1/kv")).json.data.keys).toHaveLength(1);
    expect((await call(service, "GET", "/health")).status).toBe(200);
    expect((await call(service, "GET", "/ready")).status).toBe(503);
    const output = service.output();
    expect(output).toContain("disk I/O error; the disk cannot be read or written; see the log of the system");
    expect(output).toContain("a flush of the disk has failed; see to the disk, then restart the service");

    expect(await service.kill("SIGTERM")).toBe(0);
    await using again = await start();
    expect((await call(again, "PUT", "/v1/kv/b", { body: { value: 1 } })).status).toBe(200);
    expect((await call(again, "GET", "/ready")).status).toBe(200);
  });
});
