/** An identity provider that is slow or lies, and callers who make the service ask it: what is more than in test/auth. */
import { once } from "node:events";
import type { RequestListener, ServerResponse } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { beforeAll, describe, expect, it, vi } from "vitest";
import {
  CLAIMS,
  forgedBearer,
  type Guarded,
  type Idp,
  SECOND,
  type SigningKey,
  START,
  signingKey,
  startGuarded,
  startIdp,
} from "../auth/support.ts";

const API_KEY = "key-0123456789abcdef";
const COOLDOWN = 30 * SECOND;
const LASTING = { exp: CLAIMS.exp + 400 * 86_400 };

let key: SigningKey;
beforeAll(async () => {
  key = await signingKey("ES256", "ec");
});

interface Scene extends AsyncDisposable {
  idp: Idp;
  service: Guarded;
  clock: { now: number };
}

async function scene(): Promise<Scene> {
  const clock = { now: START };
  const idp = await startIdp(key.jwk);
  const auth = { jwt: { jwks: { url: idp.url } }, apiKey: { apiKey: API_KEY }, basic: false } as const;
  const service = await startGuarded(auth, { clock });
  return {
    idp,
    service,
    clock,
    async [Symbol.asyncDispose]() {
      await idp[Symbol.asyncDispose]();
      await service[Symbol.asyncDispose]();
    },
  };
}

/** A token that names a key that nobody has. */
const unknown = () => forgedBearer({ alg: "ES256", kid: crypto.randomUUID() });

/** Holds what the provider answers until it is let go. */
function held(idp: Idp) {
  const asked = Promise.withResolvers<void>();
  const waiting: ServerResponse[] = [];
  idp.answer = (_request, response) => {
    waiting.push(response);
    asked.resolve();
  };
  return {
    asked: asked.promise,
    release(body = JSON.stringify({ keys: idp.keys })) {
      idp.answer = null;
      for (const response of waiting) response.end(body);
    },
  };
}

describe("a flood of tokens that name keys nobody has", () => {
  it("asks the provider once a cool-down, however long it takes to answer", async () => {
    await using given = await scene();
    const { idp, service, clock } = given;
    expect(await service.status(await key.bearer(LASTING))).toBe(200);
    for (let turn = 1; turn <= 3; turn++) {
      clock.now += COOLDOWN;
      const hold = held(idp);
      const flood = Array.from({ length: 100 }, () => service.status(unknown()));
      await hold.asked;
      clock.now += COOLDOWN - 1;
      const second = Array.from({ length: 100 }, () => service.status(unknown()));
      hold.release();
      expect(await Promise.all([...flood, ...second])).toEqual(Array(200).fill(401));
      expect(idp.hits).toHaveLength(1 + turn);
    }
  });

  it("holds up nobody else: neither API keys nor tokens of keys that are known", async () => {
    await using given = await scene();
    const { idp, service, clock } = given;
    const bearer = await key.bearer(LASTING);
    expect(await service.status(bearer)).toBe(200);
    clock.now += COOLDOWN;
    const hold = held(idp);
    const flood = Array.from({ length: 50 }, () => service.status(unknown()));
    await hold.asked;
    let answered = 0;
    void Promise.all(flood.map((status) => status.then(() => answered++)));
    const others = [`Bearer ${API_KEY}`, bearer, `Bearer ${API_KEY}`, bearer];
    for (const authorization of others) expect(await service.status(authorization)).toBe(200);
    expect(await service.status("Bearer wrong")).toBe(401);
    expect(answered).toBe(0);
    hold.release();
    await Promise.all(flood);
  });

  it("while the provider is away is one line of the log a cool-down, without a token", async () => {
    await using given = await scene();
    const { idp, service, clock } = given;
    idp.answer = (request) => request.socket.destroy();
    for (let turn = 1; turn <= 2; turn++) {
      const answers = await Promise.all(Array.from({ length: 50 }, () => service.status(unknown())));
      expect(answers).toEqual(Array(50).fill(503));
      expect(service.warnings).toHaveLength(turn);
      clock.now += COOLDOWN;
    }
    expect(service.warnings.join()).not.toMatch(/eyJ|Bearer/);
  });
});

