/**
 * Gathers what is ready in one turn of the event loop and hands it over at the end of the turn, all at once. Answers that are
 * written one after the other cost less than between other work: a client is woken by the first and awake for the rest.
 */
export function atEndOfTurn<T>(handOver: (all: readonly T[]) => void): (one: T) => void {
  let waiting: T[] = [];
  function end(): void {
    const all = waiting;
    waiting = [];
    handOver(all);
  }
  return (one) => {
    if (waiting.push(one) === 1) setImmediate(end);
  };
}
