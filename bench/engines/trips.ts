/** How many round trips an operation of the service costs, counted at a proxy before the engine. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { startDynamodb } from "../../test/engines/dynamodb-server.ts";
import type { Bench } from "../harness/bench.ts";
import { atMost } from "../harness/report.ts";
import type { Service } from "../harness/service.ts";
import { dynamodbEnv, ENGINES, serveUrl } from "./engines.ts";

/** The engines that are reached by a connection of their own. */
const REMOTE = ["PostgreSQL", "MariaDB", "Redis"];
/** By then a service has made its table and swept. */
const CALM_MS = 600;
const THOUSAND = 1000;

export async function roundTrips({ report, folder }: Bench): Promise<void> {
  for (const { name, missing, start } of ENGINES) {
    if (missing !== null || !REMOTE.includes(name)) continue;
    await using engine = await start(folder);
    await using proxy = await countingProxy(Number(new URL(engine.target.url).port));
    const url = new URL(engine.target.url);
    url.port = String(proxy.port);
    await using service = await serveUrl(folder, `trips-${name}`, { KV_DB: url.href });
    await tell(report, name, service, proxy);
  }
  await using dynamodb = await startDynamodb();
  await using proxy = await countingProxy(Number(new URL(dynamodb.endpoint).port));
  await using service = await serveUrl(folder, "trips-dynamodb", dynamodbEnv(`http://127.0.0.1:${proxy.port}`));
  await tell(report, "DynamoDB (dynalite)", service, proxy);
}

async function tell(report: Bench["report"], name: string, service: Service, proxy: Proxy): Promise<void> {
  const counted = await countsOf(service, proxy);
  const { "1,000 puts": puts = 0, "1,000 gets": gets = 0, ...single } = counted;
  const most = Math.max(...Object.values(single));
  const baseline = Object.entries(single)
    .map(([operation, trips]) => `${operation} ${trips}`)
    .join(", ");
  report.add({ name: `${name}: round trips, at most`, unit: "", goal: atMost(1), rounds: [], value: most, baseline });
  report.add({
    name: `${name}: round trips of 1,000 puts`,
    unit: "",
    rounds: [],
    value: puts,
    baseline: `gets ${gets}`,
  });
}

async function countsOf({ url, headers }: Service, proxy: Proxy): Promise<Record<string, number>> {
  const ask = async (method: string, path: string, body?: unknown, more: Record<string, string> = {}) => {
    const answer = await fetch(`${url}/v1/kv${path}`, {
      method,
      headers: { ...headers, "Content-Type": "application/json", ...more },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    await answer.arrayBuffer();
    if (!answer.ok) throw new Error(`${method} ${path} answered ${answer.status}`);
    return answer.headers.get("ETag") ?? "";
  };
  // Connections are opened, statements and scripts prepared: what is counted is what each further call costs.
  for (let turn = 0; turn < 2; turn++) {
    const tag = await ask("PUT", "/warm", { value: turn });
    await ask("GET", "/warm");
    await ask("PUT", "/warm", { value: turn }, { "If-Match": tag });
    await ask("DELETE", "/warm");
    await ask("PUT", "/warm", { value: turn }, { "If-None-Match": "*" });
    await ask("DELETE", "/warm");
    await delay(CALM_MS);
  }
  const keys = Array.from({ length: THOUSAND }, (_, index) => `many-${index}`);
  const batch = (op: string) =>
    ask("POST", "", { operations: keys.map((key) => ({ op, key, ...(op === "put" && { value: key }) })) });
  for (const op of ["put", "get"]) await batch(op);
  const counts: Record<string, number> = {};
  let tag = "";
  const count = async (name: string, call: () => Promise<string>) => {
    const before = proxy.trips();
    const answered = await call();
    if (answered !== "") tag = answered;
    counts[name] = proxy.trips() - before;
  };
  await count("put", () => ask("PUT", "/k", { value: 1 }));
  await count("get", () => ask("GET", "/k"));
  await count("create", () => ask("PUT", "/new", { value: 1 }, { "If-None-Match": "*" }));
  await count("replace", () => ask("PUT", "/new", { value: 2 }, { "If-Match": tag }));
  await count("delete", () => ask("DELETE", "/k"));
  await count("1,000 puts", () => batch("put"));
  await count("1,000 gets", () => batch("get"));
  return counts;
}

interface Proxy extends AsyncDisposable {
  port: number;
  /** How often something was sent after an answer, on whatever connection. */
  trips(): number;
}

async function countingProxy(target: number): Promise<Proxy> {
  let trips = 0;
  const sockets = new Set<Socket>();
  const server: Server = createServer((near) => {
    const far = connect({ port: target, host: "127.0.0.1", noDelay: true });
    near.setNoDelay(true);
    let asking = false;
    near.on("data", () => {
      if (!asking) trips++;
      asking = true;
    });
    far.on("data", () => {
      asking = false;
    });
    near.pipe(far).pipe(near);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.once("error", () => socket.destroy());
      socket.once("close", () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return {
    port: (server.address() as { port: number }).port,
    trips: () => trips,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((done) => server.close(done));
    },
  };
}
