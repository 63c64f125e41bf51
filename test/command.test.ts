import { execFile } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startCommand } from "./command.ts";
import { KEY, request } from "./support.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kv-command-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const env = { KV_API_KEY: KEY };

/** Runs the command to its end. */
function run(args: string[], variables: Record<string, string> = {}) {
  const command = ["--conditions=workertown-source", resolve("src/cli/main.ts"), ...args];
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    const options = { cwd: folder, env: { PATH: process.env.PATH, ...variables }, timeout: 20_000 };
    execFile(process.execPath, command, options, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

describe("a first start", () => {
  it("makes a key for its owner only, prints a curl line that works as it stands, and no secret", async () => {
    await using command = await startCommand(folder);
    const key = readFileSync(join(folder, "kv.sqlite.key"), "utf8").trim();
    expect(key.length).toBeGreaterThanOrEqual(32);
    expect(statSync(join(folder, "kv.sqlite.key")).mode & 0o777).toBe(0o600);
    const line = /curl .*/.exec(command.output())?.[0] as string;
    const answer = await new Promise<string>((resolve, reject) => {
      execFile("sh", ["-c", line], { cwd: folder }, (error, stdout) => (error ? reject(error) : resolve(stdout)));
    });
    expect(JSON.parse(answer)).toMatchObject({ status: 200, data: { keys: [] } });
    expect(command.output()).not.toContain(key);
  });

  it("is followed by starts that use the same key, and warn where others could read it", async () => {
    await (await startCommand(folder)).kill("SIGTERM");
    const key = readFileSync(join(folder, "kv.sqlite.key"), "utf8");
    chmodSync(join(folder, "kv.sqlite.key"), 0o644);
    await using command = await startCommand(folder);
    expect(readFileSync(join(folder, "kv.sqlite.key"), "utf8")).toBe(key);
    expect(statSync(join(folder, "kv.sqlite.key")).mode & 0o777).toBe(0o600);
    expect(command.output()).toContain("could be read by others");
  });

  it("of several at once ends with one key", async () => {
    const commands = await Promise.all(Array.from({ length: 4 }, () => startCommand(folder)));
    const key = readFileSync(join(folder, "kv.sqlite.key"), "utf8").trim();
    for (const { url } of commands) {
      const headers = { Authorization: `Bearer ${key}` };
      expect((await request(`${url}/v1/kv`, "GET", { headers })).status).toBe(200);
    }
    await Promise.all(commands.map((command) => command[Symbol.asyncDispose]()));
  });

  it("without a database file keeps the key in the working directory, and makes none where a credential is set", async () => {
    await (await startCommand(folder, { args: ["--db", ":memory:"] })).kill("SIGTERM");
    expect(existsSync(join(folder, "workertown-kv.key"))).toBe(true);
    await (await startCommand(folder, { env })).kill("SIGTERM");
    expect(existsSync(join(folder, "kv.sqlite.key"))).toBe(false);
  });
});

describe("settings", () => {
  it("come from flags, then variables, then an --env-file, which is read only where it is named", async () => {
    writeFileSync(join(folder, ".env"), `KV_API_KEY=from-the-env-file-1234\nKV_DB=file.sqlite\n`);
    const call = (url: string, key: string) =>
      request(`${url}/v1/kv`, "GET", { headers: { Authorization: `Bearer ${key}` } });
    await using plain = await startCommand(folder, { env: { ...env, KV_DB: "variable.sqlite" } });
    expect((await call(plain.url, KEY)).status).toBe(200);
    expect(existsSync(join(folder, "variable.sqlite"))).toBe(true);
    await using file = await startCommand(folder, { args: ["--env-file", ".env"] });
    expect((await call(file.url, "from-the-env-file-1234")).status).toBe(200);
    expect(existsSync(join(folder, "file.sqlite"))).toBe(true);
    await using flag = await startCommand(folder, { args: ["--env-file=.env", "--db=flag.sqlite"], env });
    expect((await call(flag.url, KEY)).status).toBe(200);
    expect(existsSync(join(folder, "flag.sqlite"))).toBe(true);
  });

  it("--help and --version say what there is", async () => {
    const help = await run(["--help"]);
    expect(help.code).toBe(0);
    for (const word of ["serve", "--port", "--host", "--db", "--log", "--env-file", "KV_API_KEY"]) {
      expect(help.stdout).toContain(word);
    }
    expect((await run(["serve", "--help"])).stdout).toBe(help.stdout);
    expect((await run(["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe("--log json", () => {
  const entriesOf = (output: string) =>
    output
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));

  it("makes every line an object, those of an error with its cause and the id of the request", async () => {
    await using command = await startCommand(folder, { args: ["--log", "json"], env });
    const call = (path: string, id: string) =>
      request(command.url + path, "GET", { headers: { "X-Request-Id": id }, contract: false });
    expect((await call("/v1/kv/absent", "reads")).status).toBe(404);
    const database = new DatabaseSync(join(folder, "kv.sqlite"));
    database.exec("DROP TABLE workertown_kv_entry");
    database.close();
    expect((await call("/v1/kv/absent", "fails")).status).toBeGreaterThanOrEqual(500);
    expect(await command.kill("SIGTERM")).toBe(0);
    const entries = entriesOf(command.output());
    const of = (id: string, level: string) => entries.find((one) => one.requestId === id && one.level === level);
    expect(entries[0]).toEqual({
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      level: "info",
      message: `Listening on ${command.url}, storing in kv.sqlite`,
    });
    const route = "/v1/kv/:key";
    expect(of("reads", "info")).toMatchObject({ method: "GET", route, status: 404, duration: expect.any(Number) });
    expect(Object.keys(of("reads", "info")).slice(0, 3)).toEqual(["time", "level", "message"]);
    expect(of("fails", "error").cause).toMatch(/no such table.*\n +at /);
    expect(of("fails", "info").status).toBeGreaterThanOrEqual(500);
  });

  it("holds by KV_LOG too, from the first line, for what ends the command as well", async () => {
    writeFileSync(join(folder, "kv.sqlite.key"), "a-key-of-some-length-0123", { mode: 0o644 });
    await using command = await startCommand(folder, { env: { KV_LOG: "json" } });
    await command.kill("SIGTERM");
    const entries = entriesOf(command.output());
    expect(entries.map(({ level }) => level).sort()).toEqual(["info", "info", "warn"]);
    const { code, stderr } = await run(["serve", "--db", "no/such/folder/kv.sqlite"], { ...env, KV_LOG: "json" });
    expect([code, entriesOf(stderr)]).toMatchObject([
      1,
      [{ level: "error", message: expect.stringContaining("there is no folder") }],
    ]);
  });
});

describe("what cannot be is one clear line and exit 1", () => {
  async function refusal(args: string[], variables: Record<string, string> = env): Promise<string> {
    const { code, stderr } = await run(["serve", "--port", "0", ...args], variables);
    expect(code, stderr).toBe(1);
    expect(stderr.trim().split("\n"), stderr).toHaveLength(1);
    expect(stderr).not.toContain("    at ");
    return stderr;
  }

  it.each([
    [["--port", "x"], '--port: expected a port from 0 to 65535, got "x"'],
    [["--port", "65536"], "--port: expected a port"],
    [["--log", "xml"], '--log: expected "text" or "json", got "xml"'],
    [["--prot", "1"], "Unknown option '--prot'"],
    [["more"], "more"],
    [["--host", ""], "Option '--host' is empty"],
    [["--db="], "Option '--db' is empty"],
    [["--db", "no/such/folder/kv.sqlite"], 'there is no folder "'],
    [["--db", "."], "it is a folder"],
    [["--db", "gopher://user:canary@host/db"], 'KV_DB: expected a file such as ./kv.sqlite, ":memory:"'],
    [["--host", "203.0.113.1"], "is not an address of this machine"],
  ])("%j", async (args, message) => {
    const stderr = await refusal(args);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain("canary");
  });

  it.each([
    [{ KV_JWT_SECRET: "short" }, "KV_JWT_SECRET: expected a secret of at least 32 bytes"],
    [{ KV_JWKS_URL: "http://example.com/jwks" }, "KV_JWKS_URL: expected an https URL"],
    [{ KV_API_KEY: "two words" }, "KV_API_KEY: expected a key of visible ASCII"],
    [{ ...env, PORT: "http" }, "PORT: expected a port"],
  ])("%j", async (variables, message) => {
    const args = "PORT" in variables ? ["serve"] : ["serve", "--port", "0"];
    const { code, stderr } = await run(args, variables);
    expect([code, stderr.trim().split("\n")]).toEqual([1, [expect.stringContaining(message)]]);
  });

  it("a port in use", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => other.once("listening", resolve));
    const { port } = other.address() as { port: number };
    expect(await refusal(["--port", String(port)])).toContain(`127.0.0.1:${port} is in use`);
    other.close();
  });

  it("an unknown command", async () => {
    const { code, stderr } = await run(["start"]);
    expect([code, stderr]).toEqual([1, 'Expected the command "serve", got "start"; see workertown-kv --help\n']);
  });

  it("a file that is no database, and a database from a newer version", async () => {
    writeFileSync(join(folder, "text.sqlite"), "not a database, but long enough to look like one ".repeat(40));
    expect(await refusal(["--db", "text.sqlite"])).toContain("it is not an SQLite database");
    const newer = new DatabaseSync(join(folder, "newer.sqlite"));
    newer.exec("PRAGMA user_version = 99");
    newer.close();
    expect(await refusal(["--db", "newer.sqlite"])).toContain("newer version");
  });

  it("a folder that cannot be written, by root neither", async () => {
    expect(await refusal(["--db", "/proc/kv.sqlite"])).toContain("check the permissions");
  });

  it("an --env-file that is not there, which Node itself refuses", async () => {
    const { code, stderr } = await run(["serve", "--env-file", "absent"]);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/^.*absent: not found\n$/);
  });
});

describe("a signal", () => {
  it.each(["SIGTERM", "SIGINT"] as const)("%s lets the request in flight finish, then ends with 0", async (signal) => {
    const command = await startCommand(folder, { env });
    const body = JSON.stringify({ value: "x".repeat(1000) });
    const { promise: started, resolve: start } = Promise.withResolvers<void>();
    const stream = new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(Buffer.from(body.slice(0, 500)));
        await started;
        controller.enqueue(Buffer.from(body.slice(500)));
        controller.close();
      },
    });
    const answer = fetch(`${command.url}/v1/kv/slow`, {
      method: "PUT",
      headers: { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" },
      body: stream,
      duplex: "half",
    } as RequestInit);
    // The first half has to be there before the signal is.
    await new Promise((resolve) => setTimeout(resolve, 100));
    const ended = command.kill(signal);
    await new Promise((resolve) => setTimeout(resolve, 100));
    start();
    expect((await answer).status).toBe(200);
    expect(await ended).toBe(0);
    await using again = await startCommand(folder, { env });
    expect((await request(`${again.url}/v1/kv/slow`, "GET")).json.data).toHaveLength(1000);
  });
});
