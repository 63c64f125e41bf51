/** The package as a stranger has it: packed, installed in a project of its own. */
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { VERSION } from "../src/version.ts";

const run = promisify(execFile);

/** What a package is made of. */
const SOURCES = ["package.json", "README.md", "LICENSE", "CHANGELOG.md", "tsconfig.json", "tsconfig.build.json", "src"];

export interface Project extends AsyncDisposable {
  folder: string;
  /** Runs a tool of ours, such as `tsc`, in the project; rejects with its output where it fails. */
  run(tool: string, args: string[]): Promise<string>;
}

/** A project with the packed tarball installed, and nothing else of ours. */
export async function installPackage(): Promise<Project> {
  const folder = await mkdtemp(join(tmpdir(), "kv-package-"));
  const tarball = await pack(folder);
  await writeFile(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  await run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", "--silent", tarball], { cwd: folder });
  return {
    folder,
    async run(tool, args) {
      const bin = tool === "node" ? process.execPath : resolve("node_modules/.bin", tool);
      try {
        return (await run(bin, args, { cwd: folder })).stdout;
      } catch (error) {
        const { stdout, stderr } = error as { stdout: string; stderr: string };
        throw new Error(`${tool} failed:\n${stdout}${stderr}`);
      }
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Packs a copy of the sources: packing builds `dist` anew, which two at once would take from each other. */
async function pack(folder: string): Promise<string> {
  const copy = await mkdtemp(join(tmpdir(), "kv-pack-"));
  try {
    for (const name of SOURCES) await cp(name, join(copy, name), { recursive: true });
    await symlink(resolve("node_modules"), join(copy, "node_modules"));
    await mkdir(join(folder, "tarball"));
    await run("npm", ["pack", "--silent", "--pack-destination", join(folder, "tarball")], { cwd: copy });
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
  return `./tarball/workertown-kv-${VERSION}.tgz`;
}
