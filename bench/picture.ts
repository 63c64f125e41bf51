/** One picture of a run, for the README: our bars and each peer's, relative to the baselines B and W. */
import type { Results, Series } from "./harness/report.ts";
import { OURS } from "./harness/service.ts";

const WIDTH = 800;
const LEFT = 210;
const RIGHT = 60;
const BAR = 13;
const GAP = 3;
/** A bar that is longer is cut off, so that one does not make all the others small. */
const LONGEST = 1.75;

/** The series that are shown, and what stands over them. */
const SHOWN: readonly (readonly [series: string, title: string])[] = [
  ["hot GET, of B", "Read one key of 1 KB"],
  ["spread GET, of B", "Read random keys of 1 KB"],
  ["durable PUT, of W", "Write 1 KB"],
];
/** Not bars: they are the line. */
const BASELINES = new Set(["B", "W"]);

// The page is drawn too, so that it is read where a viewer knows no preference.
const STYLE = `
  .page { fill: #ffffff } text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600 } .note { fill: #59636e } .end { text-anchor: end }
  .ours { fill: #0969da } .peer { fill: #afb8c1 } .volatile { fill: none; stroke: #afb8c1 }
  .line { stroke: #59636e; stroke-dasharray: 3 3 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #f0f6fc } .note { fill: #9198a1 }
    .ours { fill: #4493f8 } .peer { fill: #656c76 } .volatile { stroke: #656c76 } .line { stroke: #9198a1 }
  }`;

interface Bar {
  label: string;
  rate: number;
  ratio: number;
  onDisk: boolean;
}

/** The picture as SVG. Throws an `Error` where a series is missing. */
export function picture({ series, machine }: Results): string {
  const groups = SHOWN.map(([name, title]) => ({ title, bars: barsOf(name, series) }));
  const ratios = groups.flatMap(({ bars }) => bars.map(({ ratio }) => ratio));
  const scale = (WIDTH - LEFT - RIGHT) / Math.min(LONGEST, Math.max(1.05, ...ratios));
  const parts: string[] = [];
  let y = 12;
  for (const { title, bars } of groups) {
    const top = y + 20;
    const bottom = top + bars.length * (BAR + GAP);
    const one = (LEFT + scale).toFixed(1);
    parts.push(text(LEFT, y + 12, title, "title"));
    parts.push(`<line class="line" x1="${one}" y1="${top - 3}" x2="${one}" y2="${bottom}"/>`);
    parts.push(...bars.flatMap((bar, index) => drawn(bar, top + index * (BAR + GAP), scale)));
    y = bottom + GAP * 4;
  }
  const notes = [
    "Requests a second. The dashed line is 1.00: a bare node:http server that gives the same answers from memory,",
    "for writes a bare append log that flushes before it answers. Outlined: keeps nothing on the disk.",
    `${machine.cores} cores, Node ${machine.node}, ${machine.date.split("T")[0]}. npm run bench repeats it.`,
  ];
  parts.push(...notes.map((note, index) => text(12, y + 14 + index * 16, note, "note")));
  const height = y + 14 + notes.length * 16;
  const size = `width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img"`;
  const title = "<title>Requests a second, relative to a bare HTTP server</title>";
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size}>${title}\n<style>${STYLE}\n</style>\n<rect class="page" width="${WIDTH}" height="${height}" rx="6"/>\n${parts.join("\n")}\n</svg>\n`;
}

/** Ours first, the others by their height. */
function barsOf(name: string, series: Series): Bar[] {
  const found = series[name];
  if (found === undefined) throw new Error(`The results hold no series ${JSON.stringify(name)}`);
  const bars = Object.entries(found).map(([label, figures]) => ({ label, ...figures }));
  const rank = (bar: Bar) => (bar.label === OURS ? Number.POSITIVE_INFINITY : bar.ratio);
  return bars.filter(({ label }) => !BASELINES.has(label)).sort((a, b) => rank(b) - rank(a));
}

function drawn({ label, ratio, rate, onDisk }: Bar, y: number, scale: number): string[] {
  const isOurs = label === OURS;
  const width = Math.min(WIDTH - LEFT - RIGHT, ratio * scale);
  const kind = isOurs ? "ours" : onDisk ? "peer" : "volatile";
  const told = `<title>${escaped(`${label}: ${Math.round(rate)} a second`)}</title>`;
  const cut = width < ratio * scale - 1 ? " →" : "";
  return [
    text(LEFT - 8, y + BAR - 2, label, isOurs ? "end title" : "end"),
    `<rect class="${kind}" x="${LEFT}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" rx="2">${told}</rect>`,
    text(LEFT + width + 6, y + BAR - 2, ratio.toFixed(2) + cut, isOurs ? "title" : "note"),
  ];
}

function text(x: number, y: number, content: string, kind: string): string {
  return `<text class="${kind}" x="${x.toFixed(1)}" y="${y}">${escaped(content)}</text>`;
}

function escaped(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
