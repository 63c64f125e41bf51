/** Why an engine need not pass a test, or `false` where it must. */
import type { StorageCapabilities } from "../storage/adapter.ts";

export const needsConditions = ({ conditional }: StorageCapabilities) =>
  !conditional && `The engine has no "conditional"`;

export const needsSnapshot = ({ snapshot }: StorageCapabilities) => !snapshot && `The engine has no "snapshot"`;

/** For a test of atomic batches of so many operations. */
export function needsAtomic(operations: number) {
  return ({ atomic }: StorageCapabilities) =>
    (atomic === false && `The engine has no "atomic"`) ||
    (atomic !== false &&
      atomic.operations < operations &&
      `The engine has "atomic" for ${atomic.operations} operations`);
}
