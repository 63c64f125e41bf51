/** What is counted of requests, from the lines of the log: both ways of an answer end there. */
import type { LogEntry } from "../log.ts";
import { type Cell, counters, type Histogram, histograms, type Labels } from "./families.ts";

/** Milliseconds: a hot read takes less than a tenth of one, a storage is waited for for five seconds. */
export const LATENCY_BOUNDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

const METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"];
/** What no route answered is counted under this name: paths are not bounded, and may hold keys. */
const NO_ROUTE = "none";
const OTHER = "other";

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
    labels: Labels;
    durations: Histogram;
    statuses: Map<number | undefined, Cell>;
  }
  const lines = new Map<string | undefined, Map<string | undefined, Line>>();

  /** The series of a route and method. Methods are many, and whoever calls chooses: those that no route has share one. */
  function lineOf(route = NO_ROUTE, given = OTHER): Line {
    const method = METHODS.includes(given) ? given : OTHER;
    const byMethod = lines.get(route) ?? new Map<string, Line>();
    lines.set(route, byMethod);
    const labels = { route, method };
    const line = byMethod.get(method) ?? { labels, durations: durations.of(labels), statuses: new Map() };
    byMethod.set(method, line);
    return line;
  }

  function newStatus({ labels, statuses }: Line, status: number | undefined): Cell {
    const cell = requests.of({ ...labels, status: String(status) });
    statuses.set(status, cell);
    return cell;
  }

  return {
    families: [requests, durations, entries],

    observe({ level, route, method, status, duration }: LogEntry): void {
      if (level !== "info") levels[level].value += 1;
      if (duration === undefined) return;
      const line = lines.get(route)?.get(method) ?? lineOf(route, method);
      line.durations.observe(duration);
      const cell = line.statuses.get(status) ?? newStatus(line, status);
      cell.value += 1;
    },
  };
}
