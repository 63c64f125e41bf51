/** Random choices that can be repeated: the same seed gives the same ones. */
export interface Random {
  /** A whole number from 0 to below `count`. */
  below(count: number): number;
  /** True once in so many times. */
  once(times: number): boolean;
  pick<T>(from: readonly T[]): T;
}

/** Mulberry32, begun anew for each input, so that one can be made again without those before it. */
export function randomOf(seed: number, index: number): Random {
  let state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(index + 1, 0xc2b2ae35);
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const below = (count: number) => Math.floor(next() * count);
  return {
    below,
    once: (times) => below(times) === 0,
    pick: (from) => from[below(from.length)] as (typeof from)[number],
  };
}
