import { KvError } from "../core/errors.ts";
import { newerSchema } from "./failures.ts";
import { SCHEMA } from "./redis-lua.ts";
import type { RedisLayout, RedisRunner } from "./redis-script.ts";
import { textOf } from "./redis-wire.ts";

const SCHEMA_VERSION = 1;
/** What clients change that parse JSON, or that drop a byte order mark. */
const ECHOES = ["[1]", "\uFEFFa"];

/**
 * A runner that migrates before its first step. Each step sees to that by itself until one has: a promise that several
 * share is never settled where a Worker has answered the request that made it.
 */
export function migratedFirst({ fields, script, replace }: RedisRunner, migrate: () => Promise<unknown>): RedisRunner {
  let done = false;
  const after =
    <A extends unknown[], T>(step: (...given: A) => Promise<T>) =>
    async (...given: A) => {
      if (!done) await migrate();
      done = true;
      return step(...given);
    };
  return { fields: after(fields), script: after(script), ...(replace && { replace: after(replace) }) };
}

/** Names the layout where nothing is named yet; throws where there is another. */
export async function migrate(runner: RedisRunner, key: string, { namespace, shards }: RedisLayout): Promise<string[]> {
  const reply = await runner.script(SCHEMA, [key], [`${SCHEMA_VERSION}`, `${shards}`, ...ECHOES], false);
  const [version, count, made, ...echoes] = reply as unknown[];
  if (ECHOES.some((text, index) => textOf(echoes[index]) !== text)) {
    throw new TypeError("client: Expected one that answers text as it is stored");
  }
  const found = Number(textOf(version));
  if (!(found <= SCHEMA_VERSION)) {
    throw newerSchema(found, SCHEMA_VERSION);
  }
  if (textOf(count) !== `${shards}`) {
    throw new KvError(
      "unavailable",
      `The namespace ${JSON.stringify(namespace)} was made with shards: ${textOf(count)}, not ${shards}`,
    );
  }
  return made === 1 ? ["0001-create-namespace"] : [];
}
