import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { ApiKeyOptions } from "../../src/auth/api-key.ts";
import { describeCallbacks } from "./callbacks.ts";
import { basicOf, refusalOf, startGuarded, startWatched } from "./support.ts";

const KEY = "key-one-0123456789abcdef";
const OTHER = "key-two-0123456789abcdef";
const READER = "reader-0123456789abcdef";
const WRITER = "writer-0123456789abcdef";
const only = (apiKey: ApiKeyOptions) => ({ apiKey, basic: false, jwt: false }) as const;
const idOf = (key: string) => `key-${createHash("sha256").update(key).digest("hex").slice(0, 8)}`;

describe("where a request has its key", () => {
  it.each([
    ["Bearer", { Authorization: `Bearer ${KEY}` }],
    ["the scheme in lower case", { Authorization: `bearer ${KEY}` }],
    ["the scheme in upper case and two spaces", { Authorization: `BEARER  ${KEY}` }],
    ["X-API-Key", { "X-API-Key": KEY }],
    ["X-API-Key beside a Bearer that is none", { Authorization: `Bearer ${OTHER}`, "X-API-Key": KEY }],
    ["X-API-Key beside Basic", { Authorization: basicOf("a", "b"), "X-API-Key": KEY }],
  ])("%s", async (_, headers) => {
    await using service = await startGuarded(only({ apiKey: KEY }));
    expect((await service.get(headers)).status).toBe(200);
  });

  it.each([
    ["nothing", {}],
    ["another key", { Authorization: `Bearer ${OTHER}` }],
    ["a part of it", { Authorization: `Bearer ${KEY.slice(0, -1)}` }],
    ["more than it", { Authorization: `Bearer ${KEY}0` }],
    ["another case", { Authorization: `Bearer ${KEY.toUpperCase()}` }],
    ["no scheme", { Authorization: KEY }],
    ["another scheme", { Authorization: `Token ${KEY}` }],
    ["an empty key", { Authorization: "Bearer ", "X-API-Key": "" }],
    ["Basic with it as password", { Authorization: basicOf("key", KEY) }],
    ["Basic with it as user name", { Authorization: basicOf(KEY, "") }],
    ["X-API-Key with a scheme", { "X-API-Key": `Bearer ${KEY}` }],
    ["two keys in X-API-Key", { "X-API-Key": `${KEY}, ${KEY}` }],
    ["a cookie", { Cookie: `apiKey=${KEY}` }],
    ["X-API-Key beside two credentials", { Authorization: `Bearer ${KEY}, Bearer ${KEY}`, "X-API-Key": KEY }],
    ["X-API-Key beside two without a blank", { Authorization: `Bearer ${KEY},${KEY}`, "X-API-Key": KEY }],
    ["X-API-Key beside a malformed credential", { Authorization: `Bearer ${KEY} ${KEY}`, "X-API-Key": KEY }],
  ])("refused: %s", async (_, headers) => {
    await using service = await startGuarded(only({ apiKey: KEY }));
    expect((await service.get(headers as Record<string, string>)).status).toBe(401);
  });

  it("refused: keys whose digest is the same in its first or its last byte", async () => {
    const digest = (key: string) => createHash("sha256").update(key).digest();
    const alike = (index: number) => {
      for (let number = 0; ; number++) if (digest(`${number}`).at(index) === digest(KEY).at(index)) return `${number}`;
    };
    await using service = await startGuarded(only({ apiKey: KEY }));
    for (const index of [0, -1]) expect(await service.status(`Bearer ${alike(index)}`)).toBe(401);
  });

  it("never the URL, whatever the parameter is called", async () => {
    await using service = await startGuarded(only({ apiKey: KEY }));
    for (const name of ["key", "apiKey", "api_key", "apikey", "access_token", "token", "X-API-Key", "authorization"]) {
      for (const path of ["/v1/kv/a", "/v1/kv", "/admin/info"]) {
        expect((await service.get({}, `${path}?${name}=${KEY}`)).status, `${path}?${name}`).toBe(401);
      }
    }
  });
});

describe("rotation", () => {
  it("takes any of an array", async () => {
    await using service = await startGuarded(only({ apiKey: [KEY, { key: OTHER, scope: "admin" }] }));
    for (const key of [KEY, OTHER]) expect(await service.status(`Bearer ${key}`)).toBe(200);
    expect(await service.status(`Bearer ${KEY},${OTHER}`)).toBe(401);
  });

  it.each(["\n", "\r\n", "\n\n", " \n\t"])("takes any line of KV_API_KEY, parted by %j", async (end) => {
    const env = { KV_API_KEY: end + KEY + end + OTHER + end };
    await using service = await startGuarded(only({}), { env });
    for (const key of [KEY, OTHER]) expect(await service.status(`Bearer ${key}`)).toBe(200);
    expect((await service.get({ Authorization: "Bearer ", "X-API-Key": "" })).status).toBe(401);
  });

  it("locks nobody out on its way, and the old key at its end", async () => {
    const env = { KV_API_KEY: KEY };
    await using service = await startGuarded(only({}), { env });
    const statuses = async () => [await service.status(`Bearer ${KEY}`), await service.status(`Bearer ${OTHER}`)];
    expect(await statuses()).toEqual([200, 401]);
    env.KV_API_KEY = `${KEY}\n${OTHER}`;
    expect(await statuses()).toEqual([200, 200]);
    env.KV_API_KEY = OTHER;
    expect(await statuses()).toEqual([401, 200]);
  });
});

