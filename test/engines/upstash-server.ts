/** A REST API as Upstash documents it, over a real Redis: the client's format and our scripts, not the vendor's service. */
import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { createClient } from "redis";
import { upstashStorage } from "../../src/storage/upstash.ts";
import type { Engine } from "./engine.ts";
import { missing, type Redis, startRedis } from "./redis-server.ts";

export { missing };

/** What a request may hold on the plans "Free" and "Pay as you go". */
const REQUEST_BYTES = 10_000_000;

export interface Upstash extends Engine {
  url: string;
  secret: string;
  redis: Redis;
  /** The names of the commands that came, in their order. */
  commands: string[];
  /** Answers the next request so, in place of what Redis says. */
  answerNext(status: number, body: string): void;
  kill(): Promise<void>;
  start(): Promise<void>;
  pause(): void;
  resume(): void;
  cut(): Promise<void>;
  refuse(refused: boolean): Promise<void>;
}

export async function startUpstash(): Promise<Upstash> {
  const redis = await startRedis({ durable: false });
  const client = createClient({ RESP: 2, socket: { host: "127.0.0.1", port: redis.nodes[0]?.port as number } });
  client.on("error", () => {});
  await client.connect();
  const secret = randomBytes(12).toString("hex");
  const commands: string[] = [];
  const sockets = new Set<Socket>();
  let token = secret;
  let running = Promise.resolve();
  let resume = () => {};
  let next: { status: number; body: string } | null = null;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    await running;
    const send = (status: number, text: string) => {
      response.writeHead(status, { "Content-Type": "application/json" }).end(text);
    };
    const fail = (status: number, error: string) => send(status, JSON.stringify({ error }));
    if (request.headers.authorization !== `Bearer ${token}`)
      return fail(401, "WRONGPASS invalid or missing auth token");
    if (body.length > REQUEST_BYTES) {
      return fail(400, `ERR max request size exceeded. Limit: ${REQUEST_BYTES} bytes, Actual: ${body.length} bytes`);
    }
    const command = (JSON.parse(body.toString()) as unknown[]).map(String);
    commands.push(command[0] as string);
    if (next !== null) {
      const { status, body } = next;
      next = null;
      return send(status, body);
    }
    try {
      const result = await client.sendCommand(command);
      const shown = request.headers["upstash-encoding"] === "base64" ? encoded(result) : result;
      send(200, JSON.stringify({ result: shown }));
    } catch (error) {
      fail(400, (error as Error).message);
    }
  }

  const server = createServer((request, response) => void answer(request, response).catch(() => response.destroy()));
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const cut = async () => {
    for (const socket of sockets) socket.destroy();
  };
  const kill = async () => {
    server.close();
    await cut();
  };

  return {
    url,
    secret,
    redis,
    commands,
    answerNext: (status, body) => {
      next = { status, body };
    },
    open: (namespace) => upstashStorage({ url, token: secret, namespace }),
    kill,
    start: () => listen(port),
    pause: () => {
      running = new Promise((resolve) => {
        resume = resolve;
      });
    },
    resume: () => resume(),
    cut,
    async refuse(refused) {
      token = refused ? "another" : secret;
    },
    async [Symbol.asyncDispose]() {
      resume();
      await kill();
      client.destroy();
      await redis[Symbol.asyncDispose]();
    },
  };
}

/** Every string of a reply in base64. */
function encoded(reply: unknown): unknown {
  if (Array.isArray(reply)) return reply.map(encoded);
  return typeof reply === "string" ? Buffer.from(reply).toString("base64") : reply;
}
