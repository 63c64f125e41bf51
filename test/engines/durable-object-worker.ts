/**
 * A Worker around the Durable Object: runs the conformance suite inside of it (`GET /?test=3&namespace=n`), passes messages
 * of an adapter in Node on to the object (`POST /object?namespace=n`), and does to the object what a test asks.
 */
import {
  type DurableObjectNamespaceLike,
  durableObjectStorage,
  KvDurableObject as Tested,
} from "../../src/storage/durable-object.ts";
import { objectEntries } from "../../src/storage/durable-object-entries.ts";
import { MIGRATIONS, type ObjectStorageLike } from "../../src/storage/durable-object-schema.ts";
import { adapterSubject, storageConformance } from "../../src/testing/conformance.ts";

interface StateLike {
  storage: ObjectStorageLike & { sql: { setMaxPageCountForTest?(pages: number): void } };
  abort(reason: string): void;
}

/** What a test does to an object. */
export type Control =
  | { do: "sql"; query: string; bindings?: (string | number | null)[] }
  | { do: "abort" }
  /** Resets it in the middle of its next message, which it has done by then. */
  | { do: "abort next" }
  | { do: "alarm" }
  /** Lets it grow no more; with the flag "experimental" only. */
  | { do: "fill" }
  /** Migrates with the steps that there are and one more. */
  | { do: "upgrade"; sql: string };

export class KvDurableObject extends Tested {
  readonly #state: StateLike;
  #abortNext = false;

  constructor(state: StateLike) {
    super(state);
    this.#state = state;
  }

  override async fetch(request: Request): Promise<Response> {
    const control = request.headers.get("X-Control");
    if (control !== null) return Response.json(await this.#control(JSON.parse(control)));
    const response = await super.fetch(request);
    if (this.#abortNext) this.#state.abort("A test did it");
    return response;
  }

  async #control(control: Control): Promise<unknown> {
    const { storage } = this.#state;
    switch (control.do) {
      case "sql":
        return [...storage.sql.exec(control.query, ...(control.bindings ?? []))];
      case "abort":
        return this.#state.abort("A test did it");
      case "abort next":
        this.#abortNext = true;
        return null;
      case "alarm":
        return storage.getAlarm();
      case "fill":
        return storage.sql.setMaxPageCountForTest?.(1) ?? null;
      case "upgrade":
        return objectEntries(storage, [...MIGRATIONS, { name: "0002-more", sql: control.sql }]).migrate();
    }
  }
}

const FLAGS = ["retryable", "overloaded", "remote", "durableObjectReset"];

export default {
  async fetch(request: Request, env: { KV_DO: DurableObjectNamespaceLike }): Promise<Response> {
    const url = new URL(request.url);
    const namespace = url.searchParams.get("namespace") as string;
    if (url.pathname === "/object") return pass(request, env.KV_DO, namespace);
    return conform(env.KV_DO, namespace, Number(url.searchParams.get("test")));
  },
};

/** The object's answer, or 599 with the error and its flags. */
async function pass(request: Request, binding: DurableObjectNamespaceLike, namespace: string): Promise<Response> {
  const stub = binding.get(binding.idFromName(namespace)) as unknown as { fetch(request: Request): Promise<Response> };
  try {
    const response = await stub.fetch(request);
    return new Response(await response.arrayBuffer());
  } catch (error) {
    const flags = Object.fromEntries(FLAGS.map((flag) => [flag, (error as Record<string, unknown>)[flag]]));
    return Response.json({ message: (error as Error).message, ...flags }, { status: 599 });
  }
}

async function conform(binding: DurableObjectNamespaceLike, namespace: string, index: number): Promise<Response> {
  const adapter = durableObjectStorage(binding, { namespace });
  try {
    await storageConformance()[index]?.run(adapterSubject(adapter, { now: Date.now() }));
    return new Response("");
  } catch (error) {
    return new Response(error instanceof Error ? `${error.name}: ${error.message}` : String(error), { status: 500 });
  }
}
