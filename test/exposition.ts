/** Reads the Prometheus text format 0.0.4 strictly, with the rules for names and units that OpenMetrics adds. */

export interface Samples {
  text: string;
  /** Every series, in its order. */
  names: string[];
  /** The type of each family. */
  types: Map<string, string>;
  /** The value of one series, its labels as they are written. */
  sample(name: string, labels?: string): number | undefined;
  /** The values of one name by labels. */
  counts(name: string): Record<string, number>;
}

const LINE = /^([a-z][a-z0-9_]*)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)+)\})? (-?\d+(?:\.\d+)?(?:e[+-]\d+)?)$/;
const UNITS = /_(seconds|bytes)(_total)?$|_(total|size|info)$/;

/** Throws where a line is not as the format has it. */
export function parseExposition(text: string): Samples {
  const values = new Map<string, number>();
  const types = new Map<string, string>();
  let current = "";
  if (!text.endsWith("\n")) throw new Error("The last line does not end");
  for (const line of text.slice(0, -1).split("\n")) {
    const [, comment, family = "", rest = ""] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
    if (comment === "HELP") {
      if (types.has(family)) throw new Error(`Twice: ${line}`);
      current = family;
    } else if (comment === "TYPE") {
      if (family !== current) throw new Error(`TYPE without HELP before: ${line}`);
      checkName(family, rest);
      types.set(family, rest);
    } else {
      const [, name = "", labels = "", value] = LINE.exec(line) ?? [];
      const suffix = types.get(current) === "histogram" ? /^_(bucket|sum|count)$/ : /^$/;
      if (value === undefined || !name.startsWith(current) || !suffix.test(name.slice(current.length))) {
        throw new Error(`Not a sample of ${current}: ${line}`);
      }
      const series = `${name}{${labels}}`;
      if (values.has(series)) throw new Error(`Twice: ${series}`);
      values.set(series, Number(value));
    }
  }
  checkHistograms(values, types);
  return {
    text,
    names: [...values.keys()],
    types,
    sample: (name, labels = "") => values.get(`${name}{${labels}}`),
    counts: (name) =>
      Object.fromEntries(
        [...values].flatMap(([series, value]) =>
          series.startsWith(`${name}{`) ? [[series.slice(name.length + 1, -1), value]] : [],
        ),
      ),
  };
}

/** Counters end with `_total` and nothing else does; a unit is a base unit and stands last but for that. */
function checkName(name: string, type: string): void {
  if (!["counter", "gauge", "histogram"].includes(type)) throw new Error(`No type: ${type}`);
  if (name.endsWith("_total") !== (type === "counter")) throw new Error(`A ${type} must not be called ${name}`);
  if (!UNITS.test(name)) throw new Error(`No unit that is known: ${name}`);
}

/** Buckets ascend in their bounds and counts, and the last is the count. */
function checkHistograms(values: ReadonlyMap<string, number>, types: ReadonlyMap<string, string>): void {
  const last = new Map<string, { le: number; count: number }>();
  for (const [series, count] of values) {
    const [, name = "", labels = "", le = ""] = /^(.*)_bucket\{(.*?),?le="(.*)"\}$/.exec(series) ?? [];
    if (types.get(name) !== "histogram") continue;
    const before = last.get(`${name}_count{${labels}}`) ?? { le: Number.NEGATIVE_INFINITY, count: 0 };
    const bound = le === "+Inf" ? Number.POSITIVE_INFINITY : Number(le);
    if (!(bound > before.le && count >= before.count)) throw new Error(`Out of order: ${series}`);
    last.set(`${name}_count{${labels}}`, { le: bound, count });
  }
  for (const [series, { le, count }] of last) {
    if (le !== Number.POSITIVE_INFINITY || values.get(series) !== count)
      throw new Error(`Not the last bucket: ${series}`);
  }
}
