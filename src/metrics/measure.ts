/**
 * The metrics of one `kv()`. Nothing here has a key or a value in its hands: requests are counted by their log lines, which
 * have neither, and of the calls of the storage only the time is looked at.
 */
import type { MeteredLimit } from "../core/errors.ts";
import type { Meter, ResolvedOptions } from "../options.ts";
import type { OperationDoc } from "../routes/open-api.ts";
import { plain } from "../routes/respond.ts";
import type { KvContext, Route } from "../routes/route.ts";
import type { RuntimeFactory } from "../runtimes/runtime.ts";
import { type Cell, counters, expositionOf, type Family, reading } from "./families.ts";
import { processMetrics } from "./process.ts";
import { requestMetrics } from "./requests.ts";
import { storageMetrics } from "./storage.ts";

const TYPE = "text/plain; version=0.0.4; charset=utf-8";

const DOC: OperationDoc = {
  operationId: "getMetrics",
  summary: "Metrics for Prometheus",
  type: TYPE,
  data: null,
  errors: [],
};

/** Lets all that the options lead to be counted, and answers the route that shows the counts. */
export function metricsOf(config: ResolvedOptions, makeRuntime: RuntimeFactory): readonly Route[] {
  const requests = requestMetrics();
  const storage = storageMetrics();
  const { meter, families } = limitMetrics();
  const all = [...requests.families, ...storage.families, ...families, ...processMetrics()];
  const { logger } = config;

  config.meter = meter;
  config.logger = (entry) => {
    requests.observe(entry);
    logger(entry);
  };
  config.runtime = async (context, env) => {
    const { storage: engine, cache, ...rest } = await makeRuntime(context, env);
    const watched = storage.watched(engine);
    const { now = Date.now } = rest;
    return { ...rest, storage: cache === undefined ? watched : storage.cached(watched, { ...cache, now }) };
  };

  const handle = (c: KvContext) => plain(c, TYPE, expositionOf(all));
  return [{ method: "GET", path: "/metrics", scope: "admin", handle, doc: DOC }];
}

function limitMetrics(): { meter: Meter; families: Family[] } {
  const refusals = counters(
    "workertown_kv_refusals_total",
    "Requests refused by a limit on who may call and how often.",
  );
  const limits: readonly MeteredLimit[] = ["ip", "address", "principal", "guessing", "bytes"];
  const cells = Object.fromEntries(limits.map((limit) => [limit, refusals.of({ limit })]));
  let bytes = 0;
  const help = "What requests hold of `limits.inFlight`: bodies that are not answered yet, and large answers.";
  const inFlight = reading("gauge", "workertown_kv_in_flight_bytes", help, () => [[{}, bytes]]);
  return {
    families: [refusals, inFlight],
    meter: {
      refused(limit) {
        (cells[limit] as Cell).value += 1;
      },
      held(more) {
        bytes += more;
      },
    },
  };
}
