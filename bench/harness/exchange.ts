/** Single requests with large bodies, and services that have just begun. */
import { request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { jsonOf } from "./data.ts";
import { residentMiB } from "./memory.ts";
import { put, type Service } from "./service.ts";

const CALM_MS = 500;

/** Sends a request and reads its answer away; tells the status. */
export function exchange({ url, headers, get }: Service, method: string, name: string, body?: Buffer): Promise<number> {
  return new Promise((done, fail) => {
    const length = body === undefined ? {} : { "Content-Type": "application/json", "Content-Length": body.length };
    const sent = request(url + get.join(name), { method, headers: { ...headers, ...length } }, (answer) => {
      answer.resume().once("error", fail);
      answer.once("end", () => done(answer.statusCode ?? 0));
    });
    sent.once("error", fail);
    sent.end(body);
  });
}

/** What a service takes that has just started and answered a little, in MiB. */
export async function idleMiB(service: Service): Promise<number> {
  for (let turn = 0; turn < 20; turn++) await put(service, "small", jsonOf(turn, 100));
  await delay(CALM_MS);
  return residentMiB(service.pid);
}
