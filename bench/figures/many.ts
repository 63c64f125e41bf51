/** Many keys in one file: the memory of the service, and what they take on the disk. */
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { CastBench } from "../harness/bench.ts";
import { spreadFill } from "../harness/cast.ts";
import { type Fill, ITEM, payloadBytes } from "../harness/data.ts";
import { fileBytes } from "../harness/disk.ts";
import { spread } from "../harness/loads.ts";
import { residentMiB } from "../harness/memory.ts";
import { atMost, shown } from "../harness/report.ts";
import { importInto, type Service, startKv } from "../harness/service.ts";

const REST_MS = 1000;

export async function manyKeys({ settings, report, folder: root, cast }: CastBench): Promise<void> {
  const folder = join(root, "many");
  const fill: Fill = { prefix: ITEM, count: settings.many, bytes: 100 };
  const read = spread(fill.count);

  /** What is resident once random keys were read. */
  async function resident(service: Service): Promise<number> {
    await read(service, { seconds: settings.seconds, round: 0 });
    await delay(REST_MS);
    return residentMiB(service.pid);
  }

  const filling = await startKv({ folder });
  await importInto(filling, fill);
  const filled = await resident(filling);
  await filling.stop();
  const bytes = fileBytes(folder);
  await using again = await startKv({ folder });
  const restarted = await resident(again);

  const baseline = `after the import and reads ${shown(filled, "MiB")}; restarted, after reads ${shown(restarted, "MiB")}`;
  const value = Math.max(filled, restarted);
  report.add({
    name: `RSS with ${fill.count} keys of 100 B`,
    unit: "MiB",
    goal: atMost(160),
    value,
    rounds: [],
    baseline,
  });

  const spreadKeys = spreadFill(settings);
  for (const [what, goal, size, of] of [
    ["100 B", 1.4, bytes, fill],
    ["1 KB", 1.1, cast.spreadFileBytes, spreadKeys],
  ] as const) {
    const payload = payloadBytes(of);
    report.add({
      name: `disk, ${of.count} values of ${what}, of keys + values`,
      unit: "",
      goal: atMost(goal),
      value: size / payload,
      rounds: [],
      baseline: `${(payload / 1e6).toFixed(1)} MB, in the order of their keys`,
    });
  }
}
