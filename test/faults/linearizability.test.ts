/**
 * Histories of concurrent clients over real HTTP are linearizable. `HISTORIES=1000` is the long form, for each of the ways
 * to the database; `SEED` repeats a run.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { type Command, startCommand } from "../command.ts";
import { KEY } from "../support.ts";
import { BROKEN } from "./broken.ts";
import { check } from "./linearizable.ts";
import { seedOf } from "./measures.ts";
import { type Played, play } from "./play.ts";
import type { Call, Operation, Result, Written } from "./register.ts";

const HISTORIES = Number(process.env.HISTORIES ?? 5);
/** How many are played at once, so that they disturb each other. */
const AT_ONCE = 3;
const CLIENTS = 5;
const REQUESTS = 40;
const BROKEN_HISTORIES = 20;

const NEVER: Written["expires"] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
const seed = seedOf("linearizability");
const folder = mkdtempSync(join(tmpdir(), "kv-linear-"));
const env = { KV_API_KEY: KEY };
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const served = (what: string, file = ":memory:") =>
  startCommand(folder, { env, program: [resolve("test/faults/served.ts"), what], args: [join(folder, file)] });
const command = (file: string) => startCommand(folder, { env, args: ["--db", file] });

const WAYS: Record<string, () => Promise<Command>[]> = {
  "the command, whose writes are a thread's": () => [command("thread.sqlite")],
  "two processes on one file": () => [command("two.sqlite"), command("two.sqlite")],
  "cached()": () => [served("cached", "cached.sqlite")],
  "SQLite on one thread": () => [served("local")],
};

/** Plays histories, every other one with atomic batches and lists; `isLast` is given them as they end. */
async function playAll(
  services: readonly Command[],
  count: number,
  isLast: (played: Played, seed: number) => boolean,
): Promise<void> {
  const urls = services.map(({ url }) => url);
  let begun = 0;
  let ended = false;
  const players = Array.from({ length: AT_ONCE }, async () => {
    while (begun < count && !ended) {
      begun += 1;
      const own = (seed % 1_000_000) * 1000 + begun;
      const options = { urls, clients: CLIENTS, requests: REQUESTS, binding: begun % 2 === 0 };
      if (isLast(await play({ seed: own, ...options }), own)) ended = true;
    }
  });
  await Promise.all(players);
}

/** An order that was found for some of the calls, and those that do not fit in. */
function shown(order: readonly Call[], left: readonly Call[]): string {
  const line = ({ client, operations, outcome, invoked, returned, wall }: Call) =>
    JSON.stringify([client, invoked.toFixed(2), returned.toFixed(2), wall, operations, outcome]);
  return [...order.slice(-20).map(line), "then none of", ...left.slice(0, 20).map(line)].join("\n");
}

describe.each(Object.keys(WAYS))("%s", (way) => {
  it(
    `gives ${HISTORIES} linearizable histories`,
    async () => {
      await using stack = new AsyncDisposableStack();
      const services = (await Promise.all((WAYS[way] as () => Promise<Command>[])())).map((each) => stack.use(each));
      const sums = { histories: 0, calls: 0, unknown: 0, checking: 0 };
      const began = performance.now();
      await playAll(services, HISTORIES, ({ calls, writes, unknown }, own) => {
        const before = performance.now();
        const verdict = check(calls, writes);
        sums.histories += 1;
        sums.calls += calls.length;
        sums.unknown += unknown;
        sums.checking += performance.now() - before;
        if (!verdict.linearizable) expect.unreachable(`history ${own}:\n${shown(verdict.order, verdict.left)}`);
        return false;
      });
      const seconds = (milliseconds: number) => (milliseconds / 1000).toFixed(1);
      console.info(
        `${way}: ${sums.histories} histories, ${sums.calls} calls, ${sums.unknown} of unknown outcome, ` +
          `0 violations; ${seconds(performance.now() - began)} s, ${seconds(sums.checking)} s of it checking`,
      );
      for (const service of services) expect(await service.kill("SIGTERM")).toBe(0);
    },
    HISTORIES * 1000 + 30_000,
  );
});

describe("a broken store is found out:", () => {
  it.each(Object.keys(BROKEN))(
    "%s",
    async (name) => {
      await using service = await served(name);
      let found = false;
      await playAll([service], BROKEN_HISTORIES, ({ calls, writes }) => {
        found ||= !check(calls, writes).linearizable;
        return found;
      });
      expect(found).toBe(true);
    },
    60_000,
  );
});

