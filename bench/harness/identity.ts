/** An identity provider on this machine: its keys over HTTP, and its tokens. */
import { generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface Identity extends AsyncDisposable {
  /** For `KV_JWKS_URL`. */
  url: string;
  /** A new token (ES256) that may do everything for an hour. */
  token(): string;
}

const KID = "bench";
const LIFE_SECONDS = 3600;
const base64 = (part: object) => Buffer.from(JSON.stringify(part)).toString("base64url");

export async function startIdentity(): Promise<Identity> {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const keys = [{ ...publicKey.export({ format: "jwk" }), kid: KID, alg: "ES256", use: "sig" }];
  const server = createServer((_request, response) => {
    response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify({ keys }));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const head = base64({ alg: "ES256", kid: KID, typ: "JWT" });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`,
    token() {
      const exp = Math.floor(Date.now() / 1000) + LIFE_SECONDS;
      const text = `${head}.${base64({ sub: "bench", jti: randomUUID(), scope: "kv:admin", exp })}`;
      const signature = sign("sha256", Buffer.from(text), { key: privateKey, dsaEncoding: "ieee-p1363" });
      return `${text}.${signature.toString("base64url")}`;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}
