/** The service over each engine ÷ its driver alone, one instance and two, the read cache, and Webdis on the same Redis. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Bench } from "../harness/bench.ts";
import { type Fill, groupsOf, HOT, ITEM, jsonOf, KEY } from "../harness/data.ts";
import { hot, type Loader, spread, writes } from "../harness/loads.ts";
import { missingPeer } from "../harness/peers.ts";
import { start } from "../harness/process.ts";
import { atLeast, type Goal } from "../harness/report.ts";
import { interleaved, median, ratios } from "../harness/rounds.ts";
import { importInto, OUR_DIALECT, put, type Service } from "../harness/service.ts";
import { KIB } from "../harness/settings.ts";
import { CALLERS, type Driver, startDriver } from "./driver.ts";
import { type BenchEngine, ENGINES } from "./engines.ts";
import { startService } from "./service.ts";

export const COUNT = 10_000;
const FILL: Fill = { prefix: ITEM, count: COUNT, bytes: KIB };
const MIB = 1_048_576;
const WARM_SECONDS = 0.5;
/** Over which of them two instances are compared with one. */
const TWICE = ["PostgreSQL", "Redis"];

type Kind = "get" | "put";
const KINDS: readonly Kind[] = ["get", "put"];
const SHOWN: Readonly<Record<Kind, string>> = { get: "GET", put: "PUT" };

/** Answers a second in one turn. */
type Turn = (round: number, seconds: number) => Promise<number>;

interface Contender {
  engine: BenchEngine;
  service: Service;
  driver: Driver;
}

export async function speed({ settings, report, folder }: Bench): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const loaderOf = (kind: Kind, connections: number): Loader =>
    kind === "get" ? spread(COUNT, connections) : writes({ count: COUNT, folder, connections });
  const turnOf =
    (kind: Kind, ...services: Service[]): Turn =>
    async (round, seconds) => {
      const load = loaderOf(kind, CALLERS / services.length);
      const loads = await Promise.all(services.map((service) => load(service, { seconds, round })));
      return loads.reduce((sum, { rate }) => sum + rate, 0);
    };

  const turns = new Map<string, Turn>();
  const memory = stack.use(await startService(folder, "memory", { engine: "memory" }));
  await importInto(memory, FILL);
  for (const kind of KINDS) turns.set(`memory ${kind}`, turnOf(kind, memory));

  const contenders: Contender[] = [];
  for (const { name, missing, start: startEngine } of ENGINES) {
    if (missing !== null) {
      report.remark(`Not measured: ${name} ${missing}`);
      continue;
    }
    const engine = stack.use(await startEngine(folder));
    const service = stack.use(await engine.serve(name));
    await importInto(service, FILL);
    const driver = stack.use(await startDriver(engine.target));
    contenders.push({ engine, service, driver });
    const second = TWICE.includes(name) ? stack.use(await engine.serve(`${name} 2`)) : undefined;
    for (const kind of KINDS) {
      turns.set(`${name} ${kind}`, turnOf(kind, service));
      turns.set(`${name} ${kind} driver`, (_, seconds) => driver.load({ kind, seconds, count: COUNT }));
      if (second !== undefined) turns.set(`${name} ${kind} two`, turnOf(kind, service, second));
    }
  }
  await addWebdis(stack, contenders, turns, { report, folder });
  await addCache(stack, contenders, turns, folder);

  if (settings.warm) for (const turn of turns.values()) await turn(settings.rounds, WARM_SECONDS);
  const bound = [...turns].map(([name, turn]) => [name, (round: number) => turn(round, settings.seconds)] as const);
  const rates = await interleaved(settings.rounds, Object.fromEntries(bound));
  const ratesOf = (name: string) => rates[name] ?? [];
  const told = (name: string) => median(ratesOf(name)).toFixed(0);

  for (const kind of KINDS) {
    const ceiling = median(ratesOf(`memory ${kind}`));
    const series: Record<string, { rate: number; ratio: number; onDisk: boolean }> = {
      "our service over memory": { rate: ceiling, ratio: 1, onDisk: false },
    };
    for (const { engine } of contenders) {
      const [ours, alone] = [ratesOf(`${engine.name} ${kind}`), ratesOf(`${engine.name} ${kind} driver`)];
      // Where the driver alone is faster than any answer over HTTP can be, nothing is asked for.
      const goal: { goal?: Goal } = median(alone) < ceiling ? { goal: atLeast(0.8) } : {};
      const baseline = `driver ${median(alone).toFixed(0)}/s, service ${median(ours).toFixed(0)}/s, ceiling ${ceiling.toFixed(0)}/s`;
      const over = ratios(ours, alone);
      report.add({
        name: `${engine.name}: ${SHOWN[kind]} of 1 KB, ÷ driver`,
        unit: "",
        ...goal,
        rounds: over,
        baseline,
      });
      if (goal.goal === undefined) {
        const row = { unit: "", rounds: ratios(ours, ratesOf(`memory ${kind}`)), baseline: "" } as const;
        report.add({ name: `  ${engine.name}: ${SHOWN[kind]}, ÷ our service over memory`, ...row });
      }
      series[`${engine.name}, service`] = { rate: median(ours), ratio: median(over), onDisk: true };
      series[`${engine.name}, driver alone`] = { rate: median(alone), ratio: 1, onDisk: true };
    }
    report.results.series[`${SHOWN[kind]} of 1 KB, ${CALLERS} at once, and ÷ driver`] = series;
  }
  if (turns.has("webdis")) {
    const over = ratios(ratesOf("Redis get"), ratesOf("webdis"));
    const baseline = `Webdis ${told("webdis")}/s, service ${told("Redis get")}/s`;
    report.add({ name: "Redis: GET of 1 KB, ÷ Webdis", unit: "", goal: atLeast(1), rounds: over, baseline });
  }
  for (const name of TWICE) {
    for (const kind of KINDS) {
      if (!turns.has(`${name} ${kind} two`)) continue;
      const over = ratios(ratesOf(`${name} ${kind} two`), ratesOf(`${name} ${kind}`));
      const baseline = `one ${told(`${name} ${kind}`)}/s, two ${told(`${name} ${kind} two`)}/s`;
      report.add({ name: `${name}: ${SHOWN[kind]}, two instances ÷ one`, unit: "", rounds: over, baseline });
    }
  }
  if (turns.has("cached")) {
    const over = ratios(ratesOf("cached"), ratesOf("uncached"));
    const baseline = `without ${told("uncached")}/s, with ${told("cached")}/s`;
    report.add({ name: "PostgreSQL: hot GET, runtime.cache ÷ none", unit: "", rounds: over, baseline });
  }
}

