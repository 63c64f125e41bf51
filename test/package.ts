/** The package as a stranger has it: packed, installed in a project of its own. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { VERSION } from "../src/version.ts";

const run = promisify(execFile);

export interface Project extends AsyncDisposable {
  folder: string;
  /** Runs a tool of ours, such as `tsc`, in the project; rejects with its output where it fails. */
  run(tool: string, args: string[]): Promise<string>;
}

/** A project with the packed tarball installed, and nothing else of ours. */
export async function installPackage(): Promise<Project> {
  const folder = await mkdtemp(join(tmpdir(), "kv-package-"));
  await mkdir(join(folder, "tarball"));
  await run("npm", ["pack", "--silent", "--pack-destination", join(folder, "tarball")]);
  await writeFile(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const tarball = `./tarball/workertown-kv-${VERSION}.tgz`;
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
