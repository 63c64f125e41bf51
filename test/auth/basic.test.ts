import { describe, expect, it } from "vitest";
import type { BasicCredentials, BasicOptions } from "../../src/auth/basic.ts";
import { describeCallbacks } from "./callbacks.ts";
import { basicOf, refusalOf, startGuarded, startWatched } from "./support.ts";

const USER = { username: "ada", password: "correct horse" };
const only = (basic: BasicOptions) => ({ basic, apiKey: false, jwt: false }) as const;

describe("Authorization: Basic", () => {
  it("lets in who has the user name and the password, as admin", async () => {
    await using service = await startWatched(only(USER));
    const Authorization = basicOf(USER.username, USER.password);
    expect((await service.get({ Authorization }, "/admin/info")).status).toBe(200);
    expect(service.callers).toEqual([{ id: "ada", strategy: "basic", scope: "admin" }]);
  });

  it.each([
    ["a wrong user name with the right password", basicOf("bob", USER.password)],
    ["the right user name with a wrong password", basicOf(USER.username, "wrong")],
    ["both swapped", basicOf(USER.password, USER.username)],
    ["another case", basicOf("Ada", USER.password)],
    ["a shorter password", basicOf(USER.username, USER.password.slice(0, -1))],
    ["a longer password", basicOf(USER.username, `${USER.password} `)],
    ["the colon elsewhere", `Basic ${btoa("adac:orrect horse")}`],
    ["an empty password", basicOf(USER.username, "")],
    ["an empty user name", basicOf("", USER.password)],
    ["no colon", `Basic ${btoa(USER.username + USER.password)}`],
    ["nothing", "Basic"],
    ["no base64", `Basic ${USER.username}:${USER.password}`],
    ["base64 of no UTF-8", `Basic ${Buffer.from("ada:\xff", "latin1").toString("base64")}`],
    ["another scheme", `Bearer ${btoa(`${USER.username}:${USER.password}`)}`],
    ["a scheme without a credential before it", btoa(`${USER.username}:${USER.password}`)],
  ])("refuses %s", async (_, authorization) => {
    await using service = await startGuarded(only(USER));
    expect(await service.status(authorization)).toBe(401);
  });

  it.each(["basic", "BASIC", "bAsIc"])("takes the scheme as %s", async (scheme) => {
    await using service = await startGuarded(only(USER));
    expect(await service.status(basicOf(USER.username, USER.password).replace("Basic", scheme))).toBe(200);
  });

  it.each([
    ["ada", "a:b::c:"],
    ["ada", ":"],
    ["jürgen", "пароль 密码 🔑"],
    ["\uFEFFada", "\uFEFFpass"],
  ])("holds %s with the password %s", async (username, password) => {
    await using service = await startGuarded(only({ username, password }));
    expect(await service.status(basicOf(username, password))).toBe(200);
    expect(await service.status(basicOf(username, `${password}:`))).toBe(401);
    expect(await service.status(basicOf(username, password.slice(1)))).toBe(401);
    expect(await service.status(basicOf(username.slice(1), password))).toBe(401);
  });

  it("reads the credential as UTF-8, which the challenge says", async () => {
    await using service = await startGuarded(only({ username: "jürgen", password: "größe" }));
    const latin1 = `Basic ${Buffer.from("jürgen:größe", "latin1").toString("base64")}`;
    const refused = await service.get({ Authorization: latin1 });
    expect(refused.status).toBe(401);
    expect(refused.headers.get("WWW-Authenticate")).toBe('Basic realm="kv", charset="UTF-8"');
    // What is no UTF-8 is nothing, and not the character that stands for it.
    await using replaced = await startGuarded(only({ username: "ada", password: "\uFFFD" }));
    expect(await replaced.status(`Basic ${Buffer.from("ada:\xff", "latin1").toString("base64")}`)).toBe(401);
    expect(await replaced.status(basicOf("ada", "\uFFFD"))).toBe(200);
  });
});

