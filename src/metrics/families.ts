/**
 * Counters, gauges and histograms, and their text in the Prometheus exposition format 0.0.4. Names and units follow
 * OpenMetrics, which is stricter. A series is looked up once and kept by who counts, so that counting is an addition.
 *
 * @see https://prometheus.io/docs/instrumenting/exposition_formats/
 */

export type Labels = Readonly<Record<string, string>>;

export interface Family {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  /** Its samples at this moment, a line each. */
  lines(): string[];
}

/** A number that is added to. */
export interface Cell {
  value: number;
}

export interface Cells extends Family {
  /** The series with these labels; the sets of labels have to be few. */
  of(labels: Labels): Cell;
}

/** Numbers that only grow. The name ends with `_total`. */
export function counters(name: string, help: string): Cells {
  const { of, all } = seriesOf((): Cell => ({ value: 0 }));
  const lines = () => all().map(([labels, { value }]) => line(name, labels, value));
  return { name, type: "counter", help, of, lines };
}

/** What is asked for when it is read. */
export function reading(
  type: "counter" | "gauge",
  name: string,
  help: string,
  read: () => readonly (readonly [Labels, number])[],
): Family {
  return { name, type, help, lines: () => read().map(([labels, value]) => line(name, textOf(labels), value)) };
}

export interface Histogram {
  observe(value: number): void;
}

export interface Histograms extends Family {
  of(labels: Labels): Histogram;
}

/** How often something took how much. `bounds` ascend; they and what is observed are `scale` of the unit in the name. */
export function histograms(name: string, help: string, bounds: readonly number[], scale: number): Histograms {
  const { of, all } = seriesOf(() => {
    const counts = new Array<number>(bounds.length + 1).fill(0);
    const series = {
      counts,
      sum: 0,
      observe(value: number) {
        let at = 0;
        // Most are small: they are found at once.
        while (at < bounds.length && value > (bounds[at] as number)) at += 1;
        (counts[at] as number) += 1;
        series.sum += value;
      },
    };
    return series;
  });
  const les = bounds.map((bound) => String(bound * scale));
  const lines = () =>
    all().flatMap(([labels, { counts, sum }]) => distribution(name, labels, les, counts, sum * scale));
  return { name, type: "histogram", help, of, lines };
}

/** The lines of one histogram: `counts` has one more than `les`, for what is over the last. */
export function distribution(
  name: string,
  labels: string,
  les: readonly string[],
  counts: readonly number[],
  sum: number,
): string[] {
  let total = 0;
  const buckets = [...les, "+Inf"].map((le, index) => {
    total += counts[index] ?? 0;
    return line(`${name}_bucket`, join(labels, `le="${le}"`), total);
  });
  return [...buckets, line(`${name}_sum`, labels, sum), line(`${name}_count`, labels, total)];
}

/** The whole exposition. A family without a sample says what it is nevertheless. */
export function expositionOf(families: readonly Family[]): string {
  const texts = families.map(({ name, type, help, lines }) => {
    const escaped = help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
    return [`# HELP ${name} ${escaped}`, `# TYPE ${name} ${type}`, ...lines(), ""].join("\n");
  });
  return texts.join("");
}

function seriesOf<T>(make: () => T) {
  const series = new Map<string, T>();
  return {
    of(labels: Labels): T {
      const text = textOf(labels);
      const known = series.get(text) ?? make();
      series.set(text, known);
      return known;
    },
    all: () => [...series],
  };
}

function textOf(labels: Labels): string {
  const escaped = (value: string) => value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escaped(value)}"`)
    .join(",");
}

const join = (labels: string, more: string) => (labels === "" ? more : `${labels},${more}`);

function line(name: string, labels: string, value: number): string {
  return `${name}${labels === "" ? "" : `{${labels}}`} ${value}`;
}
