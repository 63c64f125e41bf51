/** A mistake in calling the command: its message is all that is printed. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
