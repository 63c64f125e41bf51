/** Export and import: one entry a line, streamed both ways. */
import { concat, decoder, encoder, NULL } from "../core/bytes.ts";
import { KvError, onPurpose } from "../core/errors.ts";
import { createJsonScanner } from "../core/json-scanner.ts";
import { CHUNK_BYTES, FAILED_MAX, GROUP_BYTES, GROUP_ENTRIES } from "../core/limits.ts";
import type { ListedEntry } from "../storage/adapter.ts";
import type { LoadedEntry, Store } from "../storage/store.ts";
import { checkMediaType, chunks, newEntry, putBody } from "./body.ts";
import { queryOf } from "./entries.ts";
import { attributes, data, NDJSON_TYPE, ndjson, refusal } from "./respond.ts";
import type { KvContext } from "./route.ts";
import { ENTRY_LINE, EXPORT_QUERY, type ImportLine, parse } from "./schema.ts";

const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;
/** What a line without anything in it may have: tabs, carriage returns and spaces. */
const BLANK = [9, CARRIAGE_RETURN, 32];

/** `GET`: every entry under a prefix. A header tells whether they are of one moment. */
export function exportEntries(c: KvContext): Response {
  const { store } = c.var;
  const { prefix = "" } = queryOf(c, EXPORT_QUERY);
  const { promise, resolve } = Promise.withResolvers<void>();
  if (c.req.method !== "HEAD") c.set("streaming", promise);
  const consistency = store.capabilities.snapshot ? "snapshot" : "none";
  return ndjson(c, linesOf(store.walk(prefix)), { "Export-Consistency": consistency }, resolve);
}

/** Small entries are written into chunks, which costs less than a piece of memory each; a large value is not copied. */
async function* linesOf(pages: AsyncGenerator<ListedEntry[]>): AsyncGenerator<Uint8Array> {
  let chunk = new Uint8Array(CHUNK_BYTES);
  let at = 0;
  const write = (text: string) => {
    at += encoder.encodeInto(text, chunk.subarray(at)).written;
  };
  for await (const page of pages) {
    for (const { key, value, ...entry } of page) {
      const metadata = entry.metadata && joinLines(entry.metadata);
      const head = `{"key":${JSON.stringify(key)},"value":`;
      const tail = `${attributes({ ...entry, metadata })}}\n`;
      const text = onOneLine(value ?? NULL);
      // A character takes three bytes of UTF-8 at most.
      const bytes = (head.length + tail.length) * 3 + text.length;
      if (at + bytes > CHUNK_BYTES) {
        if (at > 0) yield chunk.subarray(0, at);
        [chunk, at] = [new Uint8Array(CHUNK_BYTES), 0];
      }
      if (bytes > CHUNK_BYTES) {
        yield encoder.encode(head);
        yield text;
        yield encoder.encode(tail);
        continue;
      }
      write(head);
      chunk.set(text, at);
      at += text.length;
      write(tail);
    }
  }
  if (at > 0) yield chunk.subarray(0, at);
}

/** In JSON text a line break stands between tokens only: each becomes one space. */
function joinLines(text: string): string {
  return text.replaceAll(/\r\n?|\n/g, " ");
}

function onOneLine(text: Uint8Array): Uint8Array {
  const broken = text.includes(LINE_FEED) || text.includes(CARRIAGE_RETURN);
  return broken ? encoder.encode(joinLines(decoder.decode(text))) : text;
}

interface Failure {
  line: number;
  error: string;
  detail: string;
}

/** `POST`: stores each line that is an entry, and says which are not. */
export async function importEntries(c: KvContext): Promise<Response> {
  checkMediaType(c, /^application\/(x-ndjson|ndjson|jsonl|x-jsonlines)$/, NDJSON_TYPE);
  const { store } = c.var;
  const report = { imported: 0, skipped: 0, failed: [] as Failure[], failed_total: 0 };
  let group: { line: number; entry: LoadedEntry }[] = [];
  let bytes = 0;

  function fail(line: number, reason: KvError): void {
    report.failed_total += 1;
    const { error, detail } = refusal(reason);
    if (report.failed.length < FAILED_MAX) report.failed.push({ line, error, detail });
  }

  async function flush(): Promise<void> {
    const outcomes = await store.load(group.map(({ entry }) => entry));
    for (const [index, outcome] of outcomes.entries()) {
      if (outcome instanceof KvError) fail(group[index]?.line ?? 0, outcome);
      else report[outcome] += 1;
    }
    [group, bytes] = [[], 0];
  }

  for await (const { line, entry } of entriesOf(c, store)) {
    if (entry instanceof KvError) {
      fail(line, entry);
      continue;
    }
    group.push({ line, entry });
    bytes += entry.value.length;
    if (group.length === GROUP_ENTRIES || bytes >= GROUP_BYTES) await flush();
  }
  if (group.length > 0) await flush();
  report.failed.sort((a, b) => a.line - b.line);
  return data(c, report);
}

/** The entry of each line that has one, or what is wrong with it. A line that a broken connection cut is none. */
async function* entriesOf(c: KvContext, store: Store): AsyncGenerator<{ line: number; entry: LoadedEntry | KvError }> {
  let line = 1;
  let read = lineReader(store);
  for await (const chunk of chunks(c)) {
    let from = 0;
    for (let at = chunk.indexOf(LINE_FEED); at !== -1; at = chunk.indexOf(LINE_FEED, from)) {
      const entry = read(chunk.subarray(from, at), true);
      if (entry !== null) yield { line, entry };
      [read, from, line] = [lineReader(store), at + 1, line + 1];
    }
    read(chunk.subarray(from), false);
  }
  const entry = read(new Uint8Array(0), true);
  if (entry !== null) yield { line, entry };
}

/**
 * Takes one line, checked as it comes; what is wrong with it is kept, and the rest of it passed over. Answers at its end,
 * `null` for a line without anything in it.
 */
function lineReader({ limits }: Store) {
  const form = putBody(limits);
  const scanner = createJsonScanner(form);
  const pieces: Uint8Array[] = [];
  let length = 0;
  let blank = true;
  let fault: KvError | null = null;

  function add(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    scanner.write(chunk);
    length += chunk.length;
    if (length > form.maxBytes) {
      throw new KvError("too_large", `Expected a value of at most ${limits.value} bytes of JSON text, got more`);
    }
    pieces.push(chunk);
  }

  function parsed(): LoadedEntry {
    const { body, spans } = scanner.end();
    const item = parse<ImportLine>(ENTRY_LINE, body);
    // Most lines lie in one chunk, and their values stay where they are.
    const bytes = pieces.length === 1 ? (pieces[0] as Uint8Array) : concat(pieces);
    const text = (index: unknown) => bytes.subarray(...(spans[index as number] as [number, number]));
    return { key: item.key, ...newEntry(item, text) };
  }

  return (chunk: Uint8Array, isLast: boolean): LoadedEntry | KvError | null => {
    blank &&= chunk.every((byte) => BLANK.includes(byte));
    try {
      if (fault === null) add(chunk);
      if (fault === null && isLast && !blank) return parsed();
    } catch (error) {
      fault = onPurpose(error);
    }
    return isLast && !blank ? fault : null;
  };
}