describe("scopes", () => {
  const items = [
    { key: READER, scope: "read" },
    { key: WRITER, scope: "write" },
    { key: OTHER, scope: "admin" },
    KEY,
  ] as const;
  const get = { operations: [{ op: "get", key: "a" }] };
  const put = { operations: [...get.operations, { op: "put", key: "a", value: 1 }] };
  const remove = { operations: [...get.operations, { op: "delete", key: "a" }] };

  it.each([
    ["GET", "/v1/kv/a", undefined, "read"],
    ["HEAD", "/v1/kv/a", undefined, "read"],
    ["GET", "/v1/kv", undefined, "read"],
    ["POST", "/v1/kv", get, "read"],
    ["PUT", "/v1/kv/a", { value: 1 }, "write"],
    ["DELETE", "/v1/kv/b", undefined, "write"],
    ["POST", "/v1/kv", put, "write"],
    ["POST", "/v1/kv", remove, "write"],
    ["GET", "/admin/info", undefined, "admin"],
    ["GET", "/admin/export", undefined, "admin"],
    ["POST", "/admin/migrate", undefined, "admin"],
  ] as const)("%s %s %j needs %s", async (method, path, body, needed) => {
    await using service = await startGuarded(only({ apiKey: items }));
    await service.send("PUT", "/v1/kv/a", { "X-API-Key": KEY }, { value: 1 });
    const scopes = ["read", "write", "admin"];
    for (const [key, scope] of [
      [READER, "read"],
      [WRITER, "write"],
      [OTHER, "admin"],
      [KEY, "admin"],
    ] as const) {
      const answer = await service.send(method, path, { Authorization: `Bearer ${key}` }, body);
      const may = scopes.indexOf(scope) >= scopes.indexOf(needed);
      expect(answer.status, scope).toBe(may ? 200 : 403);
      if (!may) expect(answer.json).toMatchObject({ error: "forbidden", success: false, data: null });
    }
  });

  it("KV_API_KEY is admin, KV_READ_API_KEY reads, and both take several lines", async () => {
    const env = { KV_API_KEY: `${KEY}\n${OTHER}`, KV_READ_API_KEY: `${READER}\n${WRITER}` };
    await using service = await startWatched(only({}), { env });
    for (const key of [KEY, OTHER, READER, WRITER]) expect(await service.status(`Bearer ${key}`)).toBe(200);
    expect(service.callers.map((caller) => caller?.scope)).toEqual(["admin", "admin", "read", "read"]);
    const body = { value: 1 };
    expect((await service.send("PUT", "/v1/kv/a", { "X-API-Key": READER }, body)).status).toBe(403);
    expect((await service.send("PUT", "/v1/kv/a", { "X-API-Key": KEY }, body)).status).toBe(200);
  });

  it("of a key that is given twice are those of the first", async () => {
    const twice = { apiKey: [{ key: KEY, scope: "read" }, KEY] } as const;
    await using coded = await startWatched(only(twice));
    await using named = await startWatched(only({}), { env: { KV_API_KEY: KEY, KV_READ_API_KEY: KEY } });
    for (const service of [coded, named]) await service.status(`Bearer ${KEY}`);
    expect([coded, named].map(({ callers }) => callers[0]?.scope)).toEqual(["read", "admin"]);
  });

  it("the principal has the item's id, else key- and the beginning of its digest", async () => {
    const item = { key: READER, id: "dashboard", scope: "read" } as const;
    await using service = await startWatched(only({ apiKey: [item, KEY] }));
    for (const key of [READER, KEY]) await service.status(`Bearer ${key}`);
    expect(service.callers).toEqual([
      { id: "dashboard", strategy: "api-key", scope: "read" },
      { id: idOf(KEY), strategy: "api-key", scope: "admin" },
    ]);
  });
});

