/** Why a conformance test failed. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Throws where the condition is false. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Throws where two values differ, compared as JSON text. */
export function assertEqual(actual: unknown, expected: unknown, what: string): void {
  const [left, right] = [JSON.stringify(actual) ?? "undefined", JSON.stringify(expected) ?? "undefined"];
  if (left !== right) throw new AssertionError(`${what}: expected ${cut(right)}, got ${cut(left)}`);
}

/** Throws unless the promise rejects with an error that has this `code`. */
export async function assertRejects(promise: Promise<unknown>, code: string, what: string): Promise<void> {
  const outcome = await promise.then(
    () => "no error",
    (error: { code?: unknown }) => error?.code ?? error,
  );
  if (outcome !== code) throw new AssertionError(`${what}: expected the error "${code}", got ${String(outcome)}`);
}

function cut(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300)}… (${text.length} characters)` : text;
}
