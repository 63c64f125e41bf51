/** Requests by the grammar of HTTP/1.1 (RFC 9112) and of the API: sound ones, and ones that are odd in one of their parts. */
import type { Random } from "./random.ts";

export interface Sent {
  id: string;
  method: string;
}

export interface Made {
  /** In Latin-1: a character a byte. */
  text: string;
  sent: Sent;
}

const TOKENS = [
  "a",
  "b",
  "key",
  "a%2Fb",
  "x/y/z",
  "%C3%A9",
  "%F0%9F%98%80",
  "%00",
  "a%20b",
  "~!$&'()*+,;=:@",
  "k".repeat(500),
];
const ODD_KEYS = [
  "",
  ".",
  "..",
  "%2e%2E",
  "a/../b",
  "%",
  "%zz",
  "%ED%A0%80",
  "%FF",
  "a#b",
  "a?x=1",
  "k".repeat(600),
  "\xe9",
  "//",
  "a|b",
];
const QUERIES = [
  "",
  "prefix=",
  "limit=5",
  "limit=0",
  "limit=1&limit=2",
  "include=values",
  "cursor=",
  "cursor=AAAA",
  "x=1",
];
const ODD_QUERIES = [
  "prefix=%zz",
  "limit=1e3",
  "prefix=%00&limit=2",
  "&&&",
  "=",
  "cursor=%22",
  `prefix=${"p".repeat(700)}`,
];
const ODD_TARGETS = [
  "*",
  "/",
  "",
  "health",
  "http://h/v1/kv/a",
  "http://[::1",
  "//h/v1/kv",
  "/V1/kv/a",
  "/\\",
  "/v1/kv\xff",
  "h:80",
];
const VALUES = [
  "1",
  "null",
  '"text"',
  "[]",
  "{}",
  "1E400",
  '{"a":{"a":1,"a":2}}',
  '"\\ud800"',
  '"\\u0000"',
  "[[[[1]]]]",
  "-0.0",
  "true",
];
const ODD_VALUES = [
  "",
  "01",
  "'x'",
  '"\\x"',
  "[1,]",
  "{",
  "nul",
  '"\xff"',
  "\xef\xbb\xbf1",
  `${"[".repeat(600)}`,
  "1 2",
  '"a\nb"',
];
const MEMBERS = ['"ttl":60', '"ttl":0.5', '"expiration":9999999999', '"metadata":{"a":1}', '"ttl":null'];
const ODD_MEMBERS = [
  '"ttl":-1',
  '"ttl":1e400',
  '"value":2',
  '"x":1',
  `"metadata":"${"m".repeat(1100)}"`,
  '"expiration":1',
  '"ttl":"1"',
];
const CONDITIONS = ["If-Match: *", "If-None-Match: *", 'If-Match: "x"', 'If-None-Match: W/"x", "y"', 'If-Match: ""'];
const ODD_CONDITIONS = [
  "If-Match: x",
  'If-Match: "',
  `If-Match: ${'"a",'.repeat(500)}`,
  'If-None-Match: "\xe9"',
  "If-Match:",
];
const FIELDS = [
  "Accept: */*",
  "Prefer: return=minimal",
  "Expect: 100-continue",
  "Origin: https://o.example",
  "Cookie: a=b",
  "Via: x",
];
const ODD_FIELDS = [
  ...[
    "Expect: tea",
    "Connection: close",
    "Connection: Upgrade\r\nUpgrade: h2c",
    "TE: trailers",
    "Host: other",
    "X: \x00",
    "X : 1",
  ],
  ...[
    "Content-Encoding: gzip",
    "Transfer-Encoding: gzip",
    "Content-Length: 5",
    "Content-Length: -1",
    "Content-Length: 99999999",
  ],
  ...[
    "Content-Type: text/plain",
    "Authorization: Basic !!!",
    "X-API-Key: ",
    ": x",
    "X",
    " folded: 1",
    "X-Request-Id: a b",
    "Keep-Alive: 0",
  ],
  ...[
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: \x0bchunked",
    `X: ${"y".repeat(17_000)}`,
    "a:\r\n".repeat(2100).trim(),
  ],
];
const METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"];
const ODD_METHODS = ["PATCH", "TRACE", "CONNECT", "get", "PROPFIND", "G\x00T", "", "PRI", "M-SEARCH"];
const ADMIN = ["/admin/info", "/admin/export?prefix=f-", "/admin/migrate", "/admin/import", "/admin/none"];
const OPEN = ["/health", "/ready", "/nothing", "/health/x"];

/** Credentials of the service under test, or none that it knows. */
export interface Credentials {
  valid: readonly string[];
  wrong: readonly string[];
}

/** How often a part is an odd one: once in so many. */
const ODD = 12;

export class Grammar {
  readonly #random: Random;
  readonly #authorized: boolean;
  readonly #credentials: Credentials;
  /** Whether no part was an odd one. */
  isSound = true;

  constructor(random: Random, authorized: boolean, credentials: Credentials) {
    this.#random = random;
    this.#authorized = authorized;
    this.#credentials = credentials;
  }

