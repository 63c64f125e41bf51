/** The header fields that plain requests to a key are told apart by, in one walk over what Node has parsed. */

/** By their names in lower case. */
export interface PlainFields {
  host?: string;
  authorization?: string;
  "x-api-key"?: string;
  "x-request-id"?: string;
  "if-match"?: string;
  "if-none-match"?: string;
  "content-type"?: string;
  "content-length"?: string;
  "transfer-encoding"?: string;
  "content-encoding"?: string;
  expect?: string;
  prefer?: string;
}

const NAMES: ReadonlySet<string> = new Set<keyof PlainFields>([
  ...(["host", "authorization", "x-api-key", "x-request-id", "if-match", "if-none-match", "content-type"] as const),
  ...(["content-length", "transfer-encoding", "content-encoding", "expect", "prefer"] as const),
]);

/** The fields, or `null` where one of them comes twice or the host is none that any parser of URLs takes. */
export function fieldsOf(rawHeaders: readonly string[]): PlainFields | null {
  const fields: Record<string, string> = {};
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] as string).toLowerCase();
    if (!NAMES.has(name)) continue;
    if (fields[name] !== undefined) return null;
    fields[name] = rawHeaders[index + 1] as string;
  }
  return isPlainHost(fields.host) ? fields : null;
}

/** The last host that was found good: mostly all requests have the same. */
let goodHost: string | undefined;

function isPlainHost(host: string | undefined): boolean {
  if (host === undefined) return false;
  if (host === goodHost) return true;
  if (!/^[a-z\d.-]+(:\d+)?$/i.test(host) || !URL.canParse(`http://${host}`)) return false;
  goodHost = host;
  return true;
}
