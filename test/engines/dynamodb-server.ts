/** dynalite with the tests' own transactions in front of it. */
import { fileURLToPath } from "node:url";
import { dynamodbStorage } from "../../src/storage/dynamodb.ts";
import type { Engine } from "./engine.ts";
import { startServer } from "./server.ts";

/** dynalite comes with the development dependencies. */
export const missing: string | null = null;

export const REGION = "eu-central-1";
export const CREDENTIALS = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "dynamodb-secret-key-0123456789" };

export interface DynamodbEngine extends Engine {
  readonly endpoint: string;
}

/** `applyMs`: see the fake. */
export async function startDynamodb({ applyMs }: { applyMs?: number } = {}): Promise<DynamodbEngine> {
  const fake = fileURLToPath(new URL("./dynamodb-fake.ts", import.meta.url));
  const server = await startServer({
    user: "nobody",
    command: (folder, port) => [
      process.execPath,
      fake,
      String(port),
      `${folder}/data`,
      ...(applyMs === undefined ? [] : [String(applyMs)]),
    ],
    answers: (port) => fetch(`http://127.0.0.1:${port}/`),
  });
  const endpoint = `http://127.0.0.1:${server.port}`;
  const tell = async (path: string) =>
    void (await (await fetch(`${endpoint}/fake/${path}`, { method: "POST" })).text());
  const { kill, start, pause, resume } = server;
  return {
    endpoint,
    open: (namespace) =>
      dynamodbStorage({ table: "workertown_kv", region: REGION, endpoint, credentials: CREDENTIALS, namespace }),
    secret: CREDENTIALS.secretAccessKey,
    kill,
    start,
    pause,
    resume,
    cut: () => tell("cut"),
    refuse: (refused) => tell(`refuse/${refused}`),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
