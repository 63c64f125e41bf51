import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { startCommand } from "./command.ts";

const README = readFileSync("README.md", "utf8");

it("every line of the README's tour works as it stands, on a first start", async () => {
  const tour = /## A tour[\s\S]*?```sh\n([\s\S]*?)```/.exec(README)?.[1] as string;
  const folder = mkdtempSync(join(tmpdir(), "kv-readme-"));
  try {
    await using command = await startCommand(folder);
    const script = [
      "set -eu",
      'curl() { command curl -sS -w "\\n%{http_code}\\n" "$@"; }',
      tour.replace("http://127.0.0.1:3000", command.url),
    ].join("\n");
    const output = execFileSync("bash", ["-c", script], { cwd: folder, encoding: "utf8" });
    const lines = output.trim().split("\n");
    expect(lines.filter((_, index) => index % 2 === 1)).toEqual(["200", "200", "200", "200", "200", "200", "401"]);
    expect(lines[2]).toBe('{"status":200,"success":true,"data":{"hello": "world"}}');
    expect(JSON.parse(lines[6] as string).data.keys).toMatchObject([{ name: "session/42", metadata: { user: 7 } }]);
    expect(tour.match(/^curl/gm)).toHaveLength(lines.length / 2);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

it("the two commands of the README are the package's scripts", () => {
  const { scripts } = JSON.parse(readFileSync("package.json", "utf8"));
  expect(README).toContain("npm ci && npm start");
  expect(README).toContain("npm ci && npm test");
  expect(Object.keys(scripts)).toEqual(expect.arrayContaining(["start", "test"]));
});
