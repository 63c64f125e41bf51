import { Worker } from "node:worker_threads";
import { KvError } from "../core/errors.ts";
import type { StoredEntry, WriteOutcome } from "./adapter.ts";
import { type FromWriter, failureFrom, pack, type Reply, type ToWriter, type WriterData } from "./sqlite-messages.ts";
import type { Writer } from "./sqlite-write.ts";

interface Waiting {
  resolve(reply: Reply): void;
  reject(error: unknown): void;
}

type Call = Parameters<typeof pack>[0][number];

/**
 * A writer on a thread of its own, which is started by the first call. What the thread had not answered when it ended, for
 * whatever reason, is rejected with `unavailable`; the next call starts another one. Where no thread can be had at all, as
 * in a bundle that has no file for it, `otherwise` writes. `beforeAnswers` is called when something has been written.
 */
export function writerThread(data: WriterData, otherwise: () => Writer, beforeAnswers = () => {}): Writer {
  const waiting = new Map<number, Waiting>();
  let worker: Worker | null = null;
  let ended: Promise<void> = Promise.resolve();
  let local: Writer | null = null;
  let ids = 0;
  let outbox: Call[] = [];

  function start(): Worker {
    const started = new Worker(writerUrl(), { workerData: data });
    let failure: unknown;
    let ready = false;
    started.on("message", (message: FromWriter) => {
      if (message === "ready") {
        ready = true;
        return;
      }
      beforeAnswers();
      for (const reply of message) {
        waiting.get(reply.id)?.resolve(reply);
        waiting.delete(reply.id);
      }
      if (waiting.size === 0) started.unref();
    });
    started.on("error", (error) => {
      failure = error;
      if (!ready) local ??= otherwise();
    });
    ended = new Promise((resolve) => {
      started.on("exit", () => {
        worker = null;
        const outcome = ready ? "; the outcome of the write is unknown" : "";
        const error = new KvError("unavailable", `The thread that writes has ended${outcome}`, { cause: failure });
        for (const { reject } of waiting.values()) reject(error);
        waiting.clear();
        resolve();
      });
    });
    return started;
  }

  function send(message: ToWriter, transfer: ArrayBuffer[] = []): void {
    worker ??= start();
    // It keeps the process alive only as long as somebody waits for it.
    worker.ref();
    worker.postMessage(message, transfer);
  }

  function ask(id: number): Promise<Reply> {
    return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
  }

  /** Everything of one turn in one message. */
  function flush(): void {
    if (outbox.length === 0) return;
    const message = pack(outbox);
    outbox = [];
    send(message, [message.values]);
  }

  /** By the thread, or where it could not even begin by the other one. */
  async function answer<T>(byThread: (id: number) => Promise<T>, byOther: (writer: Writer) => Promise<T>): Promise<T> {
    if (local !== null) return byOther(local).finally(beforeAnswers);
    try {
      return await byThread(ids++);
    } catch (error) {
      // It has done nothing.
      if (local === null) throw error;
      return byOther(local).finally(beforeAnswers);
    }
  }

  return {
    write: (operations, options) =>
      answer(
        async (id) => {
          if (outbox.push({ id, operations, options }) === 1) setImmediate(flush);
          return outcomesOf(await ask(id));
        },
        (writer) => writer.write(operations, options),
      ),
    sweep: (now, limit) =>
      answer(
        async (id) => {
          send({ sweep: { id, now, limit } });
          return sweptOf(await ask(id));
        },
        (writer) => writer.sweep(now, limit),
      ),
    read: (key) =>
      answer(
        async (id) => {
          send({ read: { id, key } });
          return entryOf(await ask(id));
        },
        (writer) => writer.read(key),
      ),
    async close() {
      if (outbox.length > 0) flush();
      await local?.close();
      if (worker === null) return;
      worker.ref();
      worker.postMessage("close" satisfies ToWriter);
      await ended;
    },
  };
}

function outcomesOf(reply: Reply): WriteOutcome[] {
  if ("failed" in reply) throw failureFrom(reply.failed);
  return "outcomes" in reply ? reply.outcomes : [];
}

function sweptOf(reply: Reply): number {
  if ("failed" in reply) throw failureFrom(reply.failed);
  return "swept" in reply ? reply.swept : 0;
}

function entryOf(reply: Reply): StoredEntry | null {
  if ("failed" in reply) throw failureFrom(reply.failed);
  return "entry" in reply ? reply.entry : null;
}

/** Beside this file, as it is named here: in the clone and in the package. */
function writerUrl(): URL {
  const extension = /\.[jt]s$/.exec(import.meta.url)?.[0] ?? ".js";
  return new URL(`./sqlite-writer${extension}`, import.meta.url);
}
