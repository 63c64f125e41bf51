import { LAST_MOMENT_MS } from "../core/limits.ts";
import { assertEqual } from "./assert.ts";
import type { ConformanceTest } from "./conformance.ts";
import { walk } from "./keys.ts";
import type { Subject } from "./subject.ts";

/** Every way of reading "k", each as whether it was there. */
async function readings(subject: Subject): Promise<boolean[]> {
  const many = await subject.getMany(["k"]);
  const bare = await subject.list({ prefix: "k" });
  const full = await subject.list({ prefix: "k", values: true });
  return [(await subject.get("k")) !== null, many[0] !== null, bare.entries.length > 0, full.entries.length > 0];
}

export const expiryTests: readonly ConformanceTest[] = [
  {
    name: "expiry: exact to the millisecond on every read, for short and long ones",
    async run(subject) {
      for (const lifetime of [1, 250, 1500, 59_999, 60_000, 61_234, 86_400_000]) {
        const expiresAt = subject.clock.now + lifetime;
        await subject.put("k", "1", { expiresAt });
        assertEqual((await subject.get("k"))?.expiresAt, expiresAt, "The expiry");
        subject.clock.now = expiresAt - 1;
        assertEqual(await readings(subject), [true, true, true, true], `Reads 1 ms before the end of ${lifetime} ms`);
        subject.clock.now = expiresAt;
        assertEqual(await readings(subject), [false, false, false, false], `Reads at the end of ${lifetime} ms`);
      }
    },
  },
  {
    name: "expiry: the last moment of a date is kept exactly",
    async run(subject) {
      await subject.put("k", "1", { expiresAt: LAST_MOMENT_MS });
      assertEqual((await subject.get("k"))?.expiresAt, LAST_MOMENT_MS, "The expiry");
      assertEqual((await subject.list({})).entries[0]?.expiresAt, LAST_MOMENT_MS, "The expiry in a list");
    },
  },
  {
    name: "expiry: a delete of an expired entry finds nothing, and the key can be written again",
    async run(subject) {
      await subject.put("k", "1", { expiresAt: subject.clock.now + 1000 });
      subject.clock.now += 1000;
      if (subject.capabilities.reportsDelete) assertEqual(await subject.delete("k"), false, "A delete");
      await subject.put("k", "2");
      assertEqual((await subject.get("k"))?.text, "2", "The value written after the expiry");
    },
  },
  {
    name: "expiry: a list skips the expired, however many, and reaches the end",
    async run(subject) {
      const expiresAt = subject.clock.now + 1000;
      const name = (index: number) => `k${String(index).padStart(3, "0")}`;
      for (let index = 0; index < 40; index++)
        await subject.put(name(index), "1", index % 13 === 0 ? {} : { expiresAt });
      subject.clock.now = expiresAt;
      for (const limit of [1, 3, 5, 1000]) {
        assertEqual(await walk(subject, { limit }), [name(0), name(13), name(26), name(39)], `Pages of ${limit}`);
      }
    },
  },
  {
    name: "expiry: a sweep removes what has expired, a few at a time, and nothing else",
    async run(subject) {
      const { adapter, clock } = subject;
      if (adapter?.sweep === undefined) return;
      const sweep = async (limit: number) => adapter.sweep?.(clock.now, limit);
      const expiresAt = clock.now + 1000;
      for (let index = 0; index < 10; index++) await subject.put(`gone${index}`, "1", { expiresAt });
      await subject.put("later", "1", { expiresAt: expiresAt + 1 });
      await subject.put("stays", "1");
      await subject.put("gone0", "1");
      assertEqual(await sweep(100), 0, "Swept before the expiry");
      clock.now = expiresAt;
      assertEqual(await sweep(4), 4, "Swept by the first step");
      assertEqual(await sweep(4), 4, "Swept by the second step");
      assertEqual(await sweep(4), 1, "Swept by the third step");
      assertEqual(await sweep(4), 0, "Swept by the last step");
      assertEqual(await adapter.get("gone1"), null, "What is left of a swept entry");
      assertEqual((await walk(subject)).sort(), ["gone0", "later", "stays"], "What is left");
    },
  },
];
