/** How many bytes a request body may hold besides its value: the member names, the metadata, white space. */
export const BODY_OVERHEAD_BYTES = 65_536;

/** How many bytes the body of a batch may hold, and the values of its answer together. */
export const BATCH_BYTES = 104_857_600;

/** How many bytes a batch may hold besides its values and metadata: 1,000 keys of 512 bytes, escaped, and conditions. */
export const BATCH_OVERHEAD_BYTES = 4_194_304;

/** How many characters the text of a condition may have, and how many faults of a request are told. */
export const CONDITION_LENGTH = 16_384;
export const ISSUES_MAX = 100;

/** How many keys one page of a list holds at most, and by default. */
export const LIST_LIMIT_MAX = 1000;

/** A page of a list with values stops after the entry that takes its values to this many bytes. */
export const LIST_VALUE_BYTES = 10_485_760;

/** The pages of an export: small, so that little of it is in memory at once. */
export const WALK_LIMIT = 50;
export const WALK_VALUE_BYTES = 1_048_576;

/** An import is stored in groups: little enough to be gone before the garbage collector takes it for lasting. */
export const GROUP_ENTRIES = 64;
export const GROUP_BYTES = 4_194_304;

/** How many faults the answer of an import lists; it counts all. */
export const FAILED_MAX = 1000;

/** The pieces that an export is sent in. */
export const CHUNK_BYTES = 65_536;

/** A larger answer is not copied into one piece. */
export const STREAM_BYTES = 1_048_576;

/** How much of a refused body is taken, and for how many milliseconds. */
export const DRAIN_BYTES = 1_048_576;
export const DRAIN_MS = 250;

/** How many calls may wait for the storage at once; more are refused at once. */
export const CALLS = 1000;
/** After so long a call does not count any more: on Workers one that its request left behind never ends. */
export const FORGET_MS = 60_000;

/** How long a ping of the storage waits at most, in seconds. */
export const PING_TIMEOUT = 0.8;

/** The last moment that a JavaScript date can name, in epoch milliseconds (the year 275760). */
export const LAST_MOMENT_MS = 8_640_000_000_000_000;

/** What one instance accepts. All of them can be lowered or raised with `kv({ limits })`. */
export interface Limits {
  /** The longest key, in bytes of UTF-8. */
  key: number;
  /** The longest value, in bytes of JSON text. */
  value: number;
  /** The longest metadata, in bytes of JSON text. */
  metadata: number;
  /** How many arrays and objects may be nested in a value or in metadata. */
  depth: number;
  /** The most operations in one batch. */
  batch: number;
  /** How many bytes of bodies and of large answers may be held at once, by all requests together; more get `503`. */
  inFlight: number;
}

/** How long the body of a put may be. */
export function putBytes({ value, metadata }: Pick<Limits, "value" | "metadata">): number {
  return value + metadata + BODY_OVERHEAD_BYTES;
}

export const DEFAULT_LIMITS: Readonly<Limits> = {
  key: 512,
  value: 26_214_400,
  metadata: 1024,
  depth: 512,
  batch: 1000,
  inFlight: 134_217_728,
};
