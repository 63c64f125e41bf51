/** What was sent to a store that may break, and what it must hold afterwards. */

/** A key's value after a write, `null` where that deleted it. */
interface State {
  id: string;
  value: string | null;
}

/** What a store holds: keys and their values, which are strings. */
export type Held = ReadonlyMap<string, string>;

const START = "start";

/**
 * Every write has an id and is noted before it is sent, in the order of its key: nobody sends a second write of a key before
 * the first was answered, except to the counter. Values are told apart by the id in them.
 */
export function createLedger() {
  const histories = new Map<string, State[]>();
  const groups: string[][] = [];
  const counts = new Map<string, { id: string; count: number }>();
  const acknowledged = new Set([START]);
  let ids = 0;

  /** The last state that was acknowledged. */
  const floorOf = (history: readonly State[], isAcknowledged: (id: string) => boolean) =>
    history.findLastIndex(({ id }) => isAcknowledged(id));

  /** The states from the acknowledged one on that are what is held. */
  const matches = (history: readonly State[], floor: number, held: string | null) =>
    history.flatMap(({ value }, index) => (index >= floor && value === held ? [index] : []));

  function faultOf(key: string, held: string | null, isAcknowledged: (id: string) => boolean): string | null {
    const history = histories.get(key);
    const shown = held === null ? "nothing" : held.slice(0, 20);
    if (history === undefined) return `${key} holds ${shown}, which nobody wrote`;
    const floor = floorOf(history, isAcknowledged);
    if (matches(history, floor, held).length > 0) return null;
    const known = history.some(({ value }) => value === held);
    return `${key} holds ${shown}, ${known ? `an acknowledged ${history[floor]?.id} is lost` : "which is no whole write"}`;
  }

  function counterFaults(key: string, held: string | null, isAcknowledged: (id: string) => boolean): string[] {
    const seen = new Map<number, string>();
    const faults: string[] = [];
    for (const { id, count } of counts.values()) {
      if (!isAcknowledged(id)) continue;
      if (seen.has(count)) faults.push(`${key}: ${id} and ${seen.get(count)} both won ${count}`);
      seen.set(count, id);
    }
    const highest = Math.max(0, ...seen.keys());
    const found = held === null ? 0 : counts.get(held)?.count;
    if (found === undefined) faults.push(`${key} holds ${held?.slice(0, 20)}, which is no whole write`);
    else if (found < highest) faults.push(`${key} is ${found}, an acknowledged ${highest} is lost`);
    return faults;
  }

  return {
    acknowledged,

    /** Notes a write of one key or of several at once, whose values are made of its id. */
    send(keys: readonly string[], valueFor: (id: string) => string | null): { id: string; value: string | null } {
      const id = `w${++ids}`;
      const value = valueFor(id);
      for (const key of keys) {
        const history = histories.get(key) ?? [{ id: START, value: null }];
        history.push({ id, value });
        histories.set(key, history);
      }
      return { id, value };
    },

    /** Notes that somebody tries to be the one who counts up to `count`. */
    sendCount(count: number): { id: string; value: string } {
      const id = `w${++ids}`;
      counts.set(`${id} ${count}`, { id, count });
      return { id, value: `${id} ${count}` };
    },

    /** Keys that are only ever written together: a store that shows them at different writes has torn one. */
    together(keys: readonly string[]): void {
      groups.push([...keys]);
    },

    /** What is wrong with what a store holds, given which writes it has acknowledged; empty where nothing is. */
    faults(held: Held, isAcknowledged = (id: string) => acknowledged.has(id)): string[] {
      const keys = new Set([...histories.keys(), ...held.keys()]);
      keys.delete(COUNTER);
      const faults = [...keys].flatMap((key) => faultOf(key, held.get(key) ?? null, isAcknowledged) ?? []);
      const torn = groups.filter((group) => {
        const possible = group.map((key) => {
          const history = histories.get(key) ?? [];
          return matches(history, floorOf(history, isAcknowledged), held.get(key) ?? null);
        });
        return !(possible[0] ?? [-1]).some((index) => possible.every((indexes) => indexes.includes(index)));
      });
      faults.push(...torn.map((group) => `${group.join(", ")} show different writes`));
      return [...faults, ...counterFaults(COUNTER, held.get(COUNTER) ?? null, isAcknowledged)];
    },

    /** What was found is now what must stay, and what was not found must never come. */
    settle(held: Held): void {
      for (const key of histories.keys()) histories.set(key, [{ id: START, value: held.get(key) ?? null }]);
      const counted = counts.get(held.get(COUNTER) ?? "");
      if (counted !== undefined) acknowledged.add(counted.id);
    },
  };
}

export type Ledger = ReturnType<typeof createLedger>;

/** The one key that everybody writes, each on the condition that nobody else has. */
export const COUNTER = "counter";
