import { KvError, type KvErrorCode } from "../core/errors.ts";
import type { WriteOperation } from "./adapter.ts";
import { type ObjectEntries, objectEntries } from "./durable-object-entries.ts";
import { decodeMessage, encodeMessage } from "./durable-object-message.ts";
import type { ObjectStorageLike } from "./durable-object-schema.ts";

/** What the adapter asks: the name of a call and what it is given. */
export interface ObjectMessage {
  call: keyof ObjectEntries;
  given: readonly unknown[];
}

/** What the object answers. An error that is thrown would reach the caller without its class. */
export type ObjectAnswer = { result: unknown } | { error: ObjectError };

interface ObjectError {
  /** `null` for what is no `KvError`. */
  code: KvErrorCode | null;
  message: string;
  cause?: string;
}

export const CANNOT_BE_USED = "The Durable Object cannot be used at the moment";
export const FULL = "The Durable Object is full";

/** How long what has expired stays: the service's clock may be behind that of the object. */
const GRACE_MS = 60_000;
/** The longest that an alarm is set ahead: it takes no time after the year 2189. */
const FARTHEST_MS = 365 * 86_400_000;
/** How many entries one alarm removes, so that nobody waits long for it. */
const SWEEP_LIMIT = 200;

/**
 * The Durable Object class that `durableObjectStorage` asks: export it from the Worker and name it in `wrangler.jsonc`
 * (`new_sqlite_classes`). One object holds one namespace, in its own SQLite. It removes what has expired by an alarm, a
 * minute later.
 */
export class KvDurableObject {
  readonly #storage: ObjectStorageLike;
  readonly #entries: ObjectEntries;
  #migrated = false;
  /** How far the service's clock is behind this one's, as the last write showed. */
  #lag = 0;

  constructor(state: { readonly storage: ObjectStorageLike }) {
    this.#storage = state.storage;
    this.#entries = objectEntries(state.storage);
  }

  async fetch(request: Request): Promise<Response> {
    const message = decodeMessage(await request.arrayBuffer()) as ObjectMessage;
    return new Response(encodeMessage(await this.#answer(message)));
  }

  async alarm(): Promise<void> {
    this.#migrate();
    const removed = this.#entries.sweep(Date.now() - this.#lag - GRACE_MS, SWEEP_LIMIT);
    const next = this.#entries.nextExpiry();
    if (removed === SWEEP_LIMIT) await this.#storage.setAlarm(Date.now());
    else if (next !== null) await this.#storage.setAlarm(Math.max(this.#sweepTime(next), Date.now() + GRACE_MS));
  }

  async #answer({ call, given }: ObjectMessage): Promise<ObjectAnswer> {
    try {
      // The first call may be the one that asks which steps ran.
      if (call !== "migrate") this.#migrate();
      const result = (this.#entries[call] as (...given: readonly unknown[]) => unknown)(...given);
      if (call === "write") await this.#expectExpiry(...(given as Parameters<ObjectEntries["write"]>));
      return { result };
    } catch (error) {
      return { error: errorOf(error) };
    }
  }

  #migrate(): void {
    if (this.#migrated) return;
    this.#entries.migrate();
    this.#migrated = true;
  }

  /** Sees to it that the alarm comes in time for what was written. */
  async #expectExpiry(operations: readonly WriteOperation[], { now }: { now: number }): Promise<void> {
    this.#lag = Math.max(0, Date.now() - now);
    let expiry = Infinity;
    for (const operation of operations) {
      if (operation.kind === "put") expiry = Math.min(expiry, operation.entry.expiresAt ?? Infinity);
    }
    if (expiry === Infinity) return;
    const alarm = await this.#storage.getAlarm();
    const time = this.#sweepTime(expiry);
    // Each change of it is a row written; a minute more does not matter.
    if (alarm === null || time < alarm - GRACE_MS) await this.#storage.setAlarm(time);
  }

  #sweepTime(expiry: number): number {
    return Math.min(expiry + this.#lag + GRACE_MS, Date.now() + FARTHEST_MS);
  }
}

/** Whether there is no room left. Where SQLite has undone the transaction itself, the platform throws this in our place. */
export function isFull(error: unknown): boolean {
  return error instanceof Error && error.message.includes("SQLITE_FULL");
}

/** What is the platform's trouble: the machine's, and the daily allowance of the free plan. */
const TROUBLE = /SQLITE_(BUSY|CANTOPEN|INTERRUPT|IOERR|NOMEM|READONLY)|^Exceeded allowed /;

function errorOf(error: unknown): ObjectError {
  if (error instanceof KvError) return { code: error.code, message: error.message };
  const cause = error instanceof Error ? error.message : String(error);
  if (isFull(error)) return { code: "storage_full", message: FULL, cause };
  if (TROUBLE.test(cause)) return { code: "unavailable", message: CANNOT_BE_USED, cause };
  return { code: null, message: cause };
}