  #choose(sound: readonly string[], odd: readonly string[]): string {
    if (!this.#random.once(ODD)) return this.#random.pick(sound);
    this.isSound = false;
    return this.#random.pick(odd);
  }

  #key(): string {
    // What is written without a credential would be found by its prefix.
    return `${this.#authorized ? "f-" : "open-"}${this.#random.pick(TOKENS)}`;
  }

  #target(method: string): string {
    const { below, once, pick } = this.#random;
    if (once(30)) return pick(ODD_TARGETS);
    const kind = below(20);
    if (kind < 2) return pick(OPEN);
    if (kind < 4) return pick(ADMIN);
    if (kind === 4 && once(20)) return "/open-api.json";
    if (kind < 9 && (method === "GET" || method === "HEAD")) return `/v1/kv?${this.#choose(QUERIES, ODD_QUERIES)}`;
    if (method === "POST") return "/v1/kv";
    return `/v1/kv/${once(ODD) ? pick(ODD_KEYS) : this.#key()}`;
  }

  #putMembers(): string {
    const members = [`"value":${this.#choose(VALUES, ODD_VALUES)}`];
    if (this.#random.once(3)) members.push(this.#choose(MEMBERS, ODD_MEMBERS));
    return members.join();
  }

  #operation(): string {
    const { once, pick } = this.#random;
    const op = this.#choose(["get", "put", "delete"], ["", "GET", "x"]);
    const key = once(ODD) ? '"\\ud800"' : JSON.stringify(this.#key());
    const condition = once(5) ? `,"ifMatch":${JSON.stringify(pick(["*", '"x"', "x", '"'.repeat(300)]))}` : "";
    return `{"op":"${op}","key":${key}${op === "put" ? `,${this.#putMembers()}` : ""}${condition}}`;
  }

  #body(method: string, target: string): string {
    const { below, once } = this.#random;
    if (target.startsWith("/admin/import")) {
      return Array.from({ length: below(5) }, () => `{"key":"${this.#key()}",${this.#putMembers()}}`).join("\n");
    }
    if (method !== "POST") return `{${this.#putMembers()}}`;
    const operations = Array.from({ length: below(once(20) ? 1100 : 5) }, () => this.#operation());
    return `{"operations":[${operations.join()}]${once(4) ? ',"atomic":true' : ""}}`;
  }

  /** A body with the fields that frame it. */
  #framed(body: string): [fields: string[], text: string] {
    const { below, once, pick } = this.#random;
    const wrong = once(ODD) ? pick([-1, 1, 7, 100]) : 0;
    if (wrong !== 0) this.isSound = false;
    if (!once(3)) return [[`Content-Length: ${body.length + wrong}`], body];
    const pieces: string[] = [];
    for (let rest = body; rest !== ""; ) {
      const piece = rest.slice(0, 1 + below(rest.length));
      rest = rest.slice(piece.length);
      const size = (piece.length + (once(ODD * 3) ? wrong : 0)).toString(16);
      pieces.push(
        `${this.#choose(["", "0"], ["+", "0x", " ", "f".repeat(17)])}${size}${this.#choose(["", ";a=b"], [";", ' ;"\n'])}\r\n`,
      );
      pieces.push(piece, this.#choose(["\r\n"], ["\n", "", "\r\r\n"]));
    }
    pieces.push(this.#choose(["0\r\n\r\n", "0\r\nT: 1\r\n\r\n"], ["0\r\n", "\r\n", "00;x\r\n\r\n", "-0\r\n\r\n"]));
    return [["Transfer-Encoding: chunked"], pieces.join("")];
  }

  request(id: string): Made {
    const { below, once, pick } = this.#random;
    const method = this.#choose(METHODS, ODD_METHODS);
    const target = this.#target(method);
    const fields = [this.#choose(["Host: x", "Host: localhost:80"], ["", "Host: a b", "Host: x\r\nHost: y", "host:"])];
    fields.push(`X-Request-Id: ${id}`);
    if (this.#authorized || once(2)) {
      fields.push(pick(this.#authorized ? this.#credentials.valid : this.#credentials.wrong));
    }
    if (once(4)) fields.push(this.#choose(CONDITIONS, ODD_CONDITIONS));
    for (let more = below(3); more > 0; more--) fields.push(this.#choose(FIELDS, ODD_FIELDS));
    let body = "";
    if (method === "PUT" || method === "POST" || once(ODD)) {
      const type = target.startsWith("/admin/import") ? "application/x-ndjson" : "application/json";
      fields.push(
        `Content-Type: ${this.#choose([type], ["text/json", "application/json;charset=latin1", "a/b+json"])}`,
      );
      const [framing, text] = this.#framed(this.#body(method, target));
      fields.push(...framing);
      body = text;
    }
    const version = this.#choose(["HTTP/1.1"], ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "http/1.1", ""]);
    const ordered = once(3) ? fields.toSorted() : fields;
    const text = `${method} ${target} ${version}\r\n${ordered.filter(Boolean).join("\r\n")}\r\n\r\n${body}`;
    return { text, sent: { id, method } };
  }
}
