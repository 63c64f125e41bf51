import type { StorageCapabilities } from "../storage/adapter.ts";
import { atomicTests } from "./atomic.ts";
import { batchTests } from "./batches.ts";
import { budgetTests } from "./budgets.ts";
import { conditionTests } from "./conditions.ts";
import { expiryTests } from "./expiry.ts";
import { keyTests } from "./keys.ts";
import { lifecycleTests } from "./lifecycle.ts";
import { listTests } from "./lists.ts";
import type { Subject } from "./subject.ts";
import { largeValueTests, valueTests } from "./values.ts";

export { AssertionError } from "./assert.ts";
export {
  adapterSubject,
  type Subject,
  type SubjectEntry,
  type SubjectListed,
  type SubjectOperation,
  type SubjectOutcome,
  type SubjectPutOptions,
  type SubjectQuery,
} from "./subject.ts";

/** One test of the suite, for any runner: `run` rejects with what is wrong. Each wants an empty subject of its own. */
export interface ConformanceTest {
  readonly name: string;
  /** Why an engine with these capabilities need not pass, or `false`. */
  readonly skip?: (capabilities: StorageCapabilities) => string | false;
  run(subject: Subject): Promise<void>;
}

/** What every storage engine must do, one test each. `large: false` leaves out the ones that move more than 10 MiB. */
export function storageConformance({ large = true }: { large?: boolean } = {}): ConformanceTest[] {
  return [
    ...keyTests,
    ...listTests,
    ...valueTests,
    ...(large ? largeValueTests : []),
    ...budgetTests,
    ...conditionTests,
    ...expiryTests,
    ...batchTests,
    ...atomicTests,
    ...lifecycleTests,
  ];
}
