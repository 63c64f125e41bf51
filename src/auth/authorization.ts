/** What a request's `Authorization` field holds. */
export interface Authorization {
  /** In lower case: schemes are case-insensitive (RFC 9110, section 11.1). Empty where there is no such one credential. */
  scheme: string;
  credentials: string;
}

/** One scheme and one credential of visible ASCII; a comma would join two fields. */
const FIELD = /^([!#$%&'*+.^_`|~\w-]+) +([\x21-\x2b\x2d-\x7e]+)$/;

/** The one credential of a request, `null` where there is no such field. */
export function authorizationOf(request: Request): Authorization | null {
  const field = request.headers.get("Authorization");
  if (!field) return null;
  const [, scheme = "", credentials = ""] = FIELD.exec(field) ?? [];
  return { scheme: scheme.toLowerCase(), credentials };
}

/** The credential of a scheme, where the request carries one. */
export function credentialsOf(request: Request, scheme: "bearer" | "basic"): string | null {
  const authorization = authorizationOf(request);
  return authorization?.scheme === scheme ? authorization.credentials : null;
}
