/** The steps of docs/scaling.md for a move from SQLite to PostgreSQL, as they stand on the page, while callers write. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, it } from "vitest";
import { KEY } from "../support.ts";
import { missing, startPostgres } from "./postgres-server.ts";
import { freePort } from "./server.ts";

const PAGE = readFileSync("docs/scaling.md", "utf8");
const TITLE = "docs/scaling.md: SQLite → PostgreSQL without downtime";

/** The places of the page's blocks between which something happens elsewhere. */
const [START, BESIDE, FIRST, FREEZE, STOP_OLD, REST, COMPARE, SWITCH] = [0, 1, 2, 3, 4, 5, 6, 7];

/** The page's blocks, changed in nothing but ports and credentials. */
function blocksOf(ports: readonly number[], database: string): string[] {
  const [, section = ""] = /\n## Moving without downtime\n([\s\S]*?)\n### Without a wait\n/.exec(PAGE) ?? [];
  const blocks = [...section.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block = ""]) => block);
  expect(blocks).toHaveLength(SWITCH + 1);
  const replaced = (text: string, [from, to]: readonly [string, string]) => {
    expect(text).toContain(from);
    return text.replaceAll(from, to);
  };
  const own = [
    ["KEY=…", `KEY=${KEY}`],
    ["NEW_DB=postgres://kv:password@127.0.0.1:5432/kv", `NEW_DB=${database}`],
    ...["3000", "3001", "3002"].map((port, index) => [port, String(ports[index])] as const),
  ] as const;
  return own.reduce(replaced, blocks.join("\0")).split("\0");
}

/** One shell that runs block after block, each when it is told to, and says what its services and commands say. */
function shellOf(blocks: readonly string[], cwd: string) {
  const script = [
    "set -euo pipefail",
    "trap 'kill $(jobs -p) 2> /dev/null' EXIT",
    ...blocks.flatMap((block, index) => ["read -r _ <&3", block, `echo "=== done ${index} ==="`]),
    "read -r _ <&3",
  ].join("\n");
  const child = spawn("bash", ["-c", script], {
    cwd,
    env: { PATH: process.env.PATH, HOME: cwd },
    // What it has started in the background is of its group.
    detached: true,
    stdio: ["ignore", "pipe", "pipe", "pipe"],
  });
  let output = "";
  const ended = new Promise<void>((done) => child.once("close", () => done()));
  let over = false;
  child.once("exit", () => {
    over = true;
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      output += chunk;
    });
  }
  const told = child.stdio[3] as NodeJS.WritableStream;
  told.on("error", () => {});
  return {
    async run(index: number): Promise<void> {
      told.write("go\n");
      while (!output.includes(`=== done ${index} ===`)) {
        if (over) throw new Error(`Block ${index} failed:\n${blocks[index]}\n${output.slice(-3000)}`);
        await delay(10);
      }
    },
    async [Symbol.asyncDispose]() {
      told.end();
      const late = setTimeout(() => process.kill(-(child.pid as number), "SIGKILL"), 3000);
      await ended;
      clearTimeout(late);
    },
  };
}

/** Keys that JSON, a shell, `sed`, `sort` or a path may stumble over. */
const HOSTILE = [
  ".",
  "..",
  "a/../b",
  " ",
  "  two  ",
  "\t",
  "\n",
  "a\nb",
  "\r\n",
  "a\u0000b",
  "\u0001\u001f\u007f",
  '"',
  '""',
  "\\",
  '\\"',
  'a","value":1}',
  '{"key":"a"}',
  "'; rm -rf *; '",
  "$(date)`date`$HOME",
  "%00%2F%",
  "*?[a]{b,c}~",
  "&",
  "\\1&\\n",
  "-n",
  "é",
  "e\u0301",
  "漢字",
  "😀",
  "\uffff",
  "\u{10ffff}",
  "\u2028\u2029",
  "\ufeff",
  "a",
  "A",
  "a ",
  "a/",
  "x".repeat(512),
];

interface Change {
  op: "put" | "delete";
  key: string;
  value?: unknown;
  metadata?: unknown;
  ttl?: number;
}

const WRITERS = 4;
/** More than one batch of deletes. */
const BULK = 1500;

