import { missingDriver } from "./driver.ts";
import type { RedisClientLike } from "./redis-connection.ts";

/** Where Redis is, as a URL says it. */
export interface RedisTarget {
  cluster: boolean;
  database: number;
  credentials: { username?: string; password?: string };
  socket: { host: string; port: number; tls: boolean };
  shards: number | undefined;
}

/** Throws a `TypeError` that quotes nothing of the URL. */
export function targetOf(url: string): RedisTarget {
  try {
    return parsed(new URL(url));
  } catch {
    throw new TypeError(
      "url: Expected redis://[user:password@]host[:port][/database], rediss://… with TLS, redis+cluster://… or rediss+cluster://…, each with ?shards=… where wanted",
    );
  }
}

function parsed({ protocol, hostname, port, pathname, searchParams, username, password }: URL): RedisTarget {
  const [, tls, cluster] = must(/^redis(s)?(\+cluster)?:$/.exec(protocol));
  const [, database] = must(/^\/?(\d*)$/.exec(pathname));
  must(hostname !== "" && (cluster === undefined || Number(database) === 0));
  must([...searchParams.keys()].every((name) => name === "shards"));
  const shards = searchParams.get("shards");
  return {
    cluster: cluster !== undefined,
    database: Number(database),
    credentials: {
      ...(username && { username: decodeURIComponent(username) }),
      ...(password && { password: decodeURIComponent(password) }),
    },
    socket: { host: hostname.replace(/^\[(.*)\]$/, "$1"), port: Number(port || 6379), tls: tls !== undefined },
    shards: shards === null ? undefined : Number(must(/^\d+$/.exec(shards))),
  };
}

function must<T>(found: T): NonNullable<T> {
  if (!found) throw new Error();
  return found;
}

/** Makes clients that neither connect again nor keep commands by themselves. */
export function clientsOf({ cluster, database, credentials, socket }: RedisTarget): () => Promise<RedisClientLike> {
  const plain = { disableOfflineQueue: true, disableClientInfo: true, maintNotifications: "disabled" } as const;
  const settings = { ...credentials, ...plain };
  const once = { connectTimeout: 5000, reconnectStrategy: false } as const;
  /** The masters of a cluster: the node of the URL may be the one that goes. */
  let nodes: readonly { host: string; port: number }[] = [];
  return async () => {
    const { createClient, createCluster } = await import("redis").catch(missingDriver("redis"));
    if (!cluster) return createClient({ ...settings, database, socket: { ...socket, ...once } as object });
    const client = createCluster({
      rootNodes: [socket, ...nodes].map(({ host, port }) => ({ socket: { host, port } })),
      defaults: { ...settings, socket: { ...once, tls: socket.tls } as object },
      // A node that is down keeps nobody from the others.
      minimizeConnections: true,
    });
    client.on("connect", () => {
      nodes = [...client.masters];
    });
    return client;
  };
}
