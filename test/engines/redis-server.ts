/** A real Redis, single or as a cluster of three masters, with a user of its own for the service. */
import { randomBytes } from "node:crypto";
import { createClient } from "redis";
import { redisStorage } from "../../src/storage/redis.ts";
import type { Engine } from "./engine.ts";
import { findBinary, freePort, type Server, startServer } from "./server.ts";

const REDIS = findBinary("/usr/bin/redis-server", "/usr/local/bin/redis-server", "/opt/homebrew/bin/redis-server");

export const missing = REDIS === null ? "needs Redis: apt-get install redis-server" : null;

export interface Redis extends Engine {
  /** What the service connects by. */
  url: string;
  secret: string;
  /** The servers: one, or the masters of a cluster. */
  nodes: RedisNode[];
  /** One command as the administrator, on the only server or on the first. */
  admin(...args: string[]): Promise<unknown>;
  kill(): Promise<void>;
  start(): Promise<void>;
  pause(): void;
  resume(): void;
  cut(): Promise<void>;
  refuse(refused: boolean): Promise<void>;
}

export interface RedisNode extends Server {
  /** The port by which the nodes of a cluster talk to each other. */
  bus: number;
  admin(...args: string[]): Promise<unknown>;
}

/** What the service needs to be allowed, as the documentation has it. */
export const PERMISSIONS = [
  "~workertown_kv:*",
  ..."+hmget +hget +hstrlen +hset +del +pexpireat +zadd +zrem +zrange +zrangebyscore".split(" "),
  ..."+evalsha +eval +multi +exec +cluster|slots".split(" "),
];

/** A single server; `durable: false`: what it answered need not survive. */
export async function startRedis({ durable = true } = {}): Promise<Redis> {
  const secret = randomBytes(12).toString("hex");
  const node = await startNode(secret, { durable });
  return engineOf(`redis://kv:${secret}@127.0.0.1:${node.port}`, secret, [node], async () => {});
}

export async function startRedisCluster({ shards = 1 } = {}): Promise<Redis> {
  const secret = randomBytes(12).toString("hex");
  const nodes = await Promise.all([0, 1, 2].map(() => startNode(secret, { cluster: true })));
  try {
    await join(nodes);
  } catch (error) {
    await Promise.all(nodes.map((node) => node[Symbol.asyncDispose]()));
    throw error;
  }
  const url = `redis+cluster://kv:${secret}@127.0.0.1:${nodes[1]?.port}`;
  return engineOf(shards === 1 ? url : `${url}?shards=${shards}`, secret, nodes, () => settled(nodes));
}

function engineOf(url: string, secret: string, nodes: RedisNode[], whole: () => Promise<void>): Redis {
  const onEach = async (step: (node: RedisNode) => unknown) => {
    await Promise.all(nodes.map(async (node) => step(node)));
  };
  return {
    url,
    secret,
    nodes,
    admin: (...args) => (nodes[0] as RedisNode).admin(...args),
    open: (namespace) => redisStorage({ url, namespace }),
    kill: () => onEach((node) => node.kill()),
    async start() {
      await onEach((node) => node.start());
      await whole();
    },
    pause: () => {
      for (const node of nodes) node.pause();
    },
    resume: () => {
      for (const node of nodes) node.resume();
    },
    cut: () => onEach((node) => node.admin("CLIENT", "KILL", "USER", "kv")),
    refuse: (refused) => onEach((node) => node.admin("ACL", "SETUSER", "kv", refused ? "off" : "on")),
    [Symbol.asyncDispose]: () => onEach((node) => node[Symbol.asyncDispose]()),
  };
}

export async function startNode(secret: string, { cluster = false, durable = true } = {}): Promise<RedisNode> {
  // By default the port of the bus is 10,000 higher, which may be more than there are.
  const bus = cluster ? await freePort() : 0;
  const settings = [
    ...["--bind", "127.0.0.1", "--save", "", "--appendonly", durable ? "yes" : "no", "--appendfsync", "always"],
    ...["--user", "kv", "on", `>${secret}`, ...PERMISSIONS],
    ...(cluster ? ["--cluster-enabled", "yes", "--cluster-port", `${bus}`, "--cluster-node-timeout", "1000"] : []),
  ];
  const server = await startServer({
    user: "redis",
    command: (folder, port) => [REDIS as string, "--port", `${port}`, "--dir", folder, ...settings],
    answers: (port) => command(port, ["PING"]),
  });
  return { ...server, bus, admin: (...args) => command(server.port, args) };
}

/** Has three nodes share all slots. */
async function join(nodes: readonly RedisNode[]): Promise<void> {
  const [first] = nodes as [RedisNode];
  const bounds = [0, 5461, 10923, 16384];
  for (const [index, node] of nodes.entries()) {
    await node.admin("CLUSTER", "ADDSLOTSRANGE", `${bounds[index]}`, `${(bounds[index + 1] as number) - 1}`);
    await node.admin("CLUSTER", "SET-CONFIG-EPOCH", `${index + 1}`);
    if (node === first) continue;
    await first.admin("CLUSTER", "MEET", "127.0.0.1", `${node.port}`, `${node.bus}`);
  }
  await settled(nodes);
}

/** Resolves when every node says that the cluster is whole. */
async function settled(nodes: readonly RedisNode[]): Promise<void> {
  for (const deadline = Date.now() + 20_000; ; ) {
    const infos = await Promise.all(nodes.map((node) => node.admin("CLUSTER", "INFO")));
    if (infos.every((info) => /cluster_state:ok[\s\S]*cluster_known_nodes:3/.test(String(info)))) return;
    if (Date.now() > deadline) throw new Error(`The cluster did not come up: ${infos.join("\n")}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** One command on a connection of its own. */
async function command(port: number, args: readonly string[]): Promise<unknown> {
  const client = createClient({ RESP: 2, socket: { host: "127.0.0.1", port, reconnectStrategy: false } });
  client.on("error", () => {});
  try {
    await client.connect();
    return await client.sendCommand([...args]);
  } finally {
    client.destroy();
  }
}
