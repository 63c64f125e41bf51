/** What a call of `write` comes to, decided from what is stored: for engines that read, decide and then change. */
import { conditionHolds, isLive } from "../core/entry.ts";
import type { FoundEntry, StoredEntry, WriteOperation, WriteOptions, WriteOutcome } from "./adapter.ts";
import { withinBytes } from "./value-budget.ts";

export interface Decision {
  outcomes: WriteOutcome[];
  /** What each key holds afterwards, `null` for nothing; empty where an atomic call is refused. In the order of arrival. */
  changes: Map<string, StoredEntry | null>;
}

/**
 * Evaluates operations in their order, each against what the ones before it left. `stored` says what the engine holds
 * under a key, expired or not; the value of one that is read may be left out where it exceeds the budget anyway.
 */
export function decide(
  operations: readonly WriteOperation[],
  { now, atomic, valueBytes = 0 }: WriteOptions,
  stored: (key: string) => FoundEntry | null,
): Decision {
  const within = withinBytes(valueBytes);
  const changes = new Map<string, StoredEntry | null>();
  const outcomes = operations.map(({ key, condition, ...operation }): WriteOutcome => {
    const current = changes.has(key) ? (changes.get(key) ?? null) : stored(key);
    const live = current !== null && isLive(current, now) ? current : null;
    if (!conditionHolds(condition, live?.version ?? null)) return "refused";
    if (operation.kind === "get") return { found: within(live) };
    if (operation.kind === "put") changes.set(key, operation.entry);
    else if (current !== null) changes.set(key, null);
    return operation.kind === "put" ? "written" : live ? "deleted" : "absent";
  });
  if (atomic && outcomes.includes("refused")) changes.clear();
  return { outcomes, changes };
}
