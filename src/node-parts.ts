/** The bytes of a large body in the pieces that they come in, most of which are with the storage before the last has come. */
import { concat } from "./core/bytes.ts";
import type { Stage } from "./storage/adapter.ts";

/** Shorter chunks are gathered, so that pieces have as many bytes in the middle, and no body comes to many. */
const LEAST_BYTES = 32_768;
const GATHERED_BYTES = 65_536;
/** How many pieces are staged at once. */
const AT_ONCE = 16;
/** So many at the end are not staged before all have come: the value ends in one of them. */
const HELD = 2;

export class Parts {
  readonly #stage: Stage | null;
  /** Each has a buffer of its own; what is being staged is empty. */
  readonly #pieces: Uint8Array[] = [];
  readonly #adding: Promise<void>[] = [];
  #gathered = Buffer.alloc(0);
  /** How many bytes have been gathered. */
  #length = 0;
  /** How many have come. */
  #total = 0;
  /** The first piece that has not been staged; the value begins in the one before all. */
  #next = 1;

  constructor(stage: Stage | null) {
    this.#stage = stage;
  }

  /** Takes a chunk, which is nobody else's from then on. */
  keep(chunk: Buffer): void {
    const isOwn = chunk.length === chunk.buffer.byteLength;
    this.#total += chunk.length;
    if (isOwn && chunk.length >= LEAST_BYTES && this.#mayFlush()) {
      this.#flush();
      this.#pieces.push(chunk);
    } else {
      for (let at = 0; at < chunk.length; ) at += this.#gather(chunk.subarray(at));
    }
    if (this.#stage !== null) this.#add(this.#stage);
  }

  /** Resolves once all that has come is here; rejects where some of it is lost. */
  async end(): Promise<void> {
    this.#flush();
    await Promise.all(this.#adding);
  }

  /** A copy of some bytes. */
  copy(start: number, end: number): Uint8Array {
    return concat(this.#cut(start, end).parts);
  }

  /** The bytes from `start` to `end`, for good; they are staged whole where those that were staged are all among them. */
  async take(start: number, end: number): Promise<readonly Uint8Array[]> {
    const { first, parts } = this.#cut(start, end);
    const staged = this.#next;
    if (this.#stage === null || staged === 1 || first > 0 || parts.length <= staged) return parts;
    const [head, tail] = await Promise.all([
      this.#stage.add(0, parts.slice(0, 1)),
      this.#stage.add(staged, parts.slice(staged)),
    ]);
    const all = [...head, ...parts.slice(1, staged), ...tail];
    this.#stage.stands(all);
    return all;
  }

  /** Whether what has been gathered may be a piece, however short it is. The first is long: the value begins in it. */
  #mayFlush(): boolean {
    const pieces = this.#pieces.length;
    return this.#length === 0 || (pieces > 0 && this.#total >= (pieces + 2) * LEAST_BYTES);
  }

  /** Takes what there is room for, and says how much. */
  #gather(chunk: Buffer): number {
    if (this.#length === this.#gathered.length) {
      this.#flush();
      this.#gathered = Buffer.allocUnsafeSlow(GATHERED_BYTES);
    }
    const taken = chunk.copy(this.#gathered, this.#length);
    this.#length += taken;
    return taken;
  }

  #flush(): void {
    if (this.#length > 0) this.#pieces.push(this.#gathered.subarray(0, this.#length));
    this.#gathered = Buffer.alloc(0);
    this.#length = 0;
  }

  #add(stage: Stage): void {
    const at = this.#next;
    if (this.#pieces.length - at < AT_ONCE + HELD) return;
    this.#next += AT_ONCE;
    const added = stage.add(at, this.#pieces.slice(at, this.#next)).then((parts) => {
      this.#pieces.splice(at, parts.length, ...parts);
    });
    // It is told by `end`, if anybody still asks.
    added.catch(() => {});
    this.#adding.push(added);
  }

  /** Views of some bytes, and which piece the first is of. */
  #cut(start: number, end: number): { first: number; parts: Uint8Array[] } {
    const parts: Uint8Array[] = [];
    let first = 0;
    let at = 0;
    for (const piece of this.#pieces) {
      const part = piece.subarray(Math.max(start - at, 0), Math.max(end - at, 0));
      at += piece.length;
      if (part.length > 0) parts.push(part);
      else if (parts.length === 0) first += 1;
    }
    return { first, parts };
  }
}
