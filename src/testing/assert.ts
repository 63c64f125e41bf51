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
  if (left === right) return;
  let same = 0;
  while (left[same] === right[same]) same++;
  throw new AssertionError(`${what}: expected ${cut(right, same)}, got ${cut(left, same)}`);
}

/** Throws unless the promise rejects with an error that has this `code`. */
export async function assertRejects(promise: Promise<unknown>, code: string, what: string): Promise<void> {
  const outcome = await promise.then(
    () => "no error",
    (error: { code?: unknown }) => error?.code ?? error,
  );
  if (outcome !== code) throw new AssertionError(`${what}: expected the error "${code}", got ${String(outcome)}`);
}

/** A text that is short enough to read, or 300 characters of it from shortly before where the difference begins. */
function cut(text: string, same: number): string {
  if (text.length <= 300) return text;
  const from = Math.max(0, Math.min(same, text.length) - 40);
  return `${from > 0 ? "…" : ""}${text.slice(from, from + 300)}… (${text.length} characters)`;
}
