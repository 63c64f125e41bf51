/** What a database takes on the disk. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** All files of the database in this folder together, after a clean stop. */
export function fileBytes(folder: string): number {
  const files = readdirSync(folder).filter((name) => /\.sqlite(-wal|-shm)?$/.test(name));
  return files.reduce((bytes, name) => bytes + statSync(join(folder, name)).size, 0);
}
