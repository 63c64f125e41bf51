/** What {@link within} answers where time was up first. */
export const LATE = Symbol("late");

/** What a promise comes to, or `LATE` after so many milliseconds; it leaves no timer behind. */
export async function within<T>(milliseconds: number, promise: T | Promise<T>): Promise<T | typeof LATE> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<typeof LATE>((resolve) => {
    timer = setTimeout(resolve, milliseconds, LATE);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
