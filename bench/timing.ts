/**
 * Does the time of a refusal tell how near a credential is to the right one?
 *
 * Times the refusal of a wrong first and of a wrong last byte of an API key, a Basic password and an HMAC signature, and of
 * an unknown user and a wrong password: in this process, and over a socket. Both kinds come in turns drawn by chance, each
 * with a byte drawn by chance. As in dudect (Reparaz et al., 2017) the slowest tenth is left out, and Welch's t must stay
 * under 4.5. Two comparers that stop at the first wrong byte are the controls: t must be over it, or the test sees nothing.
 *
 *   npm run bench -- timing [SAMPLES] [SEED]      SAMPLES in the process, a fifth over the socket; default 200,000
 *
 * Ends with 1 where a case is told apart or a control is not.
 */
import { createHmac, hash } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, type Socket } from "node:net";
import { type AuthOptions, createAuthenticator } from "../src/auth/authenticate.ts";
import { kv } from "../src/kv.ts";
import { createHttpServer } from "../src/node-http.ts";
import { memoryStorage } from "../src/storage/memory.ts";

const BOUND = 4.5;
/** The part of the samples that counts: the rest is the collector's and other processes' time. */
const FASTEST = 0.9;

const KEY = "0123456789abcdef".repeat(3);
const SECRET = "s".repeat(32);
const [USER, PASSWORD] = ["administrator", "correct horse battery staple"];
const auth: AuthOptions = {
  apiKey: { apiKey: KEY },
  basic: { username: USER, password: PASSWORD },
  jwt: { secret: SECRET },
};

const samples = Number(process.argv[2] ?? 200_000);
const seed = Number(process.argv[3] ?? Date.now() % 2 ** 32);
const random = mulberry32(seed);

/** A field with one wrong byte, at an index that depends on the kind, 0 or 1. */
type Field = (kind: number) => string;

/** Another letter at the index, in one piece: no rope of strings, which would be flattened in the time that is measured. */
function spoilt(text: string, index: number): string {
  const bytes = Buffer.from(text);
  const old = bytes[index];
  while (bytes[index] === old) bytes[index] = 97 + Math.floor(random() * 26);
  return bytes.toString("latin1");
}

const ends = (text: string) => (kind: number) => spoilt(text, kind === 0 ? 0 : text.length - 1);
const password = ends(PASSWORD);
const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
const input = `${part({ alg: "HS256" })}.${part({ exp: Math.floor(Date.now() / 1000) + 86_400 })}`;
const signature = createHmac("sha256", SECRET).update(input).digest("base64url");
const basicOf = (pair: string) => flat(`Basic ${Buffer.from(pair).toString("base64")}`);
const flat = (text: string) => Buffer.from(text).toString("latin1");
const key = ends(KEY);

const CASES: Record<string, Field> = {
  "API key: wrong first, last byte": (kind) => flat(`Bearer ${key(kind)}`),
  "Basic password: wrong first, last byte": (kind) => basicOf(`${USER}:${password(kind)}`),
  "Basic: unknown user, wrong password": (kind) =>
    basicOf(kind === 0 ? `${spoilt(USER, 0)}:${PASSWORD}` : `${USER}:${spoilt(PASSWORD, 0)}`),
  // The last letter of a signature has bits that are none of it.
  "HMAC signature: wrong first, last byte": (kind) =>
    flat(`Bearer ${input}.${spoilt(signature, kind === 0 ? 0 : signature.length - 2)}`),
};

/** How long an answer to a field takes, in microseconds. */
type Answer = (field: string) => Promise<number>;

async function inProcess(): Promise<Answer> {
  const context = { env: {}, warn: () => {}, now: Date.now };
  const authenticator = createAuthenticator(auth, context);
  return async (field) => {
    const request = { headers: { get: (name: string) => (name === "Authorization" ? field : null) } } as Request;
    const begun = performance.now();
    const principal = await authenticator.authenticate(request, {});
    const time = performance.now() - begun;
    if (principal !== null) throw new Error("A wrong credential was let in");
    return time * 1000;
  };
}

