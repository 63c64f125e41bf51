import { KvError } from "../core/errors.ts";
import { unavailable } from "./failures.ts";

/** What Redis says where it has no memory or no disk for more. */
const FULL = /(^|: -?)OOM |No space left on device|DB capacity quota exceeded/;
/** What it says where it cannot do it now, as the first word or, in older versions, after where in a script. */
const UNABLE =
  /(^|: -?)(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|BUSY|MISCONF|NOREPLICAS|NOAUTH|WRONGPASS|NOPERM|DENIED|UNKILLABLE) |ERR (max |invalid password|AUTH )/;

/** The `KvError` for what a server answered, or `null` where that is none of its conditions. */
export function replyFailure(error: Error): KvError | null {
  if (FULL.test(error.message)) return new KvError("storage_full", "The database is full", { cause: error });
  if (UNABLE.test(error.message)) return unavailable(error);
  return null;
}
