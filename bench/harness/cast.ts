/** Everybody who is in several figures: started once, filled once. */
import { join } from "node:path";
import { capture } from "../servers/captured.ts";
import { captureAll, checkFilled, checkSame, startLog, startMemory, tagOf } from "./baselines.ts";
import { type Fill, HOT, ITEM, jsonOf, LISTED, LISTED_COUNT, nameOf } from "./data.ts";
import { fileBytes } from "./disk.ts";
import { fortyLines, missingPeer, unstorage, webdis } from "./peers.ts";
import type { Report } from "./report.ts";
import { importInto, put, type Service, startKv } from "./service.ts";
import { KIB, type Settings } from "./settings.ts";

export interface Cast extends AsyncDisposable {
  kv: Service;
  /** B. */
  memory: Service;
  /** W. */
  log: Service;
  forty: Service;
  /** The peers that are here; of Webdis that which flushes. */
  peers: Service[];
  /** Webdis before a Redis that keeps nothing: in the figure of writes only. */
  unflushed: Service[];
  /** An unstorage on SQLite that holds nothing but the list; null where it is not installed. */
  unstorageList: Service | null;
  /** How large our file was with the spread keys alone. */
  spreadFileBytes: number;
  /** The `ETag` of the hot key. */
  etag: string;
}

export const spreadFill = ({ spread }: Settings): Fill => ({ prefix: ITEM, count: spread, bytes: KIB });
const LIST_FILL: Fill = { prefix: LISTED, count: LISTED_COUNT, bytes: 100 };

export async function makeCast(settings: Settings, report: Report, folder: string): Promise<Cast> {
  await using stack = new AsyncDisposableStack();
  const spread = spreadFill(settings);
  const fills = [spread, LIST_FILL];
  const at = (name: string) => join(folder, name);

  const filling = await startKv({ folder: at("kv") });
  await importInto(filling, spread);
  await filling.stop();
  const spreadFileBytes = fileBytes(at("kv"));
  const kv = stack.use(await startKv({ folder: at("kv") }));
  await importInto(kv, LIST_FILL);
  await put(kv, HOT, jsonOf(0, KIB));

  const forty = stack.use(await fortyLines(at("forty"), fills));
  const { peers, unflushed, unstorageList } = await startPeers(stack, settings, report, { at, fills });
  for (const service of [forty, ...peers, ...unflushed]) await put(service, HOT, jsonOf(0, KIB));
  for (const service of [kv, forty, ...peers]) await checkFilled(service, spread);

  const answers = await captureAll(kv);
  const memory = stack.use(await startMemory(folder, answers, [spread]));
  const log = stack.use(await startLog(folder, answers));
  const last = kv.get.join(nameOf(ITEM, spread.count - 1));
  answers.set(`GET ${last}`, await capture(kv.url + last, { headers: kv.headers }));
  for (const [asked, answer] of answers) await checkSame(asked === "PUT" ? log : memory, asked, answer);
  await checkSame(memory, "PUT", answers.get("PUT"));
  const etag = tagOf(answers.get(`GET ${kv.get.join(HOT)}`));
  const cast = { kv, memory, log, forty, peers, unflushed, unstorageList, spreadFileBytes, etag };
  const kept = stack.move();
  return { ...cast, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

type Peers = Pick<Cast, "peers" | "unflushed" | "unstorageList">;

async function startPeers(
  stack: AsyncDisposableStack,
  { allPeers }: Settings,
  report: Report,
  { at, fills }: { at(name: string): string; fills: readonly Fill[] },
): Promise<Peers> {
  const found: Peers = { peers: [], unflushed: [], unstorageList: null };
  if (!allPeers) return found;
  const missing = { unstorage: missingPeer("unstorage"), webdis: missingPeer("webdis") };
  for (const reason of Object.values(missing)) if (reason !== null) report.remark(`Not measured: ${reason}`);
  if (missing.unstorage === null) {
    found.unstorageList = stack.use(await unstorage("sqlite", at("unstorage-list"), [LIST_FILL]));
    found.peers.push(stack.use(await unstorage("sqlite", at("unstorage"), fills)));
    found.peers.push(stack.use(await unstorage("memory", at("unstorage-memory"), fills)));
  }
  if (missing.webdis === null) {
    found.peers.push(stack.use(await webdis("always", at("webdis"), fills)));
    found.unflushed.push(stack.use(await webdis("off", at("webdis-off"), [])));
  }
  return found;
}
