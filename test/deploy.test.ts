/** What is in `deploy/`, held to the service that it deploys. */
import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { memoryStorage } from "../src/storage/memory.ts";
import { sqliteStorage } from "../src/storage/sqlite.ts";
import { parseExposition, type Samples } from "./exposition.ts";
import { startService } from "./support.ts";

const fileOf = (name: string) => readFileSync(join("deploy", name), "utf8");
const OPERATIONS = readFileSync("docs/operations.md", "utf8");
const HELP = readFileSync("src/cli/main.ts", "utf8");
/** How long the service may take to end: its requests, then its storage. */
const GRACE_SECONDS =
  (2 * Number(/GRACE_MS = ([\d_]+)/.exec(readFileSync("src/node-drain.ts", "utf8"))?.[1]?.replace("_", ""))) / 1000;

describe("the metrics that the dashboard and the page name", () => {
  let samples: Samples;
  let labels: Set<string>;

  beforeAll(async () => {
    const storage = sqliteStorage({ path: ":memory:" });
    const cache = { maxBytes: 1000, maxAge: 1 };
    await using service = await startService({ runtime: { storage, cache } });
    await service.call("PUT", "/v1/kv/a", { body: { value: 1 } });
    await service.call("GET", "/v1/kv/a");
    samples = parseExposition((await service.call("GET", "/admin/metrics")).text);
    const named = samples.names.flatMap((series) =>
      [...series.matchAll(/[{,]([a-z_]+)="/g)].map(([, name]) => name as string),
    );
    labels = new Set([...named, "instance"]);
  });

  it("are those that there are, with the labels that they have", () => {
    const dashboard = JSON.parse(fileOf("dashboard.json")) as {
      panels: { title: string; targets: { expr: string }[] }[];
    };
    const queries = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
    expect(queries.length).toBeGreaterThanOrEqual(dashboard.panels.length);
    const known = samples.names.map((series) => series.split("{")[0] as string);
    const used = queries.flatMap((query) => query.match(/\b(workertown_kv|process)_[a-z_]+/g) ?? []);
    expect(used.filter((name) => !known.includes(name))).toEqual([]);
    // Each family has its place there.
    const families = [...samples.types.keys()];
    expect(families.filter((family) => !used.some((name) => name.startsWith(family)))).toEqual([]);
    const grouped = queries.flatMap((query) =>
      [...query.matchAll(/(?:by|on) \(([^)]*)\)/g)].flatMap(([, names = ""]) => names.split(", ")),
    );
    const selected = queries.flatMap((query) => [...query.matchAll(/[{,]([a-z_]+)=/g)].map(([, name = ""]) => name));
    expect([...grouped, ...selected].filter((name) => !labels.has(name))).toEqual([]);
    expect(grouped.length * selected.length).toBeGreaterThan(0);
  });

  it("have a row each in docs/operations.md, with their type and labels", () => {
    const rows = [...OPERATIONS.matchAll(/^\| `((?:workertown_kv|process)_\w+)` \| (\w+) \| (.*?) \|/gm)];
    const types = Object.fromEntries(rows.map(([, name, type]) => [name, type]));
    expect(types).toEqual(Object.fromEntries(samples.types));
    for (const [, name = "", type, shown = ""] of rows) {
      const family = type === "histogram" ? `${name}_count` : name;
      const series = samples.names.filter((one) => one.startsWith(`${family}{`));
      const own = new Set(series.flatMap((one) => [...one.matchAll(/[{,]([a-z_]+)="/g)].map(([, label]) => label)));
      for (const label of own) expect(shown, name).toContain(`\`${label}\``);
    }
  });

  it("are scraped from the route that there is", () => {
    expect(fileOf("prometheus.yml")).toContain("metrics_path: /admin/metrics");
    expect(fileOf("prometheus.yml")).toContain("credentials_file:");
  });
});

/** The values of each key, in their order. */
function settingsOf(unit: string): Map<string, string[]> {
  const settings = new Map<string, string[]>();
  for (const line of unit.split("\n")) {
    const [, key = "", value = ""] = /^(\w+)=(.*)$/.exec(line) ?? [];
    if (key !== "") settings.set(key, [...(settings.get(key) ?? []), value]);
  }
  return settings;
}

describe("the systemd unit", () => {
  const unit = settingsOf(fileOf("workertown-kv.service"));
  const one = (key: string) => unit.get(key)?.join(" ");

  it.each([
    ["DynamicUser", "yes"],
    ["StateDirectory", "workertown-kv"],
    ["ProtectSystem", "strict"],
    ["ProtectHome", "yes"],
    ["PrivateTmp", "yes"],
    ["PrivateDevices", "yes"],
    ["NoNewPrivileges", "yes"],
    ["CapabilityBoundingSet", ""],
    ["SystemCallFilter", "@system-service ~@privileged @resources"],
    ["RestrictNamespaces", "yes"],
    ["UMask", "0077"],
    ["Restart", "on-failure"],
  ])("has %s=%s", (key, value) => {
    expect(one(key)).toBe(value);
  });

  it("forbids no memory that is written and run, which V8 needs", () => {
    expect(unit.has("MemoryDenyWriteExecute")).toBe(false);
  });

  it("runs the installed command with flags and variables that it has, and its secrets in no variable", () => {
    const [program = "", verb, ...args] = one("ExecStart")?.split(" ") ?? [];
    const { bin } = JSON.parse(readFileSync("package.json", "utf8")) as { bin: Record<string, string> };
    expect(Object.keys(bin)).toContain(program.split("/").at(-1));
    expect(verb).toBe("serve");
    for (const flag of args.filter((arg) => arg.startsWith("--"))) expect(HELP).toContain(`  ${flag} `);
    const variables = (one("Environment") ?? "").split(" ").map((pair) => pair.split("=")[0] as string);
    expect(variables).toContain("KV_DB");
    for (const name of variables.filter((name) => !name.startsWith("NODE_")))
      expect(HELP).toMatch(new RegExp(`\\(${name},`));
    expect(one("LoadCredential")).toMatch(/^env:/);
    expect(args).toContain("%d/env");
  });

  it("waits as long as the service may take to end", () => {
    expect(GRACE_SECONDS).toBe(20);
    expect(Number(one("TimeoutStopSec"))).toBeGreaterThan(GRACE_SECONDS);
    expect(Number(/stop_grace_period: (\d+)s/.exec(fileOf("compose.yaml"))?.[1])).toBeGreaterThan(GRACE_SECONDS);
  });

  it.skipIf(!existsSync("/usr/bin/systemd-analyze"))("is one that systemd takes, and rates as safe", () => {
    const folder = mkdtempSync(join(tmpdir(), "kv-unit-"));
    try {
      const unit = join(folder, "workertown-kv.service");
      // Where it expects the command there is none here.
      writeFileSync(unit, fileOf("workertown-kv.service").replace(/^ExecStart=\S+/m, "ExecStart=/bin/true"));
      const analyze = (...args: string[]) =>
        execFileSync("systemd-analyze", [...args, unit], { encoding: "utf8", stdio: "pipe" });
      expect(analyze("verify")).toBe("");
      const exposure = /exposure level .*: ([\d.]+)/.exec(analyze("security", "--offline=true"))?.[1];
      expect(Number(exposure)).toBeLessThanOrEqual(1);
      expect(OPERATIONS).toContain(`rates its exposure ${exposure} of 10`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe("the image", () => {
  const lines = fileOf("Dockerfile").replaceAll("\\\n", " ").split("\n");
  const all = (instruction: string) =>
    lines.filter((line) => line.startsWith(`${instruction} `)).map((line) => line.slice(instruction.length).trim());
  const last = (instruction: string) => all(instruction).at(-1) ?? "";

  it("is of one major version of Node that the package takes", () => {
    const { engines } = JSON.parse(readFileSync("package.json", "utf8")) as { engines: { node: string } };
    const [, major] = /^node:(\d+)-slim/.exec(last("FROM")) ?? [];
    expect(engines.node).toContain(`>=${major}.`);
    expect(new Set(all("FROM").map((from) => from.split(" ")[0])).size).toBe(1);
  });

  it("runs as a number that is not root, which owns the one folder that is written", () => {
    const [, uid] = /^(\d+):\d+$/.exec(last("USER")) ?? [];
    expect(Number(uid)).toBeGreaterThan(0);
    expect(last("VOLUME")).toBe("/data");
    expect(all("COPY")).toContain(`--from=install --chown=${last("USER")} /data /data`);
    expect(all("ENV").join(" ")).toContain("KV_DB=/data/");
  });

  it("has no shell between the signal and the service", () => {
    expect(last("STOPSIGNAL")).toBe("SIGTERM");
    const [program, main = ""] = JSON.parse(last("ENTRYPOINT")) as string[];
    expect(program).toBe("node");
    const { bin } = JSON.parse(readFileSync("package.json", "utf8")) as { bin: Record<string, string> };
    expect(resolve(main.replace("/app/", ""))).toBe(resolve(bin["workertown-kv"] as string));
    expect(JSON.parse(last("CMD"))).toEqual(["serve"]);
  });

  it("sets variables that the command has, and copies what is there and is not kept out", () => {
    const names = all("ENV").flatMap((pairs) => pairs.split(" ").map((pair) => pair.split("=")[0] as string));
    const own = names.filter((name) => !name.startsWith("NODE_"));
    expect(own).toContain("KV_DB");
    for (const name of own) expect(HELP).toMatch(new RegExp(`\\(${name},`));
    const sources = all("COPY")
      .filter((copy) => !copy.startsWith("--"))
      .flatMap((copy) => copy.split(" ").slice(0, -1));
    expect(sources).toContain("dist");
    for (const source of sources) {
      expect(fileOf("Dockerfile.dockerignore").split("\n")).toContain(`!${source}`);
      expect(source === "dist" || existsSync(source)).toBe(true);
    }
  });

  it("is healthy while the service answers, and not when it does not", async () => {
    const [, ...args] = JSON.parse(last("HEALTHCHECK").replace(/^.* CMD /, "")) as string[];
    const check = (port: string) =>
      new Promise((done) => {
        const env = { PATH: process.env.PATH, PORT: port };
        execFile(process.execPath, args, { env }, (error) => done(error === null ? 0 : error.code));
      });
    const service = await startService({ runtime: { storage: memoryStorage() } });
    const { port } = new URL(service.url);
    expect(await check(port)).toBe(0);
    await service[Symbol.asyncDispose]();
    expect(await check(port)).toBe(1);
  });

  it("is composed read-only, without capabilities", () => {
    const compose = fileOf("compose.yaml");
    for (const part of [
      "read_only: true",
      "cap_drop:\n      - ALL",
      "no-new-privileges:true",
      "tmpfs:",
      "- data:/data",
    ]) {
      expect(compose).toContain(part);
    }
  });
});

describe("the proxy", () => {
  const nginx = fileOf("nginx.conf");

  it("says itself who calls, and passes the target on as it came", () => {
    expect(nginx).toContain("proxy_set_header X-Forwarded-For $remote_addr;");
    expect(nginx).toContain('proxy_set_header Forwarded "";');
    const passes = nginx.match(/proxy_pass .*/g) ?? [];
    expect(passes.length).toBeGreaterThan(0);
    for (const pass of passes) expect(pass).toBe("proxy_pass http://workertown_kv;");
    // nginx forgets the fields of the server where a location sets its own.
    expect(nginx.slice(nginx.indexOf("location /"))).not.toContain("proxy_set_header");
  });

  it("lets go of idle connections before the service does", () => {
    const seconds = Number(/keepalive_timeout (\d+)s/.exec(nginx)?.[1]);
    const [, idle] = /idleTimeout: (\d+)/.exec(readFileSync("src/options.ts", "utf8")) ?? [];
    expect(seconds).toBeLessThan(Number(idle));
  });

  it("belongs to a server that parses and believes it alone", () => {
    execFileSync(process.execPath, ["--check", "deploy/server.js"]);
    expect(fileOf("server.js")).toContain('trustProxy: ["127.0.0.1/32"]');
  });
});

it("every file there is spoken of in docs/operations.md", () => {
  const files = readdirSync("deploy").filter((file) => !file.endsWith(".dockerignore"));
  expect(files.length).toBeGreaterThan(0);
  for (const file of files) {
    expect(OPERATIONS).toContain(`(../deploy/${file})`);
  }
});
