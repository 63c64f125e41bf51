import type { Warn } from "../core/env.ts";
import type { StorageAdapter } from "./adapter.ts";

/** How many entries one step removes, so that nobody waits long for it. */
export const SWEEP_LIMIT = 200;
/** How long to wait after a step that left some, at least as long as it took, and after one that left none. */
export const SWEEP_BUSY_MS = 10;
export const SWEEP_IDLE_MS = 30_000;
/** How long to wait at first: whether the engine is there at all is for others to say. */
export const SWEEP_START_MS = 300;

/**
 * Removes what has expired from the engine, in the background and in small steps; ends when what it returns is called.
 * A step that fails is told once, until one succeeds again.
 */
export function startSweeper(storage: StorageAdapter, now: () => number, warn: Warn): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = storage.sweep === undefined;
  let failing = false;

  function wait(milliseconds: number): void {
    if (stopped) return;
    timer = setTimeout(step, milliseconds);
    // Node's timers keep a process alive, a browser's are numbers.
    (timer as { unref?(): void }).unref?.();
  }

  async function step(): Promise<void> {
    let removed = 0;
    const began = performance.now();
    try {
      removed = (await storage.sweep?.(now(), SWEEP_LIMIT)) ?? 0;
      failing = false;
    } catch (error) {
      if (!stopped && !failing) warn(`Expired entries could not be removed: ${(error as Error).message}`);
      failing = true;
    }
    // So many may expire in a second as are written in one: else what is stored would grow for ever.
    wait(removed === SWEEP_LIMIT ? Math.max(SWEEP_BUSY_MS, performance.now() - began) : SWEEP_IDLE_MS);
  }

  wait(SWEEP_START_MS);
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
