/**
 * Plants each fault in a copy of the clone and runs the tests that must see it: `node tools/faults/run.ts [name…]`. Ends with 1
 * where one of them stays green.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { FAULTS, type Fault } from "./faults.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const LEFT_OUT = /\/(node_modules|\.git|dist|bench)$/;

const copy = mkdtempSync(join(tmpdir(), "kv-faults-"));
const wanted = process.argv.slice(2);
const chosen = FAULTS.filter(({ name }) => wanted.length === 0 || wanted.some((part) => name.includes(part)));
let unseen = 0;
try {
  cpSync(ROOT, copy, { recursive: true, filter: (path) => path === ROOT || !LEFT_OUT.test(path) });
  symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
  for (const fault of chosen) {
    const red = isSeen(fault);
    if (!red) unseen += 1;
    console.log(`${red ? "seen    " : "NOT SEEN"} ${fault.name}`);
  }
} finally {
  rmSync(copy, { recursive: true, force: true });
}
console.log(`${chosen.length - unseen} of ${chosen.length} planted faults turn the tests red`);
process.exitCode = unseen > 0 ? 1 : 0;

function isSeen({ name, file, find, plant, tests }: Fault): boolean {
  const path = join(copy, file);
  const source = readFileSync(path, "utf8");
  if (source.split(find).length < 2) throw new Error(`${name}: ${file} has no ${JSON.stringify(find)} any more`);
  writeFileSync(
    path,
    source.replace(find, () => plant),
  );
  const { status } = spawnSync("npx", ["vitest", "run", "--bail=1", ...tests], { cwd: copy, stdio: "ignore" });
  writeFileSync(path, source);
  return status !== 0;
}
