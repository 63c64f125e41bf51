/** How much longer others wait while clients are slow, idle or never done: p99 of reads, in turns without and with them. */
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Bench } from "./harness/bench.ts";
import { HOT, jsonOf } from "./harness/data.ts";
import { residentMiB } from "./harness/memory.ts";
import { atMost } from "./harness/report.ts";
import { put, type Service, startKv } from "./harness/service.ts";
import { KIB, MIB } from "./harness/settings.ts";
import { wrk } from "./harness/wrk.ts";

const IDLE = 5000;
const SECONDS = 2;

/** What each of some clients sends; they read nothing. */
interface Clients {
  name: string;
  count: number;
  text(service: Service): string;
  /** What follows each tenth of a second. */
  more?: string;
}

const fields = ({ headers }: Service) =>
  Object.entries({ Host: "x", ...headers })
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("");
const CLIENTS: readonly Clients[] = [
  { name: `${IDLE} idle connections`, count: IDLE, text: () => "" },
  { name: "500 slow headers", count: 500, text: () => "GET /health HTTP/1.1\r\nX: ", more: "y" },
  {
    name: "500 slow bodies",
    count: 500,
    text: (service) =>
      `PUT /v1/kv/slow HTTP/1.1\r\n${fields(service)}Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"value":"`,
    more: "x",
  },
  {
    name: "100 readers of 25 MiB that read nothing",
    count: 100,
    text: (service) => `GET /v1/kv/large HTTP/1.1\r\n${fields(service)}\r\n`,
  },
  {
    name: "20 floods of headers",
    count: 20,
    text: () => `GET /health HTTP/1.1\r\n${"a:\r\n".repeat(3000)}`,
    more: "a:\r\n".repeat(100),
  },
  {
    name: "10 floods of requests that read nothing",
    count: 10,
    text: () => "GET /health HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20_000),
  },
];

export async function hostile({ report, folder, settings: { rounds } }: Bench): Promise<void> {
  await using service = await startKv({ folder: join(folder, "hostile") });
  await put(service, HOT, jsonOf(0, KIB));
  await put(service, "large", jsonOf(0, 25 * MIB));
  const p99 = async () =>
    (await wrk(service.url + service.get.join(HOT), { connections: 8, seconds: SECONDS, headers: service.headers }))
      .p99;
  await p99();
  for (const clients of CLIENTS) {
    const ratios: number[] = [];
    let memory = 0;
    for (let round = 0; round < Math.min(rounds, 3); round++) {
      const calm = await p99();
      const before = residentMiB(service.pid);
      const stop = await begin(service, clients);
      ratios.push((await p99()) / calm);
      memory = Math.max(memory, residentMiB(service.pid) - before);
      stop();
      await delay(300);
    }
    report.add({
      name: `p99 beside ${clients.name}`,
      unit: "",
      goal: atMost(3),
      rounds: ratios,
      baseline: `${memory.toFixed(0)} MiB more`,
    });
  }
}

async function begin(service: Service, { count, text, more }: Clients): Promise<() => void> {
  const sockets: Socket[] = [];
  for (let at = 0; at < count; at++) {
    const socket = connect(service.port, "127.0.0.1")
      .pause()
      .on("error", () => {});
    socket.write(text(service));
    sockets.push(socket);
    if (at % 200 === 199) await delay(20);
  }
  await delay(300);
  const timer = setInterval(() => more !== undefined && sockets.forEach((socket) => void socket.write(more)), 100);
  return () => {
    clearInterval(timer);
    for (const socket of sockets) socket.destroy();
  };
}