async function move(): Promise<void> {
  await using postgres = await startPostgres();
  const folder = mkdtempSync(join(tmpdir(), "kv-moving-"));
  try {
    const bin = join(folder, "node_modules/.bin");
    mkdirSync(bin, { recursive: true });
    const command = `exec ${process.execPath} --conditions=workertown-source ${resolve("src/cli/main.ts")} "$@"\n`;
    writeFileSync(join(bin, "workertown-kv"), `#!/bin/sh\n${command}`, { mode: 0o755 });
    const ports = await Promise.all([freePort(), freePort(), freePort()]);
    const [old, frozen, fresh] = ports.map((port) => `http://127.0.0.1:${port}`) as [string, string, string];
    await using shell = shellOf(blocksOf(ports, postgres.url), folder);
    await shell.run(START);

    /** Where the balancer sends callers. */
    let target = old;
    /** What was acknowledged last for each key, as JSON; `undefined` where it was deleted. */
    const acknowledged = new Map<string, string | undefined>();
    const statuses = { [old]: new Set<number>(), [frozen]: new Set<number>(), [fresh]: new Set<number>() };
    const headers = { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" };

    /** Where requests are under way. */
    const underWay: string[] = [];
    /** Sends a request as a balancer does: to where callers are sent at the moment. */
    async function ask(path: string, init: RequestInit = {}): Promise<{ sent: string; status: number; text: string }> {
      const sent = target;
      underWay.push(sent);
      try {
        const answer = await fetch(sent + path, { ...init, headers });
        return { sent, status: answer.status, text: await answer.text() };
      } finally {
        underWay.splice(underWay.indexOf(sent), 1);
      }
    }
    /** Sends callers elsewhere; resolves when nothing that was sent before is without an answer. */
    async function switchTo(next: string): Promise<void> {
      const before = target;
      target = next;
      while (underWay.includes(before)) await delay(1);
    }

    /** Whether all of it was written. It is a batch, since "." and ".." cannot stand in a path. */
    async function change(...operations: Change[]): Promise<boolean> {
      const body = JSON.stringify({ operations });
      const { sent, status, text } = await ask("/v1/kv", { method: "POST", body });
      statuses[sent]?.add(status);
      if (status !== 200) return false;
      const { data } = JSON.parse(text) as { data: { status: number }[] };
      const refused = data.filter(({ status }, index) => {
        return status !== 200 && !(operations[index]?.op === "delete" && status === 404);
      });
      expect(refused).toEqual([]);
      for (const { op, key, value } of operations) {
        acknowledged.set(key, op === "put" ? JSON.stringify(value) : undefined);
      }
      return true;
    }

    await change(...HOSTILE.map((key): Change => ({ op: "put", key, value: { key }, metadata: [key, '"value":'] })));
    await change({ op: "put", key: "large", value: '","value":'.repeat(100_000) });
    for (let at = 0; at < BULK; at += 500) {
      const part = Array.from(
        { length: 500 },
        (_, index): Change => ({ op: "put", key: `bulk/${at + index}"`, value: 1 }),
      );
      await change(...part);
    }
    // Of these some have expired by the first copy, some expire between the two, the others after the test.
    const fading = (name: string, ttl: number) =>
      change(...HOSTILE.map((key): Change => ({ op: "put", key: `${name} ${key}`.slice(0, 400), value: key, ttl })));
    await fading("gone", 0.001);
    await fading("lasting", 3600);

    let running = true;
    async function write(writer: number): Promise<void> {
      for (let turn = 0; running; turn++) {
        const name = HOSTILE[(turn * 7 + writer) % HOSTILE.length] as string;
        const key = `${writer} ${name}`.slice(0, 512);
        const kind = turn % 5;
        const done = await change(
          kind === 4
            ? { op: "delete", key }
            : { op: "put", key, value: [turn, name], ...(kind === 3 && { ttl: 1800, metadata: { turn } }) },
        );
        await delay(done ? 2 : 20);
      }
    }
    let reads = 0;
    async function read(): Promise<void> {
      for (; running; reads++) {
        expect((await ask("/v1/kv/%E6%BC%A2%E5%AD%97")).text).toContain('{"key":"漢字"}');
        await delay(2);
      }
    }
    const callers = Promise.all([...Array.from({ length: WRITERS }, (_, writer) => write(writer)), read()]);
    /** What fails a caller fails the test at once; where the shell has failed, callers fail because of that. */
    const step = (index: number) => {
      const done = shell.run(index);
      const failed = callers.catch((error) => Promise.race([done, delay(500)]).then(() => Promise.reject(error)));
      return Promise.race([done, failed]);
    };
    await using _ = {
      async [Symbol.asyncDispose]() {
        running = false;
        await callers.catch(() => {});
      },
    };

    await step(BESIDE);
    await fading("fading", 3);
    const fade = Date.now() + 3000;
    await step(FIRST);
    // Between the two copies: deletes and replacements, of what the first copy holds.
    const first = readFileSync(join(folder, "first.ndjson"), "utf8");
    expect(first).toContain('"bulk/1499\\""');
    for (let at = 0; at < BULK; at += 500) {
      const part = Array.from({ length: 500 }, (_, index): Change => ({ op: "delete", key: `bulk/${at + index}"` }));
      await change(...part.slice(at === 0 ? 1 : 0));
    }
    await change(...HOSTILE.slice(0, 20).map((key): Change => ({ op: "delete", key })));
    await change(...HOSTILE.slice(10, 15).map((key): Change => ({ op: "put", key, value: `again ${key}` })));
    await delay(fade - Date.now());

    await step(FREEZE);
    await switchTo(frozen);
    await step(STOP_OLD);
    await step(REST);
    await step(COMPARE);
    const [second, copied] = ["second.ndjson", "new.ndjson"].map((name) => readFileSync(join(folder, name), "utf8"));
    expect(copied).toBe(second);
    expect(second).not.toContain('"fading ');
    expect(first).toContain('"fading ');

    await switchTo(fresh);
    await step(SWITCH);
    await change({ op: "put", key: "afterwards", value: "written" });
    await delay(50);
    running = false;
    await callers;

    const exported = await (await fetch(`${fresh}/admin/export`, { headers })).text();
    const stored = new Map(
      exported
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as { key: string; value: unknown })
        .map(({ key, value }) => [key, JSON.stringify(value)]),
    );
    for (const [key, value] of acknowledged) {
      expect(stored.get(key), JSON.stringify(key)).toBe(/^(gone|fading) /.test(key) ? undefined : value);
    }
    expect([...stored.keys()].filter((key) => !acknowledged.has(key))).toEqual([]);
    expect(statuses).toEqual({ [old]: new Set([200]), [frozen]: new Set([403]), [fresh]: new Set([200]) });
    expect(reads).toBeGreaterThan(20);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (missing === null) it(TITLE, move, 30_000);
else {
  it.skip(`${TITLE}: ${missing}`);
  if (process.env.CI) it(`${TITLE} can be tested`, () => expect(missing).toBeNull());
}
