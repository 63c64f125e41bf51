/** How long and how much: the whole bench, or a quick one. */
import { resolve } from "node:path";

/** The root of the package. */
export const ROOT = resolve(import.meta.dirname, "../..");

export interface Settings {
  mode: "full" | "quick" | "growth";
  /** How often each contender has its turn. */
  rounds: number;
  /** How long a load of the figures lasts that the picture shows, and of the others, in seconds. */
  seconds: number;
  short: number;
  /** Whether each contender has a load that does not count before its first turn. */
  warm: boolean;
  /** Whether all the peers are measured: else the 40 lines alone, and where they are shown. */
  allPeers: boolean;
  /** How many keys of 1 KB random reads and writes are spread over. */
  spread: number;
  /** How many keys of 100 bytes the large file has. */
  many: number;
  /** How often the command is started. */
  starts: number;
}

const FULL: Settings = {
  mode: "full",
  rounds: 5,
  seconds: 2,
  short: 1,
  warm: true,
  allPeers: true,
  spread: 100_000,
  many: 1_000_000,
  starts: 10,
};

const BRIEF = { seconds: 0.7, short: 0.5, warm: false, allPeers: false, many: 100_000 };

export const MODES: Readonly<Record<Settings["mode"], Settings>> = {
  full: FULL,
  quick: { ...FULL, ...BRIEF, mode: "quick", rounds: 3, starts: 5 },
  growth: { ...FULL, mode: "growth" },
};

/** Connections that read, where nothing else is said. */
export const READERS = 32;
/** Connections that write in the figure of durable writes. */
export const WRITERS = 64;
export const KIB = 1024;
export const MIB = 1_048_576;
