/** How much memory requests may hold together, so that many large ones at once are refused and not the end of the process. */
import { KvError } from "./errors.ts";
import { type Limits, putBytes, STREAM_BYTES } from "./limits.ts";

/**
 * Counts bytes of a request until it is over; throws `unavailable` where all requests together would hold more than this share
 * of the budget. By default a large piece may take half of it, so that the small ones are served beside it.
 */
export type Hold = (bytes: number, share?: number) => void;

/** For each request what it may hold; `bindings` are what the platform passes with it. */
export type Budget = (bindings: unknown) => { hold: Hold; release(): void };

/** What Node passes: the answer that is going out. */
interface NodeBindings {
  outgoing?: { closed: boolean; once(event: "close", listener: () => void): unknown };
}

/** Is told of bytes that are held, and negative ones when they are not any more. */
export type Told = (bytes: number) => void;

/**
 * A budget of `inFlight` bytes. What a request holds counts until its answer is out, where the platform tells. Throws a
 * `TypeError` where not even the largest body of a put would fit.
 */
export function createBudget({ inFlight, ...limits }: Limits, told: Told): Budget {
  const least = putBytes(limits);
  if (inFlight < least) {
    throw new TypeError(
      `limits.inFlight: expected at least ${least}, so that a value of limits.value (${limits.value}) fits, got ${inFlight}`,
    );
  }
  let held = 0;
  return (bindings) => {
    let own = 0;
    const free = () => {
      held -= own;
      told(-own);
    };
    return {
      hold(bytes, share = bytes > STREAM_BYTES ? 0.5 : 1) {
        // One by itself is served whatever it holds.
        if (held > own && held + bytes > inFlight * share) {
          throw new KvError("unavailable", `The service holds as many bytes of requests as it may, ${inFlight}`, {
            limit: "bytes",
          });
        }
        held += bytes;
        own += bytes;
        told(bytes);
      },
      release() {
        if (own === 0) return;
        const { outgoing } = (bindings ?? {}) as NodeBindings;
        if (outgoing === undefined || outgoing.closed) free();
        else outgoing.once("close", free);
      },
    };
  };
}
