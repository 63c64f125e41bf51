import { Worker } from "node:worker_threads";
import { KvError } from "../core/errors.ts";
import type { StorageAdapter } from "./adapter.ts";
import { OUTCOME_UNKNOWN } from "./failures.ts";
import {
  type Done,
  type FromWriter,
  failureFrom,
  type PackedCall,
  pack,
  type Reply,
  type Staged,
  type Stages,
  type ToWriter,
  type WriterData,
} from "./sqlite-messages.ts";
import type { Writer } from "./sqlite-write.ts";

/** How many calls are sent before the turn of the event loop ends. */
const AT_ONCE = 16;

interface Waiting {
  resolve(done: Done): void;
  reject(error: unknown): void;
}

/**
 * A writer on a thread of its own, which is started by the first call. What the thread had not answered when it ended, for
 * whatever reason, is rejected with `unavailable`; the next call starts another one. Where no thread can be had at all, as
 * in a bundle that has no file for it, `otherwise` writes. `beforeAnswers` is called when something has been written.
 */
export function writerThread(
  data: WriterData,
  otherwise: () => Writer,
  beforeAnswers = () => {},
): Writer & Required<Pick<StorageAdapter, "stage">> {
  const waiting = new Map<number, Waiting>();
  let worker: Worker | null = null;
  let ended: Promise<void> = Promise.resolve();
  /** Whether a thread could not even begin. */
  let threadless = false;
  let local: Writer | null = null;
  let ids = 0;
  let outbox: PackedCall[] = [];
  /** Whether the thread that runs has begun: what is given to it before might be lost. */
  let isReady = false;
  const stages: Stages = new WeakMap();

  function start(): Worker {
    const started = new Worker(writerUrl(), { workerData: data });
    let failure: unknown;
    started.on("message", (message: FromWriter) => {
      if (message === "ready") {
        isReady = true;
        return;
      }
      beforeAnswers();
      for (const id of message.written) settle({ id, done: ["written"] });
      for (const reply of message.replies) settle(reply);
      if (waiting.size === 0) started.unref();
    });
    started.on("error", (error) => {
      failure = error;
      threadless = !isReady;
    });
    ended = new Promise((resolve) => {
      started.on("exit", () => {
        worker = null;
        const outcome = isReady ? OUTCOME_UNKNOWN : "";
        isReady = false;
        const error = new KvError("unavailable", `The thread that writes has ended${outcome}`, { cause: failure });
        for (const { reject } of waiting.values()) reject(error);
        waiting.clear();
        resolve();
      });
    });
    return started;
  }

  function settle(reply: Reply): void {
    const call = waiting.get(reply.id);
    waiting.delete(reply.id);
    if ("failed" in reply) call?.reject(failureFrom(reply.failed));
    else call?.resolve(reply.done);
  }

  function send(message: ToWriter, transfer: ArrayBuffer[] = []): void {
    worker ??= start();
    // It keeps the process alive only as long as somebody waits for it.
    worker.ref();
    worker.postMessage(message, transfer);
  }

  /** What has come in one turn in one message, or in several, so that the thread need not wait until the turn is over. */
  function flush(): void {
    if (outbox.length === 0) return;
    const message = pack(outbox, stages);
    outbox = [];
    send(message, [message.values]);
  }

  /** By the thread, and by nobody else. */
  function asked<T extends Done>(ask: (id: number) => void): Promise<T> {
    const id = ids++;
    const done = new Promise<Done>((resolve, reject) => waiting.set(id, { resolve, reject }));
    ask(id);
    return done as Promise<T>;
  }

  /** By the thread, or where none could even begin, and so has done nothing, by the other one. */
  async function answer<T extends Done>(ask: (id: number) => void, here: (writer: Writer) => Promise<T>): Promise<T> {
    if (!threadless) {
      try {
        return await asked<T>(ask);
      } catch (error) {
        if (!threadless) throw error;
      }
    }
    local ??= otherwise();
    return here(local).finally(beforeAnswers);
  }

  return {
    write: (operations, options) =>
      answer(
        (id) => {
          const length = outbox.push({ id, operations, options });
          if (length === AT_ONCE) flush();
          else if (length === 1) setImmediate(flush);
        },
        (writer) => writer.write(operations, options),
      ),
    sweep: (now, limit) =>
      answer(
        (id) => send({ sweep: { id, now, limit } }),
        (writer) => writer.sweep(now, limit),
      ),
    read: (key) =>
      answer(
        (id) => send({ read: { id, key } }),
        (writer) => writer.read(key),
      ),
    stage() {
      if (!isReady) return null;
      const stage = ids++;
      let complete = true;
      return {
        async add(at, pieces) {
          if (!complete) return pieces;
          const transfer = pieces.map(({ buffer }) => buffer as ArrayBuffer);
          const { staged, parts } = await asked<Staged>((id) => send({ stage: { id, stage, at, pieces } }, transfer));
          complete &&= staged;
          return parts;
        },
        stands(parts) {
          if (complete) stages.set(parts, stage);
        },
        end() {
          if (isReady) asked((id) => send({ endStage: { id, stage } })).catch(() => {});
        },
      };
    },
    async close() {
      flush();
      await local?.close();
      if (worker === null) return;
      send("close");
      await ended;
    },
  };
}

/** Beside this file, as it is named here: in the clone and in the package. */
function writerUrl(): URL {
  const extension = /\.[jt]s$/.exec(import.meta.url)?.[0] ?? ".js";
  return new URL(`./sqlite-writer${extension}`, import.meta.url);
}
