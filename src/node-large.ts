/** The `PUT` of a large value: it is nowhere in one piece, and on its way to the disk while it arrives. */
import { inParts } from "./core/entry.ts";
import { STREAM_BYTES } from "./core/limits.ts";
import { scanBody } from "./node-body.ts";
import type { Arrival, Exchange } from "./node-exchange.ts";
import { Parts } from "./node-parts.ts";
import { newEntry, putBody } from "./routes/body.ts";
import { PUT_BODY, type PutBody, parse } from "./routes/schema.ts";
import type { NewEntry } from "./storage/store.ts";

/** Whether the body of a put is read by `putLarge`: where the storage takes it as it comes. */
export function isLargePut({ fields, instance: { store } }: Arrival): boolean {
  return store.stage !== undefined && Number(fields["content-length"]) > STREAM_BYTES;
}

/** Reads the body of a put, and has its entry stored by `put`. */
export async function putLarge<T>(
  exchange: Exchange,
  { request, response, fields, instance: { store } }: Arrival,
  put: (entry: NewEntry) => Promise<T>,
): Promise<T> {
  exchange.hold(Number(fields["content-length"]));
  const stage = store.stage?.() ?? null;
  const parts = new Parts(stage);
  try {
    const { body, spans } = await scanBody(request, putBody(store.limits), (chunk) => parts.keep(chunk));
    await parts.end();
    const entry = await entryOf(parse<PutBody>(PUT_BODY, body), spans, parts);
    const stored = await put(entry);
    response.once("finish", () => free(entry.parts));
    return stored;
  } finally {
    stage?.end();
  }
}

const EMPTY = new Uint8Array(0);

async function entryOf(body: PutBody, spans: readonly (readonly [number, number])[], parts: Parts): Promise<NewEntry> {
  const spanOf = (index: unknown) => spans[index as number] as readonly [number, number];
  const { value: _, ...rest } = newEntry(body, (index) =>
    index === body.value ? EMPTY : parts.copy(...spanOf(index)),
  );
  return inParts(await parts.take(...spanOf(body.value)), rest);
}

/** Gives memory back that nobody needs any more: the garbage collector would first have to look at everything. */
function free(parts: readonly Uint8Array[] = []): void {
  for (const { buffer } of parts) (buffer as ArrayBuffer).transfer(0);
}
