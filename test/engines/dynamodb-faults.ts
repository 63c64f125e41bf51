/** A proxy in front of an engine that answers some requests as the test says. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** What becomes of a request: an answer, no answer, a lost connection, or (`undefined`) what the engine says. */
export type Fault = { status: number; body: object } | "hang" | "cut" | "cut after" | undefined;

export interface Faults extends AsyncDisposable {
  readonly endpoint: string;
  /** The actions that were asked for, in their order. */
  readonly actions: string[];
  /** Says what becomes of a request, `turn` counting those of its action from 0. */
  script: (action: string, turn: number, input: Record<string, unknown>) => Fault | Promise<Fault>;
}

export const refused = (type: string, message = "no", more: object = {}): Fault => ({
  status: 400,
  body: { __type: `com.amazonaws.dynamodb.v20120810#${type}`, message, ...more },
});

export async function startFaults(engine: string): Promise<Faults> {
  const turns = new Map<string, number>();
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const action = String(request.headers["x-amz-target"]).split(".")[1] as string;
    const turn = turns.get(action) ?? 0;
    turns.set(action, turn + 1);
    faults.actions.push(action);
    const fault = await faults.script(action, turn, JSON.parse(body.toString()));
    if (fault === "hang") return;
    if (fault === "cut") return request.socket.destroy();
    if (typeof fault === "object") {
      response.writeHead(fault.status, { "Content-Type": "application/x-amz-json-1.0" });
      return response.end(JSON.stringify(fault.body));
    }
    const { host: _, connection: __, "content-length": ___, ...headers } = request.headers;
    const answer = await fetch(engine, { method: "POST", headers: headers as Record<string, string>, body });
    const text = await answer.text();
    if (fault === "cut after") return request.socket.destroy();
    response.writeHead(answer.status, { "Content-Type": "application/x-amz-json-1.0" });
    response.end(text);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const faults: Faults = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    actions: [],
    script: () => undefined,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return faults;
}
