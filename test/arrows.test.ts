/** The arrows of the house: who may import whom, and what a Worker may reach. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const SRC = resolve("src");

interface Import {
  from: string;
  /** A file under src, or the name of a package. */
  to: string;
  typeOnly: boolean;
}

const files = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
const imports = files.flatMap(importsOf);

function importsOf(file: string): Import[] {
  const source = readFileSync(join(SRC, file), "utf8").replace(/\/\*[\s\S]*?\*\//g, "");
  const statements = source.matchAll(/(?:^|\n)(?:import|export)\s+(type\s+)?(?:[^"';]*?from\s+)?"([^"]+)"/g);
  const lazy = source.matchAll(/import\((?:"|')([^"']+)(?:"|')\)/g);
  const target = (name: string) => (name.startsWith(".") ? relative(SRC, resolve(SRC, dirname(file), name)) : name);
  return [
    ...[...statements].map(([, type, name]) => ({
      from: file,
      to: target(name as string),
      typeOnly: type !== undefined,
    })),
    ...[...lazy].map(([, name]) => ({ from: file, to: target(name as string), typeOnly: false })),
  ];
}

const folderOf = (path: string) => (path.includes("/") ? path.split("/")[0] : ".") as string;

/** What each folder may import of ours; `type` after a slash: types only. */
const ALLOWED: Record<string, readonly string[]> = {
  core: [],
  storage: ["core"],
  access: ["core"],
  auth: ["core"],
  client: ["core"],
  routes: ["core", "storage/type", "auth/principal.ts", "version.ts"],
  runtimes: ["access", "core", "storage", "metrics", "routes/type", "./type"],
  metrics: [
    "core",
    "routes/type",
    "routes/respond.ts",
    "storage/type",
    "storage/cache.ts",
    "runtimes/type",
    "./type",
    "version.ts",
  ],
  testing: ["core", "storage/type"],
};

describe("arrows", () => {
  it("finds the imports at all", () => {
    expect(imports.length).toBeGreaterThan(100);
    expect(imports).toContainEqual({ from: "kv.ts", to: "service.ts", typeOnly: false });
    expect(imports).toContainEqual({ from: "runtimes/node.ts", to: "storage/postgres.ts", typeOnly: false });
  });

  it.each(Object.entries(ALLOWED))("%s imports what it may", (folder, allowed) => {
    const wrong = imports
      .filter(({ from, to }) => folderOf(from) === folder && files.includes(to) && folderOf(to) !== folder)
      .filter(({ to, typeOnly }) => {
        const whole = allowed.includes(folderOf(to)) || allowed.includes(to);
        return !whole && !(typeOnly && allowed.includes(`${folderOf(to)}/type`));
      });
    expect(wrong).toEqual([]);
  });

  it("adapters never import each other", () => {
    const adapters = [
      ...["memory", "sqlite", "workers-kv", "postgres", "mysql", "redis", "libsql", "d1", "durable-object"],
      ...["upstash", "dynamodb", "planetscale", "neon"],
    ].map((name) => `storage/${name}.ts`);
    expect(imports.filter(({ from, to }) => adapters.includes(from) && adapters.includes(to))).toEqual([]);
  });

  it("nothing that a Worker reaches imports node:", () => {
    const seen = new Set<string>();
    const visit = (file: string) => {
      if (seen.has(file)) return;
      seen.add(file);
      for (const { to, typeOnly } of imports.filter(({ from }) => from === file)) {
        if (typeOnly) continue;
        expect(to, `${file} imports ${to}`).not.toMatch(/^node:/);
        if (to === "#runtime") visit("runtimes/cloudflare-workers.ts");
        else if (files.includes(to)) visit(to);
      }
    };
    visit("index.ts");
    expect([...seen]).toContain("storage/workers-kv.ts");
    expect([...seen]).not.toContain("storage/sqlite.ts");
    expect([...seen].filter((file) => file.startsWith("metrics/"))).toEqual([]);
  });

  it("drivers are imported lazily", () => {
    const heavy = imports.filter(
      ({ to, typeOnly }) =>
        /^(pg|mysql2|redis|aws4fetch|@libsql|@neondatabase|@planetscale|@upstash)\b/.test(to) && !typeOnly,
    );
    expect(heavy.length).toBeGreaterThan(0);
    for (const { from, to } of heavy) {
      expect(readFileSync(join(SRC, from), "utf8")).toContain(`import("${to}")`);
    }
  });
});
