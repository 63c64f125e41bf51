import type { StorageView } from "../storage/adapter.ts";
import { assert, assertEqual } from "./assert.ts";
import type { ConformanceTest } from "./conformance.ts";
import { needsSnapshot } from "./needs.ts";
import type { Subject } from "./subject.ts";

const name = (index: number) => `k${String(index).padStart(2, "0")}`;

/** A walk of a view, each entry as `key value`, with something done before each page. */
async function walkView(subject: Subject, view: StorageView, beforePage: (turn: number) => Promise<unknown>) {
  const decoder = new TextDecoder();
  const seen: string[] = [];
  let cursor: string | null = null;
  for (let turn = 0; turn === 0 || cursor !== null; turn++) {
    assert(turn < 100, "The walk does not end");
    await beforePage(turn);
    const query = { prefix: "k", cursor, limit: 7, valueBytes: 1024, now: subject.clock.now };
    const page = await view.list(query);
    for (const { key, value } of page.entries) seen.push(`${key} ${value && decoder.decode(value)}`);
    cursor = page.cursor;
  }
  return subject.capabilities.ordered ? seen : seen.sort();
}

export const lifecycleTests: readonly ConformanceTest[] = [
  {
    name: "snapshot: it is there where the capabilities state it, and only there",
    async run({ adapter, capabilities }) {
      if (adapter === undefined) return;
      assertEqual(adapter.snapshot !== undefined, capabilities.snapshot, "Whether there is a snapshot");
    },
  },
  {
    name: "snapshot: a walk of one shows its moment, whatever is written meanwhile",
    skip: needsSnapshot,
    async run(subject) {
      for (let index = 0; index < 30; index++) await subject.put(name(index), `${index}`);
      await subject.put("other", "1");
      const expected = Array.from({ length: 30 }, (_, index) => `${name(index)} ${index}`);
      const view = await subject.adapter?.snapshot?.();
      if (view === undefined) return;
      try {
        const seen = await walkView(subject, view, async (turn) => {
          await subject.delete(name(29 - turn));
          await subject.put(name(turn * 7 + 3), `"replaced"`);
          await subject.put(`${name(turn * 7 + 4)}+`, `"new"`);
        });
        assertEqual(seen, expected, "The entries of the snapshot");
      } finally {
        await view.close();
      }
      assertEqual((await subject.get(name(3)))?.text, `"replaced"`, "A value written during the walk");
      assertEqual(await subject.get(name(29)), null, "A value deleted during the walk");
    },
  },
  {
    name: "migrate: twice at once each step runs once, later none does, and what is stored stays",
    async run(subject) {
      const { adapter } = subject;
      if (adapter?.migrate === undefined) return;
      const steps = (await Promise.all([adapter.migrate(), adapter.migrate()])).flat();
      assertEqual(steps, [...new Set(steps)], "The steps that ran");
      await subject.put("k", "1");
      assertEqual(await adapter.migrate(), [], "The steps that ran later");
      assertEqual((await subject.get("k"))?.text, "1", "The value after a migration");
    },
  },
];
