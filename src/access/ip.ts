/** Addresses and networks, IPv4 and IPv6, as numbers: IPv4 is its IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2). */

/** The first `128 - shift` bits of an address. */
export interface Network {
  bits: bigint;
  shift: bigint;
}

/**
 * An address as 128 bits, or `null` where the text is none. The platform's own parser of URLs judges it, which writes IPv6 in
 * one form (https://url.spec.whatwg.org/#host-parsing). The zone of a link-local address is left out.
 */
export function parseAddress(text = ""): bigint | null {
  const [address = ""] = text.split("%");
  const isV6 = address.includes(":");
  const url = `http://${isV6 ? `[${address}]` : address}`;
  if (!/^[\da-f:.]+$/i.test(address) || !URL.canParse(url)) return null;
  const host = new URL(url).hostname;
  // What else it takes for IPv4, octal or short forms, is no address here.
  if (!isV6) return host === address && /^[\d.]+$/.test(host) ? numberOf(address.split("."), 8n, 0xffffn) : null;
  const [head = [], tail = []] = host.slice(1, -1).split("::").map(groupsOf);
  return numberOf([...head, ...Array(8 - head.length - tail.length).fill("0x0"), ...tail], 16n, 0n);
}

function groupsOf(part: string): string[] {
  return part.split(":").flatMap((group) => (group === "" ? [] : [`0x${group}`]));
}

function numberOf(parts: readonly string[], width: bigint, start: bigint): bigint {
  return parts.reduce((bits, part) => (bits << width) | BigInt(part), start);
}

/** A block of RFC 4632 such as `10.0.0.0/8` or `2001:db8::/32`, or one address; `null` where the text is neither. */
export function parseNetwork(text: string): Network | null {
  const [, address = text, prefix] = /^(.*)\/(0|[1-9]\d{0,2})$/.exec(text) ?? [];
  const first = parseAddress(address);
  const length = address.includes(":") ? 128 : 32;
  const shift = BigInt(length - Number(prefix ?? length));
  if (first === null || shift < 0n) return null;
  const bits = first >> shift;
  // Bits behind the prefix say that something else was meant.
  return bits << shift === first ? { bits, shift } : null;
}

export function isIn(networks: readonly Network[], address: bigint | null): boolean {
  return address !== null && networks.some(({ bits, shift }) => address >> shift === bits);
}

/** What counts as one client: an IPv4 address, or the /64 of an IPv6 address, which is one subscriber's. */
export function clientOf(address: bigint | null): string {
  return address === null ? "" : (address >> (address >> 32n === 0xffffn ? 0n : 64n)).toString(36);
}