describe("configuration", () => {
  it("comes from the variables, renamed ones too, and code wins over them", async () => {
    const env = { KV_USERNAME: "ada", KV_PASSWORD: "one", NAME: "bob", PASS: "two" };
    const cases: [BasicOptions, string, string][] = [
      [{}, "ada", "one"],
      [{ env: { username: "NAME", password: "PASS" } }, "bob", "two"],
      [{ password: "three" }, "ada", "three"],
      [{ username: "eve", password: "four" }, "eve", "four"],
    ];
    for (const [options, username, password] of cases) {
      await using service = await startGuarded(only(options), { env });
      for (const user of ["ada", "bob", "eve"]) {
        for (const pass of ["one", "two", "three", "four"]) {
          const expected = user === username && pass === password ? 200 : 401;
          expect(await service.status(basicOf(user, pass)), `${user} ${pass}`).toBe(expected);
        }
      }
    }
  });

  it.each([
    [{ KV_USERNAME: "ada" }, "KV_PASSWORD"],
    [{ KV_PASSWORD: "secret" }, "KV_USERNAME"],
    [{ KV_USERNAME: "ada", KV_PASSWORD: "" }, "KV_PASSWORD"],
    [{ KV_USERNAME: "ada", KV_PASSWORD: " \n" }, "KV_PASSWORD"],
    [{ KV_USERNAME: " ", KV_PASSWORD: "secret" }, "KV_USERNAME"],
  ])("%j lets nobody in, and a warning names %s", async (env, missing) => {
    await using service = await startGuarded(only({}), { env });
    for (const username of ["ada", "", " "]) {
      for (const password of ["secret", "", " \n", "undefined"]) {
        expect(await service.status(basicOf(username, password))).toBe(401);
      }
    }
    expect(service.warnings).toContainEqual(expect.stringMatching(`Basic.* ${missing} is not set`));
    expect(service.warnings.join()).not.toContain("secret");
    expect((await service.get({})).headers.get("WWW-Authenticate")).toBe("Bearer");
  });

  it("a blank option counts as not configured, and a warning names it", async () => {
    await using service = await startGuarded(only({ username: "ada", password: " " }));
    expect(await service.status(basicOf("ada", " "))).toBe(401);
    expect(service.warnings).toContainEqual(expect.stringMatching(/^auth\.basic\.password .*empty/));
  });

  it.each<[string, BasicOptions, Record<string, string>]>([
    ["auth.basic.password", { username: "ada", password: "canary7" }, {}],
    ["KV_PASSWORD", {}, { KV_USERNAME: "ada", KV_PASSWORD: "canary7" }],
  ])("a password under 8 characters is warned about by the name %s, and not quoted", async (name, options, env) => {
    await using service = await startGuarded(only(options), { env });
    expect(service.warnings).toEqual([expect.stringMatching(`^${name}: (?!.*canary).* at least 8 characters`)]);
    expect(await service.status(basicOf("ada", "canary7"))).toBe(200);
    await using other = await startGuarded(only({ username: "ada", password: "canary-8" }));
    expect(other.warnings).toEqual([]);
  });

  it("a user name with a colon is refused by name: nobody could send it", async () => {
    const password = "canary";
    expect(await refusalOf(startGuarded(only({ username: "a:b", password })))).toMatchObject({
      name: "TypeError",
      message: expect.stringMatching(/^auth\.basic\.username: (?!.*canary)/),
    });
    const env = { KV_USERNAME: "a:b", KV_PASSWORD: password };
    expect(await refusalOf(startGuarded(only({}), { env }))).toMatchObject({
      name: "TypeError",
      message: expect.stringMatching(/^KV_USERNAME: (?!.*canary)/),
    });
  });
});

describeCallbacks<BasicCredentials, BasicCredentials>({
  option: "auth.basic",
  auth: (callbacks) => only({ ...USER, ...callbacks }),
  authorization: () => basicOf(USER.username, USER.password),
  credential: () => USER,
  verified: USER,
  principal: { id: "ada", scope: "admin" },
});

it("verifyCredentials is not asked about what is no user name and password", async () => {
  const asked: unknown[] = [];
  const verifyCredentials = (credentials: unknown) => {
    asked.push(credentials);
    return true;
  };
  await using service = await startGuarded(only({ verifyCredentials }));
  for (const text of ["", "ada", "\xff:\xff"]) {
    expect(await service.status(`Basic ${Buffer.from(text, "latin1").toString("base64")}`)).toBe(401);
  }
  for (const credential of ["ada:pass", "=", "YWRh*jpw", ""])
    expect(await service.status(`Basic ${credential}`)).toBe(401);
  expect(asked).toEqual([]);
});

it("verifyCredentials decides in place of the user that is configured, and needs none", async () => {
  const verifyCredentials = ({ username }: { username: string }) => username === "eve";
  for (const options of [{ verifyCredentials }, { ...USER, verifyCredentials }]) {
    await using service = await startGuarded(only(options));
    expect(await service.status(basicOf("eve", "anything"))).toBe(200);
    expect(await service.status(basicOf(USER.username, USER.password))).toBe(401);
  }
});

it("getCredentials does not move the colon: a user name and a password are two texts", async () => {
  let given = { username: "ada", password: "correct:horse" };
  await using service = await startGuarded(only({ ...given, getCredentials: () => given }));
  expect((await service.get({})).status).toBe(200);
  given = { username: "ada:correct", password: "horse" };
  expect((await service.get({})).status).toBe(401);
});
