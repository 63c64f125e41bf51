import { statSync } from "node:fs";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import base from "../../vitest.config.ts";

/** The small files first: a mutant that they see costs no more. */
class SmallFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sizes = new Map(files.map((file) => [file, statSync(file.moduleId).size]));
    return files.toSorted((a, b) => (sizes.get(a) ?? 0) - (sizes.get(b) ?? 0));
  }
}

/** Only the quick tests of the part that is mutated: `run.ts` names them. */
export default defineConfig({
  ...base,
  test: { ...base.test, include: process.env.MUTATION_TESTS?.split(" ") ?? [], sequence: { sequencer: SmallFirst } },
});
