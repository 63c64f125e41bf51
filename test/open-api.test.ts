import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { kv } from "../src/index.ts";
import { memoryStorage } from "../src/storage/memory.ts";
import { document, faults, type Operation, seen } from "./contract.ts";
import { KEY, request, startService, type TestService } from "./support.ts";

let service: TestService;

beforeAll(async () => {
  service = await startService();
  await service.call("PUT", "/v1/kv/some%2Fkey", { body: { value: 1 } });
});
afterAll(() => service[Symbol.asyncDispose]());

const METHODS = ["get", "head", "put", "post", "delete"];
const operations = Object.entries(document.paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]): [string, string, string, Operation] => [
    operation.operationId,
    method,
    path,
    operation,
  ]),
);

/** A value that a schema takes, from its own words. */
function sample(schema: Record<string, unknown>): unknown {
  if ("const" in schema) return schema.const;
  if (Array.isArray(schema.enum)) return schema.enum[0];
  if (Array.isArray(schema.anyOf)) return sample(schema.anyOf[0]);
  const type = [schema.type].flat()[0];
  if (type === "object") {
    const required = new Set((schema.required ?? []) as string[]);
    const members = Object.entries((schema.properties ?? {}) as Record<string, Record<string, unknown>>);
    return Object.fromEntries(members.filter(([name]) => required.has(name)).map(([name, one]) => [name, sample(one)]));
  }
  if (type === "array") return [sample(schema.items as Record<string, unknown>)];
  return { string: "sample", number: 60, integer: 1, boolean: false }[type as string] ?? null;
}

describe("the document", () => {
  it("has every route that is registered, and no other", () => {
    const app = kv({ logger: false });
    const registered = app.routes
      .filter(({ method }) => METHODS.includes(method.toLowerCase()))
      .map(({ method, path }) => `${method.toLowerCase()} ${path.replace(/:key\{.*/, "{key}")}`);
    const described = operations
      .map(([, method, path]) => `${method} ${path}`)
      .filter((one) => !one.startsWith("head"));
    expect([...new Set(registered)].sort()).toEqual(described.sort());
    const gets = operations.filter(([, method]) => method === "get").map(([, , path]) => path);
    expect(operations.filter(([, method]) => method === "head").map(([, , path]) => path)).toEqual(gets);
  });

  it("has an operationId of its own for each, and examples that its schemas take", () => {
    expect(new Set(operations.map(([id]) => id)).size).toBe(operations.length);
    let examples = 0;
    for (const [id, , , { responses }] of operations) {
      for (const { content = {} } of Object.values(responses)) {
        for (const { schema, example } of Object.values(content)) {
          if (example === undefined) continue;
          examples += 1;
          expect(faults(schema, example), id).toBe("");
        }
      }
    }
    expect(examples).toBeGreaterThan(0);
  });

  it("needs a credential for all but the public routes", () => {
    const open = operations.filter(([, , , { security }]) => security?.length === 0).map(([, , path]) => path);
    expect([...new Set(open)]).toEqual(["/health", "/ready", "/open-api.json"]);
  });

  it.each(operations)("is enough to call %s", async (_id, method, path, operation) => {
    const query = new URLSearchParams();
    for (const { name, in: place, schema } of operation.parameters) {
      if (place === "query" && name !== "cursor") query.set(name, String(sample(schema)));
    }
    const [type = "", { schema = {} } = {}] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
    const { status } = await service.call(
      method.toUpperCase(),
      `${path.replace("{key}", "some%2Fkey")}${query.size > 0 ? `?${query}` : ""}`,
      operation.requestBody && { body: sample(schema), headers: { "Content-Type": type } },
    );
    expect(status).toBe(200);
  });

  it("is under the instance's own paths, mount and group by group", async () => {
    const app = kv({
      basePath: "/api",
      endpoints: { v1: { kv: "/keys", admin: false }, public: "/status" },
      logger: false,
    });
    const own = (await (await app.request("/api/status/open-api.json")).json()) as typeof document & {
      servers: { url: string }[];
    };
    expect(Object.keys(own.paths)).toEqual([
      "/api/status/health",
      "/api/status/ready",
      "/api/status/open-api.json",
      "/api/keys/{key}",
      "/api/keys",
    ]);
    expect(own.servers).toEqual([{ url: "/" }]);
  });
});

describe("every answer of the suite is held to it", () => {
  it("so that one with an unknown member, status or header is refused", async () => {
    const { checkAnswer } = await import("./contract.ts");
    const headers = new Headers({ "Content-Type": "application/json", "X-Request-Id": "x", ETag: '"x"' });
    const answer = {
      method: "GET",
      url: "http://x/v1/kv/a",
      status: 200,
      headers,
      text: '{"status":200,"success":true,"data":1}',
    };
    expect(() => checkAnswer(answer)).not.toThrow();
    expect(() => checkAnswer({ ...answer, text: '{"status":200,"data":1}' })).toThrow(/success/);
    expect(() => checkAnswer({ ...answer, status: 201 })).toThrow(/not a status/);
    expect(() => checkAnswer({ ...answer, method: "PATCH" })).toThrow(/no such operation/);
    expect(() => checkAnswer({ ...answer, headers: new Headers({ "Content-Type": "application/json" }) })).toThrow(
      /header/,
    );
    expect(seen.size).toBeGreaterThan(10);
  });

  it("in a problem as in a success", async () => {
    const anonymous = await request(`${service.url}/v1/kv/a`, "GET", { headers: { Authorization: "" } });
    expect(anonymous.status).toBe(401);
    await using other = await startService({
      runtime: { storage: memoryStorage() },
      auth: { apiKey: { apiKey: KEY } },
    });
    expect((await other.call("POST", "/nowhere")).status).toBe(404);
  });
});
