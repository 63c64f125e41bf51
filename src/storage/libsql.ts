import type { StorageAdapter } from "./adapter.ts";
import { connectionOf, isFileUrl, type LibsqlClientLike, openClient } from "./libsql-connection.ts";
import { sqliteBatchStorage } from "./sqlite-batch.ts";

export type { LibsqlClientLike } from "./libsql-connection.ts";

export interface LibsqlStorageOptions {
  /** `libsql://…`, `https://…` or `http://…` of a server, or `file:…` of this machine (needs Node, Bun or Deno). */
  url?: string;
  /** The server's token; it may be in the URL too (`?authToken=…`). */
  authToken?: string;
  /** Instead of a URL: a client that the caller has made, and closes. */
  client?: LibsqlClientLike;
  /** Adapters with different namespaces see nothing of each other in one database. Default `default`. */
  namespace?: string;
  /** The longest value in bytes. Default 4,900,000 on a server, which takes rows of 5 MB by default, 256 MiB in a file. */
  maxValue?: number;
}

/**
 * Storage in a libSQL database by `@libsql/client`: Turso, a libSQL server of your own, or a file of this machine. Strongly
 * consistent where the URL is the primary's, with conditions and atomic batches of any number of operations.
 *
 * Throws a `TypeError` for bad options. Rejects with `unavailable` where the server cannot be reached, refuses the token or
 * has no time, with `storage_full` where the disk is, and with `too_large` where the server takes less than `maxValue`.
 */
export function libsqlStorage(options: LibsqlStorageOptions): StorageAdapter {
  const { url, client, namespace = "default" } = options;
  checkOptions(options);
  const file = client === undefined ? isFileUrl(url as string) : client.protocol === "file";
  // A client of the caller's may be one connection only, or have no log to read from while others write.
  const snapshot = file && client === undefined && !url?.startsWith("file::memory:");
  const { maxValue = file ? 268_435_456 : 4_900_000 } = options;
  return sqliteBatchStorage({
    engine: "libsql",
    capabilities: {
      consistency: "strong",
      conditional: true,
      atomic: { operations: Number.MAX_SAFE_INTEGER, bytes: Number.MAX_SAFE_INTEGER },
      ordered: true,
      snapshot,
      reportsDelete: true,
      maxKey: file ? 65_536 : 2048,
      maxValue,
      maxMetadata: file ? 1_048_576 : 4096,
    },
    connection: connectionOf(client ?? (() => openClient(url as string, options.authToken)), snapshot),
    namespace,
    // What a server answers at once, to all of its clients, is 10 MB by default.
    answerBytes: file ? 67_108_864 : 3_145_728,
  });
}

function checkOptions({ url, authToken, client, namespace, maxValue }: LibsqlStorageOptions): void {
  if ((url === undefined) === (client === undefined)) throw new TypeError("url: Expected either a url or a client");
  if (client !== undefined && authToken !== undefined) throw new TypeError("authToken: Expected none beside a client");
  if (url !== undefined && !/^((libsql|https?):\/\/[^/?#]|file:.)/i.test(url)) {
    throw new TypeError("url: Expected libsql://…, https://…, http://… or file:…");
  }
  if (namespace === "") throw new TypeError(`namespace: Expected a name, got ""`);
  if (maxValue !== undefined && !(Number.isSafeInteger(maxValue) && maxValue > 0)) {
    throw new TypeError(`maxValue: Expected a number of bytes greater than 0, got ${maxValue}`);
  }
}
