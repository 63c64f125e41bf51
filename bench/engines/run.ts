/**
 * What the storage engines cost: the service over each ÷ its driver alone doing the same statement in a process of its own,
 * with 64 calls at once, in turns of one run; round trips; two instances; the read cache; an export and import; a sweep.
 *
 *   npm run bench -- engines            under 8 minutes
 *   npm run bench -- engines quick      for a first look
 *   … --only speed,trips,transfer,sweeping
 *
 * Starts PostgreSQL, MariaDB, Redis and dynalite as the tests do; what is missing is said. Needs `wrk`, `curl`, and
 * Debian's `webdis` for the comparison with it. All of it shares the cores of this machine: the database, the service or
 * the driver, and the load.
 */
import type { Bench } from "../harness/bench.ts";
import { MODES, type Settings } from "../harness/settings.ts";
import { speed } from "./speed.ts";
import { sweeping } from "./sweeping.ts";
import { transfer } from "./transfer.ts";
import { roundTrips } from "./trips.ts";

const FULL: Settings = { ...MODES.full, rounds: 3, seconds: 2 };

export const ENGINE_SETTINGS: Readonly<Record<"full" | "quick", Settings>> = {
  full: FULL,
  quick: { ...FULL, rounds: 1, seconds: 1, warm: false, many: 100_000 },
};

/** By the names that `--only` takes, in the order of the run. */
export const ENGINE_FIGURES: Readonly<Record<string, ((bench: Bench) => Promise<void>)[]>> = {
  trips: [roundTrips],
  speed: [speed],
  sweeping: [sweeping],
  transfer: [transfer],
};
