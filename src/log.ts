/** One line of the service's log. It never holds a key, a value or a secret. */
export interface LogEntry {
  level: "info" | "warn" | "error";
  message: string;
  /** ISO 8601, UTC. */
  time: string;
  requestId?: string;
  method?: string;
  /** The route that answered, for example `/v1/kv/:key`. */
  route?: string;
  status?: number;
  /** How long the answer took, in milliseconds, to the microsecond where the platform tells it. */
  duration?: number;
  /** What an unforeseen error was, with its stack; for operators, never for callers. */
  cause?: string;
}

export type Logger = (entry: LogEntry) => void;

/** The logger of `kv()`: warnings and errors, a line each, on the console. */
export const consoleLogger: Logger = ({ level, message, requestId, cause }) => {
  if (level === "info") return;
  console[level](
    `${message}${requestId === undefined ? "" : ` [${requestId}]`}${cause === undefined ? "" : `\n${cause}`}`,
  );
};
