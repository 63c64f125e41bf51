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
}

export const DEFAULT_LIMITS: Readonly<Limits> = {
  key: 512,
  value: 26_214_400,
  metadata: 1024,
  depth: 512,
  batch: 1000,
};

/** How many bytes a request body may hold besides its value: the member names, the metadata, white space. */
export const BODY_OVERHEAD_BYTES = 65_536;

/** How many bytes the body of a batch may hold, and the values of its answer together. */
export const BATCH_BYTES = 104_857_600;

/** How many bytes a batch may hold besides its values and metadata: 1,000 keys of 512 bytes, escaped, and conditions. */
export const BATCH_OVERHEAD_BYTES = 8_388_608;

/** How many keys one page of a list holds at most, and by default. */
export const LIST_LIMIT_MAX = 1000;

/** A page of a list with values stops after the entry that takes its values to this many bytes. */
export const LIST_VALUE_BYTES = 10_485_760;

/** The pages of an export: small, so that little of it is in memory at once. */
export const WALK_LIMIT = 50;
export const WALK_VALUE_BYTES = 1_048_576;

/** The last moment that a JavaScript date can name, in epoch milliseconds (the year 275760). */
export const LAST_MOMENT_MS = 8_640_000_000_000_000;
