/** What a caller may do: `read` (get, head, list), `write` (that, put and delete), `admin` (everything). */
export type Scope = "read" | "write" | "admin";

/** Each includes those before it. */
export const SCOPES: readonly Scope[] = ["read", "write", "admin"];

/** Who a request comes from, in `c.var.principal`. */
export interface Principal {
  id: string;
  strategy: "api-key" | "basic" | "jwt" | "custom";
  scope: Scope;
  /** The payload of a JWT. */
  claims?: Readonly<Record<string, unknown>>;
}

/** What tells principals apart. */
export function nameOf({ strategy, id }: Principal): string {
  return `${strategy}:${id}`;
}

/** Whether a scope includes another. */
export function includesScope(scope: Scope, needed: Scope): boolean {
  return SCOPES.indexOf(scope) >= SCOPES.indexOf(needed);
}