describe("configuration", () => {
  it("in code wins over KV_API_KEY; KV_READ_API_KEY holds beside it", async () => {
    const env = { KV_API_KEY: OTHER, KV_READ_API_KEY: READER };
    await using service = await startGuarded(only({ apiKey: KEY }), { env });
    expect(await service.status(`Bearer ${KEY}`)).toBe(200);
    expect(await service.status(`Bearer ${OTHER}`)).toBe(401);
    expect(await service.status(`Bearer ${READER}`)).toBe(200);
  });

  it("is read from other variables where they are named", async () => {
    const env = { KV_API_KEY: "old-admin", KV_READ_API_KEY: "old-reader", MINE: KEY, THEIRS: READER };
    await using service = await startWatched(only({ env: { apiKey: "MINE", readApiKey: "THEIRS" } }), { env });
    for (const key of ["old-admin", "old-reader"]) expect(await service.status(`Bearer ${key}`)).toBe(401);
    for (const key of [KEY, READER]) expect(await service.status(`Bearer ${key}`)).toBe(200);
    expect(service.callers.slice(2).map((caller) => caller?.scope)).toEqual(["admin", "read"]);
  });

  it.each(["", " ", "\n", "\r\n\t"])("%j counts as not configured, and a warning says so", async (blank) => {
    const cases: [ApiKeyOptions, Record<string, string>, RegExp][] = [
      [{}, { KV_API_KEY: blank }, /^KV_API_KEY .*empty/],
      [{}, { KV_READ_API_KEY: blank }, /^KV_READ_API_KEY .*empty/],
      [{ apiKey: blank }, {}, /^auth\.apiKey\.apiKey .*empty/],
      [{ apiKey: [{ key: blank, scope: "admin" }] }, {}, /^auth\.apiKey\.apiKey .*empty/],
    ];
    for (const [options, env, warning] of cases) {
      await using service = await startGuarded(only(options), { env });
      for (const Authorization of ["", "Bearer", "Bearer ", "Bearer undefined", "Bearer null"]) {
        expect((await service.get({ Authorization, "X-API-Key": "" })).status).toBe(401);
        expect((await service.get({ Authorization })).status).toBe(401);
      }
      expect(service.warnings).toContainEqual(expect.stringMatching(warning));
      expect((await service.get({})).headers.get("WWW-Authenticate")).toBe("Bearer");
    }
  });

  it("a blank one beside another costs that one nothing", async () => {
    await using service = await startGuarded(only({ apiKey: ["", KEY] }));
    expect(await service.status(`Bearer ${KEY}`)).toBe(200);
    expect(await service.status("Bearer ")).toBe(401);
  });

  it.each(["canary key", "canary,key", "canary\u00e9", "canary\u0007"])(
    "%j is refused by name: no header carries it",
    async (key) => {
      expect(await refusalOf(startGuarded(only({ apiKey: [KEY, key] })))).toMatchObject({
        name: "TypeError",
        message: expect.stringMatching(/^auth\.apiKey\.apiKey: (?!.*canary)/),
      });
      for (const name of ["KV_API_KEY", "KV_READ_API_KEY"]) {
        expect(await refusalOf(startGuarded(only({}), { env: { [name]: `${KEY}\n${key}` } }))).toMatchObject({
          name: "TypeError",
          message: expect.stringMatching(new RegExp(`^${name}: (?!.*canary)`)),
        });
      }
    },
  );
});

describe("a key under 20 characters", () => {
  const short = "canary-0123456789-x";

  it.each<[string, ApiKeyOptions, Record<string, string>]>([
    ["auth.apiKey.apiKey", { apiKey: short }, {}],
    ["auth.apiKey.apiKey", { apiKey: [KEY, { key: short, scope: "admin" }] }, {}],
    ["KV_API_KEY", {}, { KV_API_KEY: `${KEY}\n${short}` }],
    ["KV_READ_API_KEY", { apiKey: KEY }, { KV_READ_API_KEY: short }],
    ["MINE", { env: { apiKey: "MINE" } }, { MINE: short }],
  ])("is warned about at the start by the name %s, with the mend and not the key", async (name, options, env) => {
    await using service = await startGuarded(only(options), { env });
    expect(service.warnings).toEqual([
      `${name}: expected a secret of at least 20 characters; openssl rand -hex 32 makes one`,
    ]);
    expect(await service.status(`Bearer ${short}`)).toBe(200);
  });

  it("and one of 20 is not", async () => {
    const env = { KV_API_KEY: `${short}y`, KV_READ_API_KEY: KEY };
    await using service = await startGuarded(only({}), { env });
    expect(service.warnings).toEqual([]);
  });
});

describeCallbacks<string, string>({
  option: "auth.apiKey",
  auth: (callbacks) => only({ apiKey: KEY, ...callbacks }),
  authorization: () => `Bearer ${KEY}`,
  credential: () => KEY,
  verified: KEY,
  principal: { id: idOf(KEY), scope: "admin" },
});

it("verifyCredentials decides in place of the keys that are configured, and is not asked about nothing", async () => {
  const asked: string[] = [];
  const verifyCredentials = (key: string) => {
    asked.push(key);
    return key !== KEY;
  };
  for (const options of [{ verifyCredentials }, { apiKey: KEY, verifyCredentials }]) {
    await using service = await startGuarded(only(options));
    expect(await service.status(`Bearer ${OTHER}`)).toBe(200);
    expect(await service.status(`Bearer ${KEY}`)).toBe(401);
    expect((await service.get({ "X-API-Key": "" })).status).toBe(401);
  }
  expect(asked).toEqual([OTHER, KEY, OTHER, KEY]);
});
