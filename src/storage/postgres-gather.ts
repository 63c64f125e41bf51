export interface GatherOptions {
  /** How many calls go together at most. */
  most: number;
  /** How many such groups may be under way; what comes meanwhile waits and goes together. */
  lanes: number;
}

/**
 * Answers the calls that arrive in one turn of the event loop together. `answer` gives an answer, or a promise of one, for
 * each; where it rejects, so do all of its calls.
 */
export function gathered<T, R>(
  answer: (items: readonly T[]) => Promise<readonly (R | Promise<R>)[]>,
  { most, lanes }: GatherOptions,
): (item: T) => Promise<R> {
  let waiting: { item: T; resolve(answer: R | Promise<R>): void; reject(error: unknown): void }[] = [];
  let busy = 0;
  let scheduled = false;

  function schedule(): void {
    if (scheduled) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      while (waiting.length > 0 && busy < lanes) void flush();
    });
  }

  async function flush(): Promise<void> {
    const calls = waiting.slice(0, most);
    waiting = waiting.slice(most);
    busy++;
    try {
      const answers = await answer(calls.map(({ item }) => item));
      for (const [index, call] of calls.entries()) call.resolve(answers[index] as R | Promise<R>);
    } catch (error) {
      for (const call of calls) call.reject(error);
    }
    busy--;
    if (waiting.length > 0) schedule();
  }

  return (item) =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject });
      schedule();
    });
}
