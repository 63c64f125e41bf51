import { defineConfig } from "vitest/config";

const conditions = ["workertown-source", "node", "import", "module", "default"];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["test/**/*.test.ts"],
    environment: "node",
    pool: "forks",
    execArgv: ["--conditions=workertown-source"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
