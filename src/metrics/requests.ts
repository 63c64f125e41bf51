/** What is counted of requests, from the lines of the log: both ways of an answer end there. */
import type { LogEntry } from "../log.ts";
import { type Cell, counters, type Histogram, histograms } from "./families.ts";

/** Milliseconds: a hot read takes less than a tenth of one, a storage is waited for for five seconds. */
export const LATENCY_BOUNDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

const METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"];
/** What no route answered is counted under this name: paths are not bounded, and may hold keys. */
const NO_ROUTE = "none";

export function requestMetrics() {
  const requests = counters("workertown_kv_requests_total", "Requests answered, by route and status.");
  const durations = histograms(
    "workertown_kv_request_duration_seconds",
    "Time from the header of a request to its answer.",
    LATENCY_BOUNDS,
    0.001,
  );
  const entries = counters("workertown_kv_log_entries_total", "Warnings and errors logged.");
  const levels = { warn: entries.of({ level: "warn" }), error: entries.of({ level: "error" }) };

  interface Line {
    durations: Histogram;
    statuses: Map<number | undefined, Cell>;
  }
  const lines = new Map<string | undefined, Map<string | undefined, Line>>();

  /** The series of a route and method, and of a status below. */
  function lineOf(route: string | undefined, method: string | undefined): Line {
    const known = lines.get(route)?.get(method);
    if (known !== undefined) return known;
    const name = METHODS.includes(method ?? "") ? method : "other";
    const byMethod = lines.get(route) ?? new Map<string | undefined, Line>();
    lines.set(route, byMethod);
    // Methods are many, and whoever calls chooses: all others share one line.
    if (name !== method) return byMethod.get(name) ?? lineOf(route, name);
    const line = { durations: durations.of(labelsOf(route, name)), statuses: new Map() };
    byMethod.set(name, line);
    return line;
  }

  function labelsOf(route: string | undefined, method = "other") {
    return { route: route ?? NO_ROUTE, method };
  }

  return {
    families: [requests, durations, entries],

    observe({ level, route, method, status, duration }: LogEntry): void {
      if (level !== "info") levels[level].value += 1;
      if (duration === undefined) return;
      const line = lineOf(route, method);
      line.durations.observe(duration);
      let cell = line.statuses.get(status);
      if (cell === undefined) {
        const name = METHODS.includes(method ?? "") ? method : "other";
        cell = requests.of({ ...labelsOf(route, name), status: String(status) });
        line.statuses.set(status, cell);
      }
      cell.value += 1;
    },
  };
}
