/** Whose request a proxy passes on. */
import { isIn, type Network, parseAddress } from "./ip.ts";

/** The proxies whose word is taken: so many of them before the service, or those of these networks. */
export type TrustedProxies = number | readonly Network[];

/**
 * The client's address: the socket's own, and where that is a trusted proxy the one it names, and so on from the right.
 * `null` where a trusted proxy names none that can be read, or `X-Forwarded-For` and `Forwarded` (RFC 7239) differ: then one
 * of them came from outside.
 */
export function clientAddress(
  socket: string | undefined,
  fields: { get(name: string): string | null },
  trusted: TrustedProxies,
): bigint | null {
  const own = parseAddress(socket);
  if (trusted === 0) return own;
  const chains = [forwardedFor(fields.get("X-Forwarded-For")), forwarded(fields.get("Forwarded"))];
  const [first = own, second = first] = chains.flatMap((chain) =>
    chain === null ? [] : [behind(own, chain, trusted)],
  );
  return first === second ? first : null;
}

/** The first address from the right that no trusted proxy has. */
function behind(own: bigint | null, chain: readonly string[], trusted: TrustedProxies): bigint | null {
  let address = own;
  for (let hops = 0; hops < chain.length; hops++) {
    if (typeof trusted === "number" ? hops >= trusted : !isIn(trusted, address)) break;
    address = parseAddress(chain.at(-1 - hops));
  }
  return address;
}

function forwardedFor(field: string | null): string[] | null {
  return field === null ? null : field.split(",").map(hostOf);
}

/** A value of RFC 7239 is a token or a quoted string. */
const ELEMENT = /^(?:\s*[\w-]+=(?:"(?:[^"\\]|\\.)*"|[^\s",;]*)\s*(?:;|$))*$/;
const PAIR = /([\w-]+)=("(?:[^"\\]|\\.)*"|[^\s",;]*)/g;

/** The `for` of each element; one that cannot be read is the empty string. */
function forwarded(field: string | null): string[] | null {
  if (field === null) return null;
  return splitQuoted(field).map((element) => {
    const pairs = ELEMENT.test(element) ? [...element.matchAll(PAIR)] : [];
    const [, , node = ""] = pairs.find(([, name]) => name?.toLowerCase() === "for") ?? [];
    return hostOf(node.replaceAll('"', ""));
  });
}

/** The parts between commas that no quotes hold. */
function splitQuoted(field: string): string[] {
  const parts = [""];
  let quoted = false;
  for (const character of field) {
    if (character === '"') quoted = !quoted;
    if (character === "," && !quoted) parts.push("");
    else parts[parts.length - 1] += character;
  }
  return quoted ? [""] : parts;
}

/** An address without brackets and port. */
function hostOf(node: string): string {
  const text = node.trim();
  return /^\[(.*)\](?::\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text;
}