describe("the checker", () => {
  const WRITES = new Map<number, Written>([1, 2, 3].map((value) => [value, { etag: `"${value}"`, expires: NEVER }]));

  function call(times: [number, number], operation: Partial<Operation>, result: Partial<Result> | null): Call {
    const whole: Operation = { op: "get", key: "a", ...operation };
    const outcome = result && [{ status: 200 as const, ...result }];
    return {
      ...{ client: 0, operations: [whole], outcome, atomic: false, after: null },
      ...{ invoked: times[0], returned: outcome ? times[1] : Number.POSITIVE_INFINITY, wall: times },
    };
  }
  const put = (times: [number, number], value: number, known = true) =>
    call(times, { op: "put", value }, known ? {} : null);
  const get = (times: [number, number], value: number) => call(times, {}, value === 0 ? { status: 404 } : { value });
  const verdict = (calls: Call[], writes = WRITES) => check(calls, writes).linearizable;

  it("lets a read during a write be either, and no read after it be old", () => {
    expect(verdict([put([0, 1], 1), put([2, 9], 2), get([3, 4], 1), get([5, 6], 2)])).toBe(true);
    expect(verdict([put([0, 1], 1), put([2, 9], 2), get([3, 4], 2), get([5, 6], 1)])).toBe(false);
    expect(verdict([put([0, 1], 1), put([2, 3], 2), get([4, 5], 1)])).toBe(false);
  });

  it("lets a write of unknown outcome happen late or never, but not be undone", () => {
    expect(verdict([put([0, 1], 1), put([2, 3], 2, false), get([4, 5], 1), get([6, 7], 2)])).toBe(true);
    expect(verdict([put([0, 1], 1), put([2, 3], 2, false), get([4, 5], 1), get([6, 7], 1)])).toBe(true);
    expect(verdict([put([0, 1], 1), put([2, 3], 2, false), get([4, 5], 2), get([6, 7], 1)])).toBe(false);
  });

  it("lets one of two writes on one version win", () => {
    const swap = (value: number, status: 200 | 412) => call([2, 5], { op: "put", value, ifMatch: '"1"' }, { status });
    expect(verdict([put([0, 1], 1), swap(2, 200), swap(3, 412)])).toBe(true);
    expect(verdict([put([0, 1], 1), swap(2, 200), swap(3, 200)])).toBe(false);
    expect(verdict([put([0, 1], 1), swap(2, 412), swap(3, 412)])).toBe(false);
  });

  it("lets a value go when it expires, not sooner or later", () => {
    const writes = new Map<number, Written>([[1, { etag: '"1"', expires: [10, 10] }]]);
    expect(verdict([put([0, 1], 1), get([8, 12], 1), get([8, 12], 0)], writes)).toBe(true);
    expect(verdict([put([0, 1], 1), get([8, 9], 0)], writes)).toBe(false);
    expect(verdict([put([0, 1], 1), get([10, 11], 1)], writes)).toBe(false);
  });

  it("lets a batch that takes back what it did undo a write before it", () => {
    const put2 = put([1, 8], 2);
    const remove: Operation = { op: "delete", key: "a" };
    const both = { ...put2, operations: [...put2.operations, remove], atomic: true };
    both.outcome = [{ status: 200 }, { status: 200, deleted: true }];
    expect(verdict([put([0, 9], 1), both, get([10, 11], 0)])).toBe(true);
    expect(verdict([put([0, 9], 1), both, get([10, 11], 1)])).toBe(true);
    expect(verdict([put([0, 9], 1), both, get([10, 11], 2)])).toBe(false);
  });

  it("lets nobody see a half of an atomic batch", () => {
    const both = { ...put([0, 9], 1), atomic: true, outcome: [{ status: 200 as const }, { status: 200 as const }] };
    both.operations = [...both.operations, { op: "put", key: "b", value: 2 }];
    const other = (times: [number, number], value: number) =>
      call(times, { key: "b" }, value === 0 ? { status: 404 } : { value });
    expect(verdict([both, get([1, 2], 1), other([3, 4], 2)])).toBe(true);
    expect(verdict([both, get([1, 2], 1), other([3, 4], 0)])).toBe(false);
  });
});
