/**
 * What do an import and an export of many entries cost: entries a second and the most memory the service took?
 *
 * Starts the command on an SQLite file of its own, imports ENTRIES entries of 100 bytes and one value of 25 MiB, exports
 * them, and prints the peak of resident memory over idle, and the speed as a ratio to `node:sqlite` alone inserting the
 * same entries in the same groups, and reading them, in the same run.
 *
 *   npm run build && npx node bench/transfer.ts [ENTRIES]
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";

const entries = Number(process.argv[2] ?? 1_000_000);
const large = Number(process.argv[3] ?? 26_214_400);
const GROUP = 1000;
const folder = mkdtempSync(join(tmpdir(), "kv-bench-"));
const key = "bench-key-0123456789abcdef";

const text = (index: number) => `{"id":${index},"text":"${"x".repeat(100 - 20 - String(index).length)}"}`;
const name = (index: number) => `k/${String(index).padStart(9, "0")}`;

function baseline(): { write: number; read: number } {
  const database = new DatabaseSync(join(folder, "baseline.sqlite"));
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
  database.exec("CREATE TABLE t (k BLOB PRIMARY KEY, v TEXT NOT NULL)");
  const put = database.prepare("INSERT INTO t VALUES (?, ?)");
  let start = performance.now();
  for (let index = 0; index < entries; index += GROUP) {
    database.exec("BEGIN");
    for (let at = index; at < Math.min(index + GROUP, entries); at++) put.run(Buffer.from(name(at)), text(at));
    database.exec("COMMIT");
  }
  const write = (entries / (performance.now() - start)) * 1000;
  start = performance.now();
  let bytes = 0;
  for (const row of database.prepare("SELECT k, v FROM t ORDER BY k").iterate()) bytes += (row.v as string).length;
  const read = (entries / (performance.now() - start)) * 1000;
  database.close();
  if (bytes < entries * 50) throw new Error("The baseline read too little");
  return { write, read };
}

async function* lines(): AsyncGenerator<Buffer> {
  for (let index = 0; index < entries; index += GROUP) {
    let chunk = "";
    for (let at = index; at < Math.min(index + GROUP, entries); at++) {
      chunk += `{"key":"${name(at)}","value":${text(at)}}\n`;
    }
    yield Buffer.from(chunk);
  }
  yield Buffer.from(`{"key":"large","value":"${"x".repeat(large - 2)}"}\n`);
}

const memory = (pid: number, field: "VmRSS" | "VmHWM") =>
  Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;

const child = spawn(process.execPath, [resolve(import.meta.dirname, "../dist/cli/main.js"), "serve", "--port", "0"], {
  cwd: folder,
  env: { PATH: process.env.PATH, KV_API_KEY: key },
  stdio: ["ignore", "pipe", "inherit"],
});
try {
  const url = await new Promise<string>((done) =>
    child.stdout.on("data", (chunk: Buffer) => {
      const found = /http:\S+\d/.exec(String(chunk));
      if (found) done(found[0]);
    }),
  );
  const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/x-ndjson" };
  const idle = memory(child.pid as number, "VmRSS");
  const base = baseline();

  let start = performance.now();
  const answer = await fetch(`${url}/admin/import`, {
    method: "POST",
    headers,
    body: lines(),
    duplex: "half",
  } as never);
  const report = await answer.text();
  const written = (entries / (performance.now() - start)) * 1000;
  const afterImport = memory(child.pid as number, "VmHWM");

  start = performance.now();
  let bytes = 0;
  const exported = await fetch(`${url}/admin/export`, { headers });
  for await (const chunk of exported.body as ReadableStream<Uint8Array>) bytes += chunk.length;
  const read = (entries / (performance.now() - start)) * 1000;
  const peak = memory(child.pid as number, "VmHWM");

  console.log(`import  ${report}`);
  console.log(`import  ${written.toFixed(0)} entries/s, ${(written / base.write).toFixed(2)} of node:sqlite alone`);
  console.log(
    `export  ${read.toFixed(0)} entries/s, ${(read / base.read).toFixed(2)} of node:sqlite alone, ${bytes} bytes`,
  );
  console.log(
    `memory  idle ${idle.toFixed(0)} MiB, peak after import ${afterImport.toFixed(0)} MiB, after export ${peak.toFixed(0)} MiB`,
  );
} finally {
  child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
}
