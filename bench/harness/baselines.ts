/** The baselines B and W, which give what the service answered, and the proof that they do. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Captured, type CaptureOptions, capture, PUT_OPEN, serialised } from "../servers/captured.ts";
import { type Fill, HOT, jsonOf, KEY, LISTED, nameOf } from "./data.ts";
import { start } from "./process.ts";
import { OUR_DIALECT, type Service } from "./service.ts";
import { KIB, ROOT } from "./settings.ts";

const HEADERS = { Authorization: `Bearer ${KEY}` };
const HOT_TARGET = OUR_DIALECT.get.join(HOT);
export const LIST_TARGET = OUR_DIALECT.list?.join(LISTED) ?? "";

export type Answers = Map<string, Captured>;

/** What the service answers to the reads and the writes that the baselines stand in for. */
export async function captureAll({ url }: Service): Promise<Answers> {
  const answers: Answers = new Map();
  const hot = await capture(url + HOT_TARGET, { headers: HEADERS });
  const tag = tagOf(hot);
  const match = { ...HEADERS, "If-None-Match": tag };
  answers.set(`GET ${HOT_TARGET}`, hot);
  answers.set(`GET ${HOT_TARGET} ${tag}`, await capture(url + HOT_TARGET, { headers: match }));
  answers.set(`GET ${LIST_TARGET}`, await capture(url + LIST_TARGET, { headers: HEADERS }));
  answers.set("PUT", await capture(`${url}/v1/kv/captured`, putOf(jsonOf(0, KIB))));
  const statuses = [...answers.values()].map(({ status }) => status);
  if (statuses.join() !== "200,304,200,200") throw new Error(`Expected 200, 304, 200 and 200, got ${statuses}`);
  return answers;
}

export function putOf(value: string): CaptureOptions {
  const headers = { ...HEADERS, "Content-Type": "application/json" };
  return { method: "PUT", headers, body: `${PUT_OPEN}${value}}` };
}

export function tagOf(answer: Captured | undefined): string {
  return answer?.headers.find(([name]) => /^etag$/i.test(name))?.[1] ?? "";
}

export async function startMemory(folder: string, answers: Answers, fills: readonly Fill[]): Promise<Service> {
  const file = captureFile(folder, answers);
  const running = await start({
    log: join(folder, "memory.log"),
    file: process.execPath,
    args: (port) => [join(ROOT, "bench/servers/memory.ts"), String(port), file, JSON.stringify(fills)],
  });
  return { ...OUR_DIALECT, ...running, label: "B", onDisk: false };
}

export async function startLog(folder: string, answers: Answers): Promise<Service> {
  const file = captureFile(folder, answers);
  const running = await start({
    log: join(folder, "append-log.log"),
    file: process.execPath,
    args: (port) => [join(ROOT, "bench/servers/append-log.ts"), String(port), file, join(folder, "append.log")],
  });
  return { ...OUR_DIALECT, ...running, label: "W", onDisk: true };
}

function captureFile(folder: string, answers: Answers): string {
  const file = join(folder, `captured-${answers.size}.json`);
  writeFileSync(file, serialised(answers));
  return file;
}

/** What is another in each answer: only its length is compared. */
const OWN = /^(?:etag|x-request-id)$/i;

/** Rejects where a baseline answers other bytes than were taken down. */
export async function checkSame(base: Service, asked: string, expected: Captured | undefined): Promise<void> {
  const [method = "", target = "", match] = asked.split(" ");
  const headers = { ...HEADERS, ...(match !== undefined && { "If-None-Match": match }) };
  const options = method === "PUT" ? putOf(jsonOf(0, KIB)) : { method, headers };
  const given = await capture(base.url + (target || "/v1/kv/captured"), options);
  const text = ({ status, headers, body }: Captured) => {
    const told = headers.map(([name, value]) => `${name}: ${OWN.test(name) ? value.length : value}`);
    return [status, ...told, body.toString("latin1")].join("\n");
  };
  if (expected === undefined || text(given) !== text(expected)) {
    throw new Error(`${base.label} does not answer ${asked} as the service does`);
  }
}

/** Rejects where a service does not hold the hot key and the last of the many. */
export async function checkFilled(
  { label, url, headers, get }: Service,
  { prefix, count, bytes }: Fill,
): Promise<void> {
  for (const [name, value] of [
    [HOT, jsonOf(0, KIB)],
    [nameOf(prefix, count - 1), jsonOf(count - 1, bytes)],
  ] as const) {
    const { status, body } = await capture(url + get.join(name), { headers });
    if (status !== 200 || !body.includes(value)) throw new Error(`${label} answers ${status} to ${name}: ${body}`);
  }
}