describe("a provider that is slow", () => {
  it("from the start holds up those with tokens alone", async () => {
    await using given = await scene();
    const hold = held(given.idp);
    const token = given.service.status(await key.bearer());
    await hold.asked;
    expect(await given.service.status(`Bearer ${API_KEY}`)).toBe(200);
    hold.release();
    expect(await token).toBe(200);
    expect(given.idp.hits).toHaveLength(1);
  });

  it("and sends its answer drop by drop is given up in the middle of it", async () => {
    await using given = await scene();
    const { idp, service } = given;
    const dropped = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    idp.answer = (_request, response) => {
      response.on("close", ended.resolve).write('{"keys":[', () => dropped.resolve());
    };
    const timer = new AbortController();
    const timeout = vi.spyOn(AbortSignal, "timeout").mockReturnValue(timer.signal);
    try {
      const status = service.status(await key.bearer());
      await dropped.promise;
      timer.abort(new DOMException("The operation timed out", "TimeoutError"));
      expect(await status).toBe(503);
      await ended.promise;
      expect(service.warnings).toEqual([expect.stringMatching(/timed out/)]);
    } finally {
      timeout.mockRestore();
    }
  });

  it("and forgets that it was asked is asked again after a cool-down, and serves whoever waits", async () => {
    await using given = await scene();
    const { idp, service, clock } = given;
    expect(await service.status(await key.bearer(LASTING))).toBe(200);
    const lost = held(idp);
    clock.now += COOLDOWN;
    const first = service.status(unknown());
    await lost.asked;
    clock.now += COOLDOWN;
    idp.answer = null;
    expect(await service.status(unknown())).toBe(401);
    expect(idp.hits).toHaveLength(3);
    lost.release();
    expect(await first).toBe(401);
  });
});

describe("a provider that lies", () => {
  const text =
    (body: string): RequestListener =>
    (_request, response) =>
      void response.end(body);
  const cut: RequestListener = (_request, response) => {
    response.writeHead(200, { "Content-Length": 10_000 }).write('{"keys":[');
    setImmediate(() => response.destroy());
  };

  it.each<[string, () => RequestListener]>([
    ["a set that breaks off", () => cut],
    ["brackets alone", () => text("[".repeat(1_000_000))],
    ["a set that is deep", () => text(`{"keys":${"[".repeat(400_000)}${"]".repeat(400_000)}`)],
    ["NaN", () => text('{"keys":NaN}')],
    ["keys as a prototype", () => text(`{"__proto__":{"keys":[${JSON.stringify(key.jwk)}]}}`)],
    ["an error with a set", () => (_request, response) => void response.writeHead(503).end('{"keys":[]}')],
    ["a number", () => text("1e999")],
  ])("%s: 503 where there are no keys, and the old ones where there are", async (_, answer) => {
    await using given = await scene();
    const { idp, service, clock } = given;
    idp.answer = answer();
    expect(await service.status(await key.bearer(LASTING))).toBe(503);
    expect(service.warnings).toHaveLength(1);
    expect(service.warnings.join().length).toBeLessThan(300);
    idp.answer = null;
    clock.now += COOLDOWN;
    expect(await service.status(await key.bearer(LASTING))).toBe(200);
    idp.answer = answer();
    clock.now += 86_400 * SECOND;
    expect(await service.status(await key.bearer(LASTING))).toBe(200);
    expect(await service.status(`Bearer ${API_KEY}`)).toBe(200);
  });

  it("with no HTTP at all is 503", async () => {
    const server = createServer((socket) => void socket.end("SSH-2.0-OpenSSH_9.9\r\n"));
    await once(server.listen(0, "127.0.0.1"), "listening");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`;
    await using service = await startGuarded({ jwt: { jwks: { url } } });
    expect(await service.status(await key.bearer())).toBe(503);
    server.close();
  });

  it("with a redirect elsewhere is not followed", async () => {
    await using other = await startIdp(key.jwk);
    await using given = await scene();
    given.idp.answer = (_request, response) => void response.writeHead(302, { Location: other.url }).end();
    expect(await given.service.status(await key.bearer())).toBe(503);
    expect(other.hits).toEqual([]);
  });

  it("with an empty set withdraws its keys, until it has them again", async () => {
    await using given = await scene();
    const { idp, service, clock } = given;
    const bearer = await key.bearer(LASTING);
    idp.keys = [];
    expect(await service.status(bearer)).toBe(401);
    idp.keys = [key.jwk];
    clock.now += COOLDOWN - 1;
    expect(await service.status(bearer)).toBe(401);
    clock.now += 1;
    expect(await service.status(bearer)).toBe(200);
  });

  it("with thousands of keys is searched for the one that is named", async () => {
    await using given = await scene();
    const { idp, service } = given;
    idp.keys = [...Array.from({ length: 4000 }, (_, index) => ({ ...key.jwk, kid: `k${index}` })), key.jwk];
    expect(await service.status(await key.bearer())).toBe(200);
    expect(await service.status(await key.bearer(CLAIMS, { kid: "k3999" }))).toBe(200);
    expect(await service.status(await key.bearer(CLAIMS, { kid: "k4000" }))).toBe(401);
  });

  it("learns nothing of who calls", async () => {
    await using given = await scene();
    const seen: unknown[] = [];
    given.idp.answer = (request, response) => {
      seen.push(request.method, request.url, ...request.rawHeaders);
      response.end(JSON.stringify({ keys: given.idp.keys }));
    };
    const bearer = await key.bearer();
    const headers = {
      Authorization: bearer,
      Cookie: "session=canary",
      "X-Request-Id": "canary",
      Referer: "http://canary",
    };
    expect((await given.service.get(headers)).status).toBe(200);
    expect(seen.slice(0, 2)).toEqual(["GET", "/jwks"]);
    expect(seen.join()).not.toMatch(/canary|eyJ|ada/);
  });
});
