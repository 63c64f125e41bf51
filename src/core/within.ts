/** What {@link within} answers where time was up first. */
export const LATE = Symbol("late");

/** What a promise comes to, or `LATE` after so many milliseconds; it leaves no timer behind. */
export function within<T>(milliseconds: number, promise: T | Promise<T>): Promise<T | typeof LATE> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds, LATE);
    const end = <V>(settle: (value: V) => void, value: V) => {
      clearTimeout(timer);
      settle(value);
    };
    Promise.resolve(promise).then(end.bind(null, resolve as never), end.bind(null, reject));
  });
}
