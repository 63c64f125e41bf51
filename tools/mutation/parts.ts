/** What is mutated, each part with the quick tests that judge it: no other processes (but a Redis for its limiter). */
export interface Part {
  name: string;
  mutate: readonly string[];
  tests: readonly string[];
}

export const PARTS: readonly Part[] = [
  {
    name: "addresses",
    mutate: ["src/access/{ip,forwarded}.ts"],
    tests: ["test/access/{ip,forwarded}.test.ts"],
  },
  {
    name: "window",
    mutate: ["src/access/sliding-window.ts"],
    tests: ["test/access/sliding-window.test.ts"],
  },
  {
    name: "access",
    mutate: ["src/access/{access,rate-limit,workers}.ts"],
    tests: ["test/access/counting.test.ts"],
  },
  {
    name: "redis",
    mutate: ["src/access/redis.ts"],
    tests: ["test/access/redis.test.ts"],
  },
  {
    name: "credentials",
    mutate: ["src/auth/{api-key,authenticate,authorization,basic,digest,principal,strategy}.ts"],
    tests: ["test/auth/{api-key,authenticate,basic,strategies}.test.ts"],
  },
  {
    name: "tokens",
    mutate: ["src/auth/{claims,jwks,jws,jwt}.ts"],
    tests: ["test/auth/{jwks,jwt,tokens}.test.ts"],
  },
  {
    name: "json-scanner",
    mutate: ["src/core/json-scanner.ts"],
    tests: ["test/core/json-scanner.test.ts"],
  },
  {
    name: "core",
    mutate: ["src/core/!(json-scanner|limits).ts"],
    tests: ["test/core/!(json-scanner).test.ts"],
  },
  {
    name: "cache",
    mutate: ["src/storage/{cache,cursor}.ts"],
    tests: ["test/storage/{cache,cursor}.test.ts"],
  },
  {
    name: "memory",
    mutate: ["src/storage/{decide,memory,value-budget}.ts"],
    tests: ["test/storage/memory.test.ts"],
  },
  {
    name: "store",
    mutate: ["src/storage/{batch,store}.ts"],
    tests: ["test/storage/store.test.ts"],
  },
];
