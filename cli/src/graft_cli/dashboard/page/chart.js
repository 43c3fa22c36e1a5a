// A line chart as inline SVG, and the same points as a table.

import { h } from "./elements.js";

const WIDTH = 640, HEIGHT = 240, LEFT = 56, RIGHT = 12, TOP = 12, BOTTOM = 30, INTERVALS = 4;
const ROWS_SHOWN = 200;

/** `series` are [name, [{step, loss}, …]]; steps begin at 0. */
export function chart(title, series, maxSteps) {
  const drawn = series.filter(([, points]) => points.length);
  if (!drawn.length) return null;
  const points = drawn.flatMap(([, own]) => own);
  const last = Math.max(1, maxSteps, ...points.map((point) => point.step));
  const losses = points.map((point) => point.loss);
  const [low, high] = spread(Math.min(...losses), Math.max(...losses));
  const x = (step) => round(LEFT + (step / last) * (WIDTH - LEFT - RIGHT));
  const y = (loss) => round(TOP + ((high - loss) / (high - low)) * (HEIGHT - TOP - BOTTOM));
  return h("figure", null,
    h("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${summary(drawn)}` },
      levels(low, high).map((level) => [
        h("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(level), y2: y(level) }),
        h("text", { x: LEFT - 6, y: y(level) + 4, "text-anchor": "end" }, Number(level.toPrecision(3))),
      ]),
      steps(last).map((step) => h("text", { x: x(step), y: HEIGHT - 10, "text-anchor": step === last ? "end" : "middle" }, step)),
      drawn.map(([name, own], index) => h("g", { class: `series${index}`, key: name },
        h("polyline", { points: own.map((point) => `${x(point.step)},${y(point.loss)}`).join(" ") }),
        own.length < 60 && own.map((point) => h("circle", { cx: x(point.step), cy: y(point.loss), r: 2.5 })),
        h("text", { x: WIDTH - RIGHT, y: TOP + 14 * (index + 1), "text-anchor": "end" }, name)))),
    h("figcaption", null, `${summary(drawn)} Across: optimizer steps; upwards: loss.`),
    h("details", null, h("summary", null, "The points as a table"), pointsTable(title, drawn)));
}

function pointsTable(title, drawn) {
  const rows = drawn.flatMap(([name, own]) => own.slice(-ROWS_SHOWN).map((point) => [name, point]));
  return h("table", { class: "points" }, h("caption", null, title),
    h("thead", null, h("tr", null, ["Series", "Step", "Loss"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", null, rows.map(([name, point]) => h("tr", { key: `${name} ${point.step}` },
      h("th", { scope: "row" }, name), h("td", null, point.step), h("td", null, point.loss)))));
}

function summary(drawn) {
  return drawn.map(([name, own]) => {
    const first = own[0], last = own[own.length - 1];
    if (own.length === 1) return `${name} ${last.loss} at step ${last.step}.`;
    return `${name} from ${first.loss} at step ${first.step} to ${last.loss} at step ${last.step}.`;
  }).join(" ");
}

function spread(low, high) {
  return low === high ? [low - Math.abs(low) / 10 - 1e-9, high + Math.abs(high) / 10 + 1e-9] : [low, high];
}

function levels(low, high) {
  return Array.from({ length: INTERVALS + 1 }, (_, part) => low + ((high - low) * part) / INTERVALS);
}

function steps(last) {
  return [...new Set(Array.from({ length: INTERVALS + 1 }, (_, part) => Math.round((last * part) / INTERVALS)))];
}

function round(value) {
  return Math.round(value * 10) / 10;
}
