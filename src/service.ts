/** What stands behind the routes: one store and one authenticator for each set of values read from the environment. */
import { COUNTS_IN_MEMORY, createBudget, defaultRuntime, measure, readEnv, startSweeper } from "#runtime";
import { type Access, createAccess } from "./access/access.ts";
import { type Authenticator, createAuthenticator } from "./auth/authenticate.ts";
import type { Hold } from "./core/budget.ts";
import type { Env } from "./core/env.ts";
import { KvError } from "./core/errors.ts";
import type { ResolvedOptions } from "./options.ts";
import type { Route } from "./routes/route.ts";
import { cached } from "./storage/cache.ts";
import { createStore, type Store } from "./storage/store.ts";

export interface Instance {
  store: Store;
  authenticator: Authenticator;
  access: Access;
  /** Epoch milliseconds, by the runtime's clock. */
  now(): number;
}

export interface Service {
  /** The routes that show what was counted; none where nobody counts. */
  readonly routes: readonly Route[];
  /** What a request's bindings make of the environment. */
  envOf(bindings: unknown): Env;
  /** The instance for an environment; rejects with a `TypeError` where that is wrong. */
  open(env: Env): Promise<Instance>;
  /** The instance for a request's bindings, where it is open and the service is not closing. */
  current(bindings: unknown): Instance | undefined;
  /** Counts a request, which `close` waits for, until `end` is called. */
  begin(bindings: unknown): { hold: Hold; end(): void };
  readonly closing: boolean;
  /** Waits for the requests in flight, then closes what was opened. */
  close(): Promise<void>;
}

export function createService(options: ResolvedOptions): Service {
  const opened: Instance[] = [];
  const stops: (() => void)[] = [];
  const routes = measure(options);
  const budget = createBudget(options.limits, (bytes) => options.meter?.held(bytes));
  let inFlight = 0;
  let closing: Promise<void> | undefined;
  let closed = false;
  let idle = () => {};

  const warn = (message: string) => options.logger({ level: "warn", message, time: new Date().toISOString() });

  const instanceFor = perEnvironment<Instance>(async (env) => {
    let now = Date.now;
    // The storage comes last: what is wrong with the environment must not leave one open.
    const authenticator = createAuthenticator(options.auth, { env, warn, now: () => now() });
    const access = createAccess(options.access, { env, warn, now: () => now(), inMemory: COUNTS_IN_MEMORY });
    const {
      storage: engine,
      cache,
      ...runtime
    } = await (options.runtime ?? defaultRuntime)({ database: options.database, warn }, env);
    now = runtime.now ?? now;
    const storage = cache === undefined ? engine : cached(engine, { ...cache, now });
    const { limits, timeouts } = options;
    const store = createStore(storage, { limits, timeout: timeouts.storageTimeout, now, version: runtime.version });
    const instance = { store, authenticator, access, now };
    opened.push(instance);
    stops.push(startSweeper(storage, now, warn));
    return instance;
  });

  return {
    routes,

    envOf: (bindings) => options.getEnv(readEnv(bindings)),

    async open(env) {
      if (closed) throw new KvError("unavailable", "The service is shutting down");
      return instanceFor(env);
    },

    current(bindings) {
      return closing === undefined ? instanceFor.find(this.envOf(bindings)) : undefined;
    },

    begin(bindings) {
      const { hold, release } = budget(bindings);
      inFlight += 1;
      return {
        hold,
        end() {
          release();
          inFlight -= 1;
          if (inFlight === 0) idle();
        },
      };
    },

    get closing() {
      return closing !== undefined;
    },

    close() {
      closing ??= (async () => {
        if (inFlight > 0) await new Promise<void>((resolve) => (idle = resolve));
        closed = true;
        for (const stop of stops) stop();
        const ends = await Promise.allSettled(opened.map(({ store }) => store.close()));
        for (const end of ends) if (end.status === "rejected") throw end.reason;
      })();
      return closing;
    },
  };
}

/**
 * Keeps what is made from an environment for as long as the values that were read from it are the same: the object itself
 * may be a new one on each request. One is made at a time, so that nobody is given what another environment is making.
 */
function perEnvironment<T>(
  make: (env: Env) => Promise<T>,
): ((env: Env) => Promise<T>) & { find(env: Env): T | undefined } {
  const known = new WeakMap<Env, T>();
  const made: { reads: Map<string, unknown>; value: T }[] = [];
  let turn: Promise<unknown> = Promise.resolve();

  const find = (env: Env): T | undefined =>
    known.get(env) ?? made.find(({ reads }) => [...reads].every(([name, value]) => Object.is(env[name], value)))?.value;

  const create = async (env: Env): Promise<T> => {
    const reads = new Map<string, unknown>();
    const value = await make(
      new Proxy(env, {
        get(target, name: string) {
          reads.set(name, target[name]);
          return target[name];
        },
      }),
    );
    made.push({ reads, value });
    return value;
  };

  const get = async (env: Env) => {
    let value = find(env);
    if (value === undefined) {
      const mine = turn.then(() => find(env) ?? create(env));
      turn = mine.catch(() => {});
      value = await mine;
    }
    known.set(env, value);
    return value;
  };
  return Object.assign(get, { find });
}
