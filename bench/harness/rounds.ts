/** Turns of contenders, and what is made of their samples. */

/** Round by round, each contender in turn, so that what disturbs the machine disturbs them all. */
export async function interleaved<T>(
  rounds: number,
  contenders: Readonly<Record<string, (round: number) => Promise<T>>>,
): Promise<Record<string, T[]>> {
  const samples: Record<string, T[]> = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, take] of Object.entries(contenders)) samples[name]?.push(await take(round));
  }
  return samples;
}

export function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

/** Each over the other of the same round. */
export function ratios(over: readonly number[] = [], under: readonly number[] = []): number[] {
  return over.map((value, round) => value / (under[round] ?? Number.NaN));
}

/** Each less the other of the same round. */
export function differences(from: readonly number[] = [], less: readonly number[] = []): number[] {
  return from.map((value, round) => value - (less[round] ?? Number.NaN));
}
