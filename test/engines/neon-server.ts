/**
 * Neon's SQL over HTTP before a real PostgreSQL: the format of the driver's requests and answers, by the driver's source. It
 * proves our SQL and how the driver is used, nothing about the service.
 */
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { neonConfig } from "@neondatabase/serverless";
import pg from "pg";
import { neonStorage } from "../../src/storage/neon.ts";
import { missing, type Postgres, startPostgres } from "./postgres-server.ts";

export { missing };

interface Query {
  query: string;
  params: unknown[];
}

/** What Neon takes in a request, and gives in an answer. */
const MOST_BYTES = 67_108_864;

/** A request that nobody awaits any more may be done later and in any order, so that the server is not stopped. */
export interface Neon extends Omit<Postgres, "pause" | "resume"> {
  /** How many requests there have been. */
  requests(): number;
}

/** One of these in a process: the driver has one endpoint for all. */
export async function startNeon(): Promise<Neon> {
  const postgres = await startPostgres();
  const pools = new Map<string, pg.Pool>();
  let requests = 0;
  const server = createServer((request, response) => {
    requests++;
    answer(request)
      .then((text) => (text.length > MOST_BYTES ? Promise.reject(new Error("response is too large")) : text))
      .then((text) => response.writeHead(200, { "Content-Type": "application/json" }).end(text))
      .catch((error) => response.writeHead(400).end(JSON.stringify({ ...error, message: error.message })));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  neonConfig.fetchEndpoint = `http://127.0.0.1:${port}/sql`;

  async function answer(request: AsyncIterable<Buffer> & { headers: IncomingHttpHeaders }): Promise<string> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    if (body.length > MOST_BYTES) throw new Error("request is too large");
    const given = JSON.parse(body.toString()) as Query | { queries: Query[] };
    const client = await poolOf(request.headers["neon-connection-string"] as string).connect();
    try {
      const isolation = `${request.headers["neon-batch-isolation-level"] ?? "ReadCommitted"}`;
      const result =
        "queries" in given ? await transaction(client, given.queries, isolation) : await one(client, given);
      client.release();
      return JSON.stringify(result);
    } catch (error) {
      client.release(true);
      throw error;
    }
  }

  function poolOf(url: string): pg.Pool {
    const known = pools.get(url);
    if (known !== undefined) return known;
    const pool = new pg.Pool({ connectionString: url, max: 10, connectionTimeoutMillis: 3000, query_timeout: 8000 });
    pool.on("error", () => {}).on("connect", (client) => client.on("error", () => {}));
    pools.set(url, pool);
    return pool;
  }

  const { pause: _pause, resume: _resume, ...rest } = postgres;
  return {
    ...rest,
    requests: () => requests,
    open: (namespace) => neonStorage({ url: postgres.url, namespace }),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await postgres[Symbol.asyncDispose]();
    },
  };
}

/** Every column as the text that PostgreSQL sends, with the type beside it. */
async function one(client: pg.PoolClient, { query, params }: Query) {
  const types = { getTypeParser: () => (text: string) => text };
  const { rows, fields, rowCount, command } = await client.query({
    text: query,
    values: params.map((param) => (param === null ? null : String(param))),
    rowMode: "array",
    types: types as unknown as pg.CustomTypesConfig,
  });
  return { rows, rowCount, command, fields: fields.map(({ name, dataTypeID }) => ({ name, dataTypeID })) };
}

async function transaction(client: pg.PoolClient, queries: readonly Query[], isolation: string) {
  await client.query(`BEGIN ISOLATION LEVEL ${isolation.replace(/(?<=[a-z])(?=[A-Z])/g, " ")}`);
  const results: Awaited<ReturnType<typeof one>>[] = [];
  for (const query of queries) results.push(await one(client, query));
  await client.query("COMMIT");
  return { results };
}
