/** The thread that writes to one SQLite file, so that the service's own can read and answer meanwhile. */
import process from "node:process";
import { setImmediate as nextTurn } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import { failStop } from "./sqlite-fail-stop.ts";
import type { ReadEntry } from "./sqlite-large-cache.ts";
import {
  type Done,
  type FromWriter,
  failureText,
  type Reply,
  type ToWriter,
  unpack,
  type WriterData,
} from "./sqlite-messages.ts";
import { connectDatabase } from "./sqlite-open.ts";
import { stager } from "./sqlite-stager.ts";
import { localWriter } from "./sqlite-write.ts";

const { path, namespace, stop, commits } = workerData as WriterData;
const database = connectDatabase(path);
const fails = failStop(stop);
const writer = localWriter(database, namespace, { stop: fails, ...(commits && { commits }) });
const stages = stager(path, fails);
let written: number[] = [];
let replies: Reply[] = [];

/** What is answered together is sent together. */
function reply(answer: Reply): void {
  if (written.length + replies.length === 0) queueMicrotask(send);
  if (isWritten(answer)) written.push(answer.id);
  else replies.push(answer);
}

function isWritten(answer: Reply): boolean {
  return "done" in answer && Array.isArray(answer.done) && answer.done.length === 1 && answer.done[0] === "written";
}

function send(): void {
  parentPort?.postMessage({ written, replies } satisfies FromWriter, replies.flatMap(buffersOf));
  written = [];
  replies = [];
}

/** What a reply gives away: the buffers of an entry's value. */
function buffersOf(answer: Reply): ArrayBuffer[] {
  const { value, parts } = (("done" in answer && answer.done) || {}) as Partial<ReadEntry>;
  return (parts ?? (value && [value]) ?? []).map(({ buffer }) => buffer as ArrayBuffer);
}

async function answer(id: number, work: Promise<Done>): Promise<void> {
  try {
    reply({ id, done: await work });
  } catch (error) {
    reply({ id, failed: failureText(error) });
  }
}

parentPort?.on("message", async (message: ToWriter) => {
  if (message === "close") {
    await writer.close();
    // What that has answered is on its way first.
    await nextTurn();
    stages.close();
    database.close();
    // This thread alone. Deno's port has no `close`.
    process.exit();
  } else if ("sweep" in message) {
    const { id, now, limit } = message.sweep;
    void answer(id, writer.sweep(now, limit));
  } else if ("read" in message) {
    const { id, key } = message.read;
    void answer(id, writer.read(key));
  } else if ("stage" in message) {
    const { id, stage, at, pieces } = message.stage;
    reply({ id, done: { staged: stages.add(stage, at, pieces), parts: pieces } });
  } else if ("endStage" in message) {
    const { id, stage } = message.endStage;
    stages.end(stage);
    reply({ id, done: null });
  } else {
    for (const { id, operations, options } of unpack(message, stages.idOf))
      void answer(id, writer.write(operations, options));
  }
});
parentPort?.postMessage("ready");
