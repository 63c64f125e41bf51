const EXPECTED = "url: Expected mysql://user:password@host:3306/database";

/** Throws a `TypeError` where a URL is none for MySQL. The URL itself stays out of the message: it has a password. */
export function checkMysqlUrl(text: string): void {
  const url = URL.parse(text);
  if (url === null || !/^(mysql|mariadb):$/.test(url.protocol) || url.hostname === "" || url.pathname.length < 2) {
    throw new TypeError(EXPECTED);
  }
  try {
    // As the driver does it.
    for (const part of [url.hostname, url.username, url.password, url.pathname]) decodeURIComponent(part);
  } catch {
    throw new TypeError(`${EXPECTED}, each part percent-encoded`);
  }
  // The driver would pass over it and connect without TLS.
  const mode = [...url.searchParams.keys()].find(
    (name) => /^(ssl|tls)[-_]?(mode|cert|ca|key)?$/i.test(name) && name !== "ssl",
  );
  if (mode !== undefined) throw new TypeError(`url: Expected "ssl=true" for TLS, got the option "${mode}"`);
}

/** What the driver makes of a URL, where `?ssl=true` asks for a certificate that the system trusts for this host. */
export function driverOptions(text: string): { uri: string; ssl?: object } {
  const url = new URL(text);
  if (url.searchParams.get("ssl") !== "true") return { uri: text };
  url.searchParams.delete("ssl");
  return { uri: url.href, ssl: { verifyIdentity: true } };
}
