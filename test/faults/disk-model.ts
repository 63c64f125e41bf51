/**
 * What a disk may hold after a loss of power, by POSIX: what was flushed is there, and of the rest any part. A sector holds
 * something that it held in the kernel's cache since its last flush; the names of a folder are certain once that was
 * flushed; what a failed flush was to write is taken for written, whether it was or not (the lesson of "fsyncgate").
 */
import { type Choice, createFile, type DiskFile } from "./disk-file.ts";
import type { FileCall } from "./shim.ts";

const O_CREAT = 0o100;
const O_TRUNC = 0o1000;

interface Opened {
  /** `null` for the folder. */
  file: DiskFile | null;
  path: string;
  /** When the flush under way began. */
  began: number;
}

/** A folder of files, played from the calls of one process after the other. */
export function createDisk(folder: string, random: () => number) {
  const names = new Map<string, DiskFile>();
  const durable = new Map<string, DiskFile>();
  let changes: { at: number; name: string; file: DiskFile | null }[] = [];
  let opened = new Map<number, Opened>();

  const set = (to: Map<string, DiskFile>, name: string, file: DiskFile | null) =>
    file === null ? to.delete(name) : to.set(name, file);

  function change(at: number, name: string, file: DiskFile | null): void {
    set(names, name, file);
    changes.push({ at, name, file });
  }

  function open(at: number, { descriptor, offset: flags, path }: FileCall): void {
    if (path !== folder && !names.has(path)) {
      if ((flags & O_CREAT) === 0) throw new Error(`${path} was opened and never made`);
      change(at, path, createFile(random));
    }
    const file = names.get(path) ?? null;
    if ((flags & O_TRUNC) !== 0) file?.truncate(at, 0);
    opened.set(descriptor, { file, path, began: 0 });
  }

  function flushed({ file, began }: Opened, failed: boolean): void {
    file?.flushed(began, { failed });
    if (file !== null || failed) return;
    for (const { at, name, file } of changes) if (at <= began) set(durable, name, file);
    changes = changes.filter(({ at }) => at > began);
  }

  return {
    /** Takes the next call; `at` counts them. */
    apply(at: number, call: FileCall): void {
      const { type, descriptor, offset, path, data } = call;
      if (type === "S") opened = new Map();
      else if (type === "O") open(at, call);
      else if (type === "U") change(at, path, null);
      if (!"CWTfFE".includes(type)) return;
      const known = opened.get(descriptor);
      if (known === undefined) throw new Error(`${type} of ${descriptor}, which was never opened`);
      if (type === "C") opened.delete(descriptor);
      else if (type === "W") known.file?.write(at, offset, data);
      else if (type === "T") known.file?.truncate(at, offset);
      else if (type === "f") known.began = at;
      else flushed(known, type === "E");
    },

    /** The files that a cut leaves now. */
    image(choose: Choice, keepsName: () => boolean): Map<string, Buffer> {
      const left = new Map(durable);
      for (const { name, file } of changes) if (keepsName()) set(left, name, file);
      return new Map([...left].map(([path, file]) => [path.slice(folder.length + 1), file.image(choose)]));
    },

    /** How many sectors and names are not flushed. */
    get unflushed() {
      return [...names.values()].reduce((sum, { dirty }) => sum + dirty, changes.length);
    },
  };
}

export type Disk = ReturnType<typeof createDisk>;
