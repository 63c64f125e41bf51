/** What every engine is held to: the same tests, on the real thing. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type KvApp, kv } from "../../src/index.ts";
import type { StorageAdapter } from "../../src/storage/adapter.ts";
import { memoryStorage } from "../../src/storage/memory.ts";
import { adapterSubject, storageConformance } from "../../src/testing/conformance.ts";
import { serviceSubject } from "../client/subject.ts";
import { startService } from "../support.ts";
import { playHistory } from "./history.ts";
import { outageTests } from "./outages.ts";
import { raceTests } from "./races.ts";

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
  /** `false` where another engine's tests go through the same code over HTTP. */
  http?: boolean;
}

let namespaces = 0;
/** A namespace that nobody else uses. */
export const freshNamespace = () => `test-${process.pid}-${namespaces++}`;

export function testEngine({ name, missing, start, large = true, http = true }: EngineTests): void {
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
      it(title, async () => {
        const adapter = engine.open(freshNamespace());
        try {
          if (skip?.(adapter.capabilities)) return;
          await run(adapterSubject(adapter, { now: Date.now() }));
        } finally {
          await adapter.close?.();
        }
      });
    }
  });

  if (http) {
    describe(`${name}: conformance over HTTP`, () => {
      for (const { name: title, skip, run } of storageConformance({ large: false })) {
        it(title, async () => {
          const storage = engine.open(freshNamespace());
          const clock = { now: Date.now() };
          await using service = await startService({ runtime: { storage, now: () => clock.now } });
          if (skip?.(storage.capabilities)) return;
          await run(serviceSubject(service, storage.capabilities, clock));
        });
      }
    });
  }

  it(`${name}: a random history is answered as by memory, byte for byte`, { timeout: 120_000 }, async () => {
    const storage = engine.open(freshNamespace());
    let step = { now: 0, version: "" };
    const played = (runtimeStorage: StorageAdapter): KvApp => {
      let versions = 0;
      let last = "";
      const version = () => {
        if (last !== step.version) versions = 0;
        last = step.version;
        return `${last}${versions++}`;
      };
      const authenticateRequest = () => ({ id: "history" });
      return kv({
        logger: false,
        auth: { authenticateRequest },
        runtime: { storage: runtimeStorage, now: () => step.now, version },
      });
    };
    const [subject, reference] = [played(storage), played(memoryStorage())];
    const seed = Number(process.env.HISTORY_SEED ?? 1);
    const atomic = storage.capabilities.atomic !== false;
    const tick = (next: typeof step) => {
      step = next;
    };
    try {
      await playHistory(subject, reference, { seed, operations: HISTORY, atomic, tick });
    } finally {
      await subject.close();
    }
  });

  describe(`${name}: two instances`, () => {
    raceTests(() => {
      const namespace = freshNamespace();
      return { first: engine.open(namespace), second: engine.open(namespace) };
    });
  });

  describe(`${name}: outages`, () => {
    outageTests(
      () => engine,
      () => engine.open(freshNamespace()),
    );
  });
}

/** How many requests a history has. */
const HISTORY = Number(process.env.HISTORY_OPERATIONS ?? 5000);
