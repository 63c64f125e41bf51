/**
 * The event loop of a server as seen from outside: a thread of its own asks for `GET /health`, the next one a millisecond
 * after each answer, and keeps the longest time between two answers.
 */
import { connect } from "node:net";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

const SPACING_MS = 1;

export interface Pings {
  count: number;
  /** Between two answers, in milliseconds. */
  longest: number;
}

/** Asks from now on; the answer ends it and tells. */
export async function startPings(port: number): Promise<() => Promise<Pings>> {
  const worker = new Worker(new URL(import.meta.url), { workerData: port });
  const said = () => new Promise<Pings>((done, fail) => worker.once("message", done).once("error", fail));
  await said();
  return async () => {
    const pings = said();
    worker.postMessage("stop");
    return pings.finally(() => worker.terminate());
  };
}

function ask(port: number): void {
  const pings: Pings = { count: 0, longest: 0 };
  let last = performance.now();
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  const send = () => socket.write("GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
  socket.once("connect", send);
  socket.on("data", (answer) => {
    if (!String(answer).startsWith("HTTP/1.1 200")) throw new Error(`GET /health was answered: ${answer}`);
    const now = performance.now();
    if (pings.count++ > 0) pings.longest = Math.max(pings.longest, now - last);
    else parentPort?.postMessage(pings);
    last = now;
    setTimeout(send, SPACING_MS);
  });
  parentPort?.once("message", () => {
    // One that is still awaited is a stall too.
    pings.longest = Math.max(pings.longest, performance.now() - last);
    parentPort?.postMessage(pings);
  });
}

if (!isMainThread) ask(workerData as number);
