import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { conditions: ["workertown-source", "node", "import", "module", "default"] },
  // Vitest passes these to Node, where "import" would hold for require() too.
  ssr: { resolve: { conditions: ["workertown-source", "node", "default"] } },
  test: {
    include: ["test/**/*.test.ts"],
    environment: "node",
    pool: "forks",
    // The engines' tests wait more than they work.
    maxWorkers: 3,
    execArgv: ["--conditions=workertown-source"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 10_000 } },
  },
});