/** Webdis before the Redis of the service, with strings of its own. */
async function addWebdis(
  stack: AsyncDisposableStack,
  contenders: readonly Contender[],
  turns: Map<string, Turn>,
  { report, folder }: Pick<Bench, "report" | "folder">,
): Promise<void> {
  const redis = contenders.find(({ engine }) => engine.name === "Redis")?.engine;
  if (redis === undefined) return;
  const missing = missingPeer("webdis");
  if (missing !== null) {
    report.remark(`Not measured: ${missing}`);
    return;
  }
  for (const group of groupsOf(FILL)) await redis.admin?.("MSET", ...group.flat());
  const config = join(folder, "webdis.json");
  const running = stack.use(
    await start({
      log: join(folder, "webdis.log"),
      file: "webdis",
      args(port) {
        const acl = [{ disabled: ["*"] }, { http_basic_auth: `bench:${KEY}`, enabled: ["GET"] }];
        const server = { redis_host: "127.0.0.1", redis_port: redis.port, http_host: "127.0.0.1", http_port: port };
        const rest = { threads: 2, daemonize: false, verbosity: 0, logfile: join(folder, "webdis.out"), acl };
        writeFileSync(config, JSON.stringify({ ...server, ...rest }));
        return [config];
      },
    }),
  );
  const headers = { Authorization: `Basic ${Buffer.from(`bench:${KEY}`).toString("base64")}` };
  const webdis = {
    ...OUR_DIALECT,
    ...running,
    headers,
    get: ["/GET/", ".txt"],
    label: "Webdis",
    onDisk: true,
  } as const;
  const load = spread(COUNT, CALLERS);
  turns.set("webdis", async (round, seconds) => (await load(webdis, { seconds, round })).rate);
}

/** One key that all ask for, over PostgreSQL, with the read cache and without. */
async function addCache(
  stack: AsyncDisposableStack,
  contenders: readonly Contender[],
  turns: Map<string, Turn>,
  folder: string,
): Promise<void> {
  const postgres = contenders.find(({ engine }) => engine.name === "PostgreSQL");
  if (postgres === undefined) return;
  const cache = { maxBytes: 64 * MIB, maxAge: 5 };
  const { url } = postgres.engine.target;
  const cached = stack.use(await startService(folder, "cached", { engine: "postgres", url, cache }));
  await put(cached, HOT, jsonOf(0, KIB));
  const load = hot({}, CALLERS);
  turns.set("cached", async (round, seconds) => (await load(cached, { seconds, round })).rate);
  turns.set("uncached", async (round, seconds) => (await load(postgres.service, { seconds, round })).rate);
}
