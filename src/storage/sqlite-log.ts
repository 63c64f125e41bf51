const CHUNK_BYTES = 1_048_576;

/**
 * Writes a log that an earlier process left once more, as it is, and flushes it, while nobody else writes to it. After a
 * flush that failed, its end may be in the kernel's cache alone and count there as written: whatever is committed after that
 * would be lost with the next cut.
 */
export function renewLog(path: string): void {
  const { closeSync, existsSync, fsyncSync, openSync, readSync, writeSync } = process.getBuiltinModule("node:fs");
  if (!existsSync(path)) return;
  const log = openSync(path, "r+");
  try {
    const chunk = new Uint8Array(CHUNK_BYTES);
    let at = 0;
    for (;;) {
      const length = readSync(log, chunk, 0, chunk.length, at);
      if (length === 0) break;
      at += writeSync(log, chunk, 0, length, at);
    }
    if (at > 0) fsyncSync(log);
  } finally {
    closeSync(log);
  }
}
