/** The service on Node: `serve(kv())`. */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type KvApp, PARTS } from "./kv.ts";
import { drainOf, GRACE_MS } from "./node-drain.ts";
import { createHttpServer } from "./node-http.ts";

export interface ServeOptions {
  /** 3000 by default; 0 for any free one. */
  port?: number | undefined;
  /** The address to listen on; 127.0.0.1 by default. */
  host?: string | undefined;
}

export interface KvServer extends AsyncDisposable {
  /** Where it listens, for example `http://127.0.0.1:3000`. */
  readonly url: string;
  /** `/ready` turns 503, requests in flight finish (10 s at most), the storage closes. */
  close(): Promise<void>;
}

/**
 * Serves a `kv()` over HTTP/1.1 and ends it on SIGTERM and SIGINT. Rejects before it listens where the environment is
 * wrong (a `TypeError` that names the variable) or the port cannot be had.
 */
export async function serve(app: KvApp, { port = 3000, host = "127.0.0.1" }: ServeOptions = {}): Promise<KvServer> {
  const server = createHttpServer(app);
  const drain = drainOf(server);
  try {
    await app.ready();
    await listen(server, port, host);
  } catch (error) {
    await app.close();
    throw error;
  }

  let closing: Promise<void> | undefined;
  const close = () => (closing ??= shutDown(drain, app).finally(() => unlisten()));
  const unlisten = onSignal(close);
  return { url: urlOf(server, host), close, [Symbol.asyncDispose]: close };
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(listenError(error, port, host)));
    server.listen(port, host, resolve);
  });
}

function listenError(error: NodeJS.ErrnoException, port: number, host: string): Error {
  const mend: Record<string, string> = {
    EADDRINUSE: "is in use; stop what listens there or choose another port",
    EACCES: "is not allowed to this user; choose a port from 1024 up",
    EADDRNOTAVAIL: "is not an address of this machine; choose another host",
    ENOTFOUND: "is not an address of this machine; choose another host",
  };
  return new Error(`${host}:${port} ${mend[error.code ?? ""] ?? `cannot be listened on (${error.code})`}`, {
    cause: error,
  });
}

async function shutDown(drain: () => Promise<void>, app: KvApp): Promise<void> {
  // The storage closes after the last connection: until then a request may come.
  const { end: drained } = app[PARTS].service.begin(undefined);
  const closed = app.close();
  closed.catch(() => {});
  await drain();
  drained();
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, GRACE_MS).unref())]);
}

/** Ends the process with 0 once `close` is done; a second signal ends it at once. */
function onSignal(close: () => Promise<void>): () => void {
  let asked = false;
  const stop = () => {
    if (asked) process.exit(1);
    asked = true;
    void close().finally(() => process.exit(0));
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  return () => {
    process.off("SIGTERM", stop);
    process.off("SIGINT", stop);
  };
}

function urlOf(server: Server, host: string): string {
  const { port } = server.address() as AddressInfo;
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
