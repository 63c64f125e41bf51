/** The loads that several figures have in common. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { DIGITS, HOT, ITEM, jsonOf } from "./data.ts";
import type { Service } from "./service.ts";
import { KIB, READERS, WRITERS } from "./settings.ts";
import { type Load, wrk } from "./wrk.ts";

export interface LoadSize {
  seconds: number;
  /** The same for all contenders of one round, so that they get the same keys. */
  round: number;
}

export type Loader = (service: Service, size: LoadSize) => Promise<Load>;

/** One key of 1 KB. */
export function hot(headers: Readonly<Record<string, string>> = {}, connections = READERS): Loader {
  return (service, { seconds }) => {
    const target = service.get.join(HOT);
    return wrk(service.url + target, { connections, seconds, headers: { ...service.headers, ...headers } });
  };
}

/** Random keys out of `count`. */
export function spread(count: number, connections = READERS): Loader {
  return ({ url, headers, get: [before, after] }, { seconds, round }) => {
    const args = [round, before + ITEM, DIGITS, count, after];
    return wrk(url, { connections, seconds, headers, script: "random.lua", args });
  };
}

export interface WriteOptions {
  count: number;
  /** Where the bodies are kept as files. */
  folder: string;
  connections?: number;
  prefix?: string;
  bytes?: number;
}

/** Writes to random keys out of `count`: of 1 KB to keys of their own, unless told otherwise. */
export function writes({ count, folder, connections = WRITERS, prefix = "put-", bytes = KIB }: WriteOptions): Loader {
  return ({ url, headers, body, put: [before, after] }, { seconds, round }) => {
    const text = body.join(jsonOf(0, bytes));
    const file = join(folder, `body-${text.length}`);
    writeFileSync(file, text);
    const args = [round, before + prefix, DIGITS, count, after, "PUT", file];
    const typed = { ...headers, "Content-Type": "application/json" };
    return wrk(url, { connections, seconds, headers: typed, script: "random.lua", args });
  };
}
