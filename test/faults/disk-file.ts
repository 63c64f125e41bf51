/** A file on a disk that may lose power, sector by sector: what is durable, and what the kernel's cache has since. */

export const SECTOR = 512;
const SECTORS_A_PAGE = 8;
const ZEROS = Buffer.alloc(SECTOR);

export interface Version<T> {
  /** The number of the call that made it. */
  at: number;
  value: T;
}

/** What something may be after a cut: what was flushed last, or any version since. */
export interface Uncertain<T> {
  durable: T;
  later: Version<T>[];
  /** What the kernel's cache has. After a flush that failed it need not be among the others. */
  cached: T;
}

/** Chooses one of the later versions, or the durable one. */
export type Choice = <T>(later: readonly Version<T>[], sector: number) => Version<T> | undefined;

export function createFile(random: () => number) {
  const sectors: Uncertain<Buffer>[] = [];
  const size: Uncertain<number> = { durable: 0, later: [], cached: 0 };
  const dirty = new Set<Uncertain<Buffer>>();

  const sectorAt = (index: number) => (sectors[index] ??= { durable: ZEROS, later: [], cached: ZEROS });

  function change<T>(what: Uncertain<T>, at: number, value: T): void {
    what.later.push({ at, value });
    what.cached = value;
  }

  function changeSector(index: number, at: number, value: Buffer): void {
    change(sectorAt(index), at, value);
    dirty.add(sectorAt(index));
  }

  /** What was there when a flush began is durable, or where that failed may be, and is never written by itself again. */
  function settle<T>(what: Uncertain<T>, began: number, isDurable: boolean): void {
    const last = what.later.findLastIndex(({ at }) => at <= began);
    if (last < 0) return;
    if (isDurable) what.durable = (what.later[last] as Version<T>).value;
    what.later.splice(0, last + 1);
  }

  return {
    write(at: number, offset: number, data: Buffer): void {
      const first = Math.floor(offset / SECTOR);
      const end = Math.ceil((offset + data.length) / SECTOR);
      // A page that is written goes to the disk whole, with what a failed flush has left in the cache alone.
      const pages = { first: first - (first % SECTORS_A_PAGE), end: Math.ceil(end / SECTORS_A_PAGE) * SECTORS_A_PAGE };
      for (let index = pages.first; index < pages.end; index++) {
        const { cached, durable, later } = sectorAt(index);
        if (index >= first && index < end) {
          const value = Buffer.from(cached);
          const start = index * SECTOR - offset;
          data.subarray(Math.max(0, start), start + SECTOR).copy(value, Math.max(0, -start));
          changeSector(index, at, value);
        } else if (later.length === 0 && !cached.equals(durable)) changeSector(index, at, cached);
      }
      // A length that a failed flush has not kept grows again with what is written beyond it.
      const length = size.later.at(-1)?.value ?? size.durable;
      if (offset + data.length > length) change(size, at, offset + data.length);
    },

    truncate(at: number, length: number): void {
      for (let index = Math.floor(length / SECTOR); index < sectors.length; index++) {
        const value = Buffer.alloc(SECTOR);
        sectorAt(index).cached.copy(value, 0, 0, Math.max(0, length - index * SECTOR));
        changeSector(index, at, value);
      }
      change(size, at, length);
    },

    /** The end of a flush that began at a moment. */
    flushed(began: number, { failed }: { failed: boolean }): void {
      for (const sector of dirty) {
        settle(sector, began, !failed || random() < 0.5);
        if (sector.later.length === 0) dirty.delete(sector);
      }
      settle(size, began, !failed || random() < 0.5);
    },

    /** How many sectors are not flushed. */
    get dirty() {
      return dirty.size;
    },

    image(choose: Choice): Buffer {
      const pick = <T>({ durable, later }: Uncertain<T>, index: number) => choose(later, index)?.value ?? durable;
      const content = Buffer.alloc(pick(size, -1));
      for (const [index, sector] of sectors.entries()) {
        if (sector !== undefined && index * SECTOR < content.length) pick(sector, index).copy(content, index * SECTOR);
      }
      return content;
    },
  };
}

export type DiskFile = ReturnType<typeof createFile>;
