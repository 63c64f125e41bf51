import type { FoundEntry } from "./adapter.ts";

/** Leaves out each value that does not fit into what the values before it left of `valueBytes`. */
export function withinBytes(valueBytes: number): (entry: FoundEntry | null) => FoundEntry | null {
  let left = valueBytes;
  return (entry) => {
    if (entry?.value == null) return entry;
    if (entry.value.length > left) return { ...entry, value: null };
    left -= entry.value.length;
    return entry;
  };
}
