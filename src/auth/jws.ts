/** JWS in the compact form (RFC 7515, section 7.1), whose signatures the platform's WebCrypto verifies. */
import { bytesOfBase64Url, decoder, encoder } from "../core/bytes.ts";

/** A public key (RFC 7517), or a secret for HMAC. */
export type VerificationKey = JsonWebKey | Uint8Array<ArrayBuffer>;

export interface JwsHeader {
  alg: string;
  kid?: unknown;
  typ?: unknown;
}

/** RFC 7518, sections 3.3 and 3.5. */
const RSA_BITS = 2048;

/**
 * What was signed, with its header; `null` where it is no JWS, names none of the algorithms, or none of the keys signed it. What
 * `keysOf` throws is thrown on. The algorithms decide about the kind of key: those of HMAC never come with those of public keys.
 */
export async function verifiedJws(
  token: string,
  algorithms: readonly string[],
  keysOf: (header: JwsHeader) => Promise<readonly VerificationKey[]>,
): Promise<{ header: JwsHeader; payload: string } | null> {
  const [head = "", body = "", signature = ""] = token.split(".");
  const header = headerOf(head);
  if (header === null || !algorithms.includes(header.alg)) return null;
  const signed = encoder.encode(`${head}.${body}`);
  for (const key of await keysOf(header)) {
    try {
      const cryptoKey = await importedKey(key, header.alg);
      if (await crypto.subtle.verify(algorithmOf(header.alg), cryptoKey, bytesOfBase64Url(signature), signed)) {
        return { header, payload: decoder.decode(bytesOfBase64Url(body)) };
      }
    } catch {
      // A key that is not of the algorithm, or is none, has signed nothing.
    }
  }
  return null;
}

/** An extension that is critical must be understood (RFC 7515, section 4.1.11), and none is. */
function headerOf(text: string): JwsHeader | null {
  try {
    const header = JSON.parse(decoder.decode(bytesOfBase64Url(text)));
    return "crit" in header ? null : header;
  } catch {
    return null;
  }
}

/** What was made of a key, and for which algorithm; a set that is fetched anew has other objects. */
const known = new WeakMap<VerificationKey, { alg: string; cryptoKey: CryptoKey }>();

async function importedKey(key: VerificationKey, alg: string): Promise<CryptoKey> {
  const found = known.get(key);
  if (found?.alg === alg) return found.cryptoKey;
  const algorithm = algorithmOf(alg);
  // WebCrypto itself refuses a key of another kind, curve or use.
  const cryptoKey = await (key instanceof Uint8Array
    ? crypto.subtle.importKey("raw", key, algorithm, false, ["verify"])
    : crypto.subtle.importKey("jwk", key, algorithm, false, ["verify"]));
  const { modulusLength = RSA_BITS } = cryptoKey.algorithm as Partial<RsaKeyAlgorithm>;
  if (modulusLength < RSA_BITS) throw new Error(`An RSA key of ${modulusLength} bits is too short`);
  known.set(key, { alg, cryptoKey });
  return cryptoKey;
}

/** An `alg` (RFC 7518, section 3.1; RFC 8037; RFC 9864) as WebCrypto has it. */
function algorithmOf(alg: string) {
  const bits = alg.slice(2);
  const hash = `SHA-${bits}`;
  switch (alg.slice(0, 2)) {
    case "HS":
      return { name: "HMAC", hash };
    case "RS":
      return { name: "RSASSA-PKCS1-v1_5", hash };
    case "PS":
      return { name: "RSA-PSS", hash, saltLength: Number(bits) / 8 };
    case "ES":
      return { name: "ECDSA", hash, namedCurve: bits === "512" ? "P-521" : `P-${bits}` };
    default:
      return { name: "Ed25519" };
  }
}
