/** Operations as the tests of libSQL and D1 write them, without a test runner: a Worker uses them too. */
import type { StoredEntry, WriteOperation } from "../../src/storage/adapter.ts";

export const NOW = 1_800_000_000_000;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
let versions = 0;

export function put(key: string, text: string, entry: Partial<StoredEntry> = {}): WriteOperation & { kind: "put" } {
  const value = encoder.encode(text);
  return { kind: "put", key, entry: { value, metadata: null, expiresAt: null, version: `v${versions++}`, ...entry } };
}

export const create = (key: string, text: string): WriteOperation => ({
  ...put(key, text),
  condition: { ifNoneMatch: "*" },
});

export const textOf = (entry: { value: Uint8Array | null } | null | undefined) =>
  entry?.value ? decoder.decode(entry.value) : null;
