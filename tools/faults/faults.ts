/** What the earlier implementation of this idea got wrong, each as a patch of today's source and the tests that must see it. */

export interface Fault {
  name: string;
  file: string;
  /** What stands there once, and what is planted in its place. */
  find: string;
  plant: string;
  tests: readonly string[];
}

export const FAULTS: readonly Fault[] = [
  {
    name: "the guard lets in exactly who has no principal",
    file: "src/kv.ts",
    find: "if (principal === null) {",
    plant: "if (principal !== null) {",
    tests: ["test/kv.test.ts"],
  },
  {
    name: "the guard sits behind the handlers",
    file: "src/kv.ts",
    find: "app.use(all, guard(service, config));",
    plant: "setTimeout(() => app.use(all, guard(service, config)));",
    tests: ["test/kv.test.ts"],
  },
  {
    name: "with no key configured, a request without one is let in",
    file: "src/auth/api-key.ts",
    find: 'const keys = [given ?? []].flat().filter((key) => key !== "");',
    plant:
      'const keys = [given ?? []].flat().filter((key) => key !== "");\n      if ((await known).length === 0 && keys.length === 0) return principalWith(await digestOf(""), "admin");',
    tests: ["test/auth", "test/kv.test.ts"],
  },
  {
    name: "/admin/info prints the secrets",
    file: "src/routes/admin.ts",
    find: "auth: c.var.strategies }",
    plant: "auth: c.var.strategies, env: (globalThis as never as { process: { env: object } }).process.env }",
    tests: ["test/secrets.test.ts", "test/open-api.test.ts"],
  },
  {
    name: "a/b and a_b are one key",
    file: "src/core/key.ts",
    find: "return encoder.encode(key);",
    plant: 'return encoder.encode(key.replaceAll("/", "_"));',
    tests: ["test/storage/conformance.test.ts"],
  },
  {
    name: "keys are not percent-decoded",
    file: "src/core/key.ts",
    find: "return decodeURIComponent(encoded);",
    plant: "return encoded;",
    tests: ["test/core/key.test.ts", "test/routes/entries.test.ts"],
  },
  {
    name: "there is no ttl",
    file: "src/core/entry.ts",
    find: "  if (ttl != null) {",
    plant: "  if (ttl != null && now < 0) {",
    tests: ["test/core/entry.test.ts", "test/time.test.ts"],
  },
  {
    name: "null cannot be stored",
    file: "src/storage/store.ts",
    find: "(entry !== null && isLive(entry, now()) ? entry : null)",
    plant: "(entry !== null && entry.value.length !== 4 && isLive(entry, now()) ? entry : null)",
    tests: ["test/routes/entries.test.ts"],
  },
  {
    name: "MySQL keeps JSON in varchar(255)",
    file: "src/storage/mysql-sql.ts",
    find: "value LONGTEXT NOT NULL",
    plant: "value VARCHAR(255) NOT NULL",
    tests: ["test/engines/mysql.test.ts"],
  },
  {
    name: "a conditional write reads, then writes",
    file: "src/storage/memory.ts",
    find: "    write(operations, options) {\n      const { outcomes, changes } = decide(operations, options, (key) => entries.get(key) ?? null);",
    plant:
      "    async write(operations, options) {\n      const seen = new Map(entries);\n      await new Promise((resolve) => setTimeout(resolve, 1));\n      const { outcomes, changes } = decide(operations, options, (key) => seen.get(key) ?? null);",
    tests: ["test/storage/conformance.test.ts"],
  },
  {
    name: "the limiter checks first and counts later",
    file: "src/access/rate-limit.ts",
    find: "const hit = await within(ANSWER_MS, limiter.hit(key, { limit, window }));",
    plant:
      "const asked = ((globalThis as { asked?: string[] }).asked ??= []);\n      const seen = asked.filter((other) => other === key).length < limit;\n      await new Promise((resolve) => setTimeout(resolve, 1));\n      asked.push(key);\n      const hit: RateLimitHit | typeof LATE = { allowed: seen, remaining: 0 };",
    tests: ["test/access/access.test.ts"],
  },
  {
    name: "1.2.3.4 matches 1.2.3.40",
    file: "src/access/ip.ts",
    find: "address >> shift === bits",
    plant: "address.toString().startsWith((bits << shift).toString().slice(0, -1))",
    tests: ["test/access/ip.test.ts"],
  },
  {
    name: "too many requests are answered 403",
    file: "src/core/errors.ts",
    find: "rate_limited: 429",
    plant: "rate_limited: 403",
    tests: ["test/access/access.test.ts"],
  },
  {
    name: "any X-Forwarded-For is believed",
    file: "src/access/forwarded.ts",
    find: 'if (typeof trusted === "number" ? hops >= trusted : !isIn(trusted, address)) break;',
    plant: "",
    tests: ["test/access"],
  },
  {
    name: "passwords with a colon fail",
    file: "src/auth/basic.ts",
    find: "split(/:(.*)/s)",
    plant: 'split(":", 2)',
    tests: ["test/auth/basic.test.ts"],
  },
  {
    name: "the JWKS is fetched on every request",
    file: "src/auth/jwks.ts",
    find: "let fetchedAt = -Infinity;",
    plant: "let fetchedAt = -Infinity;\n  setInterval(() => (fetchedAt = triedAt = -Infinity), 1).unref?.();",
    tests: ["test/auth/jwks.test.ts"],
  },
  {
    name: "exports name a file that does not exist",
    file: "package.json",
    find: '"default": "./dist/storage/memory.js"',
    plant: '"default": "./dist/storage/memory/index.js"',
    tests: ["test/package.test.ts"],
  },
];
