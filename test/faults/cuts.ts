/** The ways in which a disk is left by a cut. */
import type { Choice, Version } from "./disk-file.ts";

export const CUTS = ["dropped", "kept", "a prefix", "a torn prefix", "any sectors", "any pages"] as const;
export type Cut = (typeof CUTS)[number];

const SECTORS_A_PAGE = 8;

/** `dropped`: nothing but what was flushed. `kept`: all, as after a kill. A prefix ends at a moment before `now`. */
export function choiceOf(cut: Cut, { random, now, window }: { random(): number; now: number; window: number }): Choice {
  const moment = now - Math.floor(random() * window);
  const pages = new Map<number, number>();
  const by = <T>(later: readonly Version<T>[], limit: number) => later.findLast(({ at }) => at <= limit);
  const anyOf = <T>(later: readonly Version<T>[], chance: number) => later[Math.floor(chance * (later.length + 1)) - 1];
  return (later, sector) => {
    if (cut === "dropped") return undefined;
    if (cut === "kept") return later.at(-1);
    if (cut === "a prefix") return by(later, moment);
    // A write under way is torn between two sectors.
    if (cut === "a torn prefix") return by(later, random() < 0.5 ? moment : moment - 1);
    if (cut === "any sectors") return anyOf(later, random());
    const page = Math.floor(sector / SECTORS_A_PAGE);
    if (!pages.has(page)) pages.set(page, random());
    return anyOf(later, pages.get(page) as number);
  };
}
