/** One input of the fuzzer, made from its seed and its index alone. */
import { type Credentials, Grammar, type Sent } from "./grammar.ts";
import { mutated } from "./mutate.ts";
import { type Random, randomOf } from "./random.ts";

export interface Input {
  /** What is written, piece by piece. */
  pieces: Buffer[];
  /** The requests as they were before any change, the last of all among them. */
  sent: Sent[];
  /** Whether nothing was changed. */
  clean: boolean;
  /** Whether, besides, no part of it is odd, so that every request has an answer. */
  sound: boolean;
  authorized: boolean;
  /** Whether the client goes away without waiting. */
  leaves: boolean;
}

export const LAST = "the-last";

export function inputOf(seed: number, index: number, credentials: Credentials): Input {
  const random = randomOf(seed, index);
  const authorized = !random.once(3);
  const clean = random.once(4);
  const grammar = new Grammar(random, authorized, credentials);
  const made = Array.from({ length: random.once(4) ? 1 + random.below(6) : 1 }, (_, at) =>
    grammar.request(`r${index}-${at}`),
  );
  const sent = made.map((one) => one.sent);
  let text = made.map((one) => one.text).join("");
  if (!clean) text = random.once(40) ? noise(random) : mutated(text, random);
  // Whoever has understood the rest ends the connection here, so that most inputs need no waiting.
  const last = `GET /health HTTP/1.1\r\nHost: x\r\nX-Request-Id: ${LAST}\r\nConnection: close\r\n\r\n`;
  const leaves = !clean && random.once(30);
  const bytes = Buffer.from(leaves ? text : text + last, "latin1");
  const sound = clean && grammar.isSound;
  return {
    pieces: split(bytes, random),
    sent: [...sent, { id: LAST, method: "GET" }],
    clean,
    sound,
    authorized,
    leaves,
  };
}

function noise({ below }: Random): string {
  return Array.from({ length: below(2000) }, () => String.fromCharCode(below(256))).join("");
}

function split(bytes: Buffer, { below, once }: Random): Buffer[] {
  if (!once(5)) return [bytes];
  const at = below(bytes.length + 1);
  return [bytes.subarray(0, at), bytes.subarray(at)];
}
