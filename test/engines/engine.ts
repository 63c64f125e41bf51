/** What every engine is held to: the same tests, on the real thing. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StorageAdapter } from "../../src/storage/adapter.ts";
import { adapterSubject, storageConformance } from "../../src/testing/conformance.ts";

/** A running engine, its data and the ways to hurt it. What cannot be done to it is left out. */
export interface Engine extends AsyncDisposable {
  /** A storage over a connection of its own; those of one namespace share their data, and nothing is there at first. */
  open(namespace: string): StorageAdapter;
  /** What no log, error or answer may hold: the password of the connection. */
  secret?: string;
  /** Ends it at once; its data is kept as the engine keeps it. */
  kill?(): Promise<void>;
  /** Starts it again after `kill`. */
  start?(): Promise<void>;
  /** Stops it without ending its connections (SIGSTOP). */
  pause?(): void;
  resume?(): void;
  /** Ends every connection of ours, the engine stays. */
  cut?(): Promise<void>;
  /** From now on it refuses our credentials (also on new connections), until called with `false`. */
  refuse?(refused: boolean): Promise<void>;
  /** Whether what it acknowledged survives `kill`; `true` where it is left out. */
  durable?: boolean;
}

export interface EngineTests {
  name: string;
  /** Why it cannot be tested here, with what to install; `null` where it can. In CI that is a failure. */
  missing: string | null;
  start(): Promise<Engine>;
  /** `false`: no test moves more than 10 MiB. */
  large?: boolean;
}

let namespaces = 0;
/** A namespace that nobody else uses. */
export const freshNamespace = () => `test-${process.pid}-${namespaces++}`;

export function testEngine({ name, missing, start, large = true }: EngineTests): void {
  if (missing !== null) {
    it.skip(`${name}: ${missing}`);
    if (process.env.CI) it(`${name} can be tested`, () => expect(missing).toBeNull());
    return;
  }
  let engine: Engine;
  beforeAll(async () => {
    engine = await start();
  });
  afterAll(() => engine?.[Symbol.asyncDispose]());

  describe(`${name}: conformance`, () => {
    for (const { name: title, skip, run } of storageConformance({ large })) {
      it(title, async (context) => {
        const adapter = engine.open(freshNamespace());
        try {
          const why = skip?.(adapter.capabilities);
          if (why) return context.annotate(why) as unknown as undefined;
          await run(adapterSubject(adapter, { now: Date.now() }));
        } finally {
          await adapter.close?.();
        }
      });
    }
  });
}