/** Stops at the first wrong byte, and takes so long for each that is right. */
function earlyExit(given: string, work: () => void): boolean {
  for (let index = 0; index < KEY.length; index++) {
    if (given.charCodeAt(index) !== KEY.charCodeAt(index)) return false;
    work();
  }
  return true;
}

async function naive(): Promise<Answer> {
  return async (field) => {
    const begun = performance.now();
    const same = await Promise.resolve(earlyExit(field.slice("Bearer ".length), () => {}));
    const time = performance.now() - begun;
    if (same) throw new Error("A wrong credential was let in");
    return time * 1000;
  };
}

interface Connection extends Disposable {
  answer: Answer;
}

async function overSocket(options: AuthOptions): Promise<Connection> {
  const app = kv({ auth: options, runtime: { storage: memoryStorage() }, logger: false });
  await app.ready();
  const server = createHttpServer(app);
  await once(server.listen(0, "127.0.0.1"), "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1").setNoDelay();
  await once(socket, "connect");
  return {
    answer: (field) => ask(socket, Buffer.from(`GET /v1/kv/a HTTP/1.1\r\nHost: kv\r\nAuthorization: ${field}\r\n\r\n`)),
    [Symbol.dispose]() {
      socket.destroy();
      server.close();
    },
  };
}

function ask(socket: Socket, request: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    let text = "";
    const begun = performance.now();
    const read = (chunk: Buffer) => {
      const time = performance.now() - begun;
      text += chunk.toString("latin1");
      if (!text.endsWith("}")) return;
      socket.off("data", read);
      if (text.startsWith("HTTP/1.1 401")) resolve(time * 1000);
      else reject(new Error(`Expected 401, got ${text.slice(0, 12)}`));
    };
    socket.on("data", read).write(request);
  });
}

/** The t of Welch between the two kinds, and what each takes in the middle. */
async function compare(answer: Answer, field: Field, count: number) {
  const times: { kind: number; time: number }[] = [];
  for (let index = -count / 10; index < count; index++) {
    const kind = random() < 0.5 ? 0 : 1;
    const time = await answer(field(kind));
    if (index >= 0) times.push({ kind, time });
  }
  times.sort((a, b) => a.time - b.time);
  const fast = times.slice(0, count * FASTEST);
  const [first = [], last = []] = [0, 1].map((kind) =>
    fast.filter((each) => each.kind === kind).map(({ time }) => time),
  );
  const [a, b] = [momentsOf(first), momentsOf(last)];
  return { t: (a.mean - b.mean) / Math.sqrt(a.variance / a.count + b.variance / b.count), first: a.mean, last: b.mean };
}

function momentsOf(values: readonly number[]) {
  const count = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  return { count, mean, variance: values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1) };
}

function mulberry32(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function judge(name: string, answer: Answer, field: Field, count: number, apart = false): Promise<void> {
  const { t, first, last } = await compare(answer, field, count);
  const right = Math.abs(t) >= BOUND === apart;
  if (!right) process.exitCode = 1;
  const figures = [first, last].map((time) => time.toFixed(2).padStart(8)).join(" ");
  console.log(`${right ? " " : "!"} ${name.padEnd(56)} ${figures} µs   t ${t.toFixed(2).padStart(8)}`);
}

console.log(`${samples} samples in the process, ${samples / 5} over a socket, seed ${seed}; |t| under ${BOUND}\n`);
const [control = key] = Object.values(CASES);
await judge("control, must be told apart: stops at a wrong byte", await naive(), control, samples, true);
for (const [name, field] of Object.entries(CASES)) await judge(name, await inProcess(), field, samples);
{
  const verifyCredentials = (given: string) => earlyExit(given, () => void hash("sha256", given));
  using stops = await overSocket({ apiKey: { verifyCredentials } });
  await judge("control, socket: stops, and hashes for each byte", stops.answer, control, samples / 5, true);
}
using connection = await overSocket(auth);
for (const [name, field] of Object.entries(CASES)) {
  await judge(`socket, ${name}`, connection.answer, field, samples / 5);
}
