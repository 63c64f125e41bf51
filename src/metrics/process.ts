/** What is asked of the process when somebody reads it, and so costs nothing else. */
import process from "node:process";
import { VERSION } from "../version.ts";
import { type Family, reading } from "./families.ts";

const only = (value: number) => [[{}, value]] as const;

/** Under the names that Prometheus' own clients use. */
export function processMetrics(): Family[] {
  const { eventLoopUtilization } = performance as { eventLoopUtilization?: () => { active: number } };
  const started = Date.now() / 1000 - process.uptime();
  const families: Family[] = [
    reading("gauge", "workertown_kv_info", "The version that runs.", () => [[{ version: VERSION }, 1]]),
    reading("gauge", "process_start_time_seconds", "When the process began, in Unix seconds.", () => only(started)),
    reading("counter", "process_cpu_seconds_total", "Time on the processors, of all threads.", () => {
      const { user, system } = process.cpuUsage();
      return only((user + system) / 1e6);
    }),
    reading("gauge", "process_resident_memory_bytes", "Memory that the process holds.", () =>
      only(process.memoryUsage.rss()),
    ),
  ];
  if (eventLoopUtilization === undefined) return families;
  const name = "workertown_kv_event_loop_busy_seconds_total";
  const help = "Time that the event loop was busy: at one second a second callers wait for each other.";
  return [...families, reading("counter", name, help, () => only(eventLoopUtilization().active / 1000))];
}
