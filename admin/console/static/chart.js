// Line charts, drawn as SVG. The lines stretch with the page; the words beside them are
// HTML, and do not.

import { h } from "./dom.js";

const longest = 5 * 60 * 1000; // what a chart shows
const shortest = 60 * 1000; // ... when there is not so much yet
const wide = 600;

/** sparkline is a small chart without words. */
export function sparkline(points, { height = 36 } = {}) {
  const now = points.at(-1)?.at ?? Date.now();
  const shown = points.filter((p) => p.value !== undefined && p.at >= now - longest);
  const span = spanOf(now, shown[0]?.at);
  const top = Math.max(...shown.map((p) => p.value), 0) || 1;
  const parts = unbroken(place(shown, now, span, top, height));
  return h("svg", { class: "spark", viewBox: `0 0 ${wide} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    parts.length > 0 && [
      h("path", { class: "spark-area", d: parts.map((xy) => `${line(xy)}L${last(xy)[0]},${height}L${xy[0][0]},${height}Z`).join("") }),
      h("path", { class: "spark-line", d: parts.map(line).join("") }),
    ]);
}

/** spanOf is how far back a chart goes. */
function spanOf(now, first) {
  return Math.min(longest, Math.max(shortest, now - (first ?? now)));
}

function place(points, now, span, top, height) {
  return points.map((p) => [round(wide - ((now - p.at) / span) * wide), round(height - 2 - (p.value / top) * (height - 4))]);
}

const round = (n) => Math.round(n * 10) / 10;
const last = (list) => list[list.length - 1];

/** unbroken cuts a line where nothing was known for a while; what is left has two places or more. */
function unbroken(xy) {
  const parts = [];
  for (const at of xy) {
    const part = parts.at(-1);
    if (part && at[0] - last(part)[0] <= 100) part.push(at);
    else parts.push([at]);
  }
  return parts.filter((part) => part.length > 1);
}

const line = (xy) => "M" + xy.map((at) => at.join(",")).join("L");

/** nice is the next of 1, 2 and 5 times a power of ten. */
function nice(n) {
  if (n <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(n));
  for (const f of [1, 2, 5, 10]) if (n <= f * power * 1.000001) return f * power;
  return 10 * power;
}

/**
 * chart draws series of {name, points, color} over the last five minutes. o has title, about,
 * unit (writes a value), id, and pointer, where the page keeps at which time somebody looks.
 */
export function chart(series, o) {
  const height = 160;
  const drawn = series.map((s) => ({ ...s, points: s.points.filter((p) => p.value !== undefined && !Number.isNaN(p.value)) })).filter((s) => s.points.length);
  const now = Math.max(...drawn.map((s) => last(s.points).at), 0) || Date.now();
  const span = spanOf(now, Math.min(...drawn.map((s) => s.points[0].at)));
  for (const s of drawn) s.points = s.points.filter((p) => p.at >= now - span);
  const top = nice(Math.max(...drawn.flatMap((s) => s.points.map((p) => p.value)), o.atLeast ?? 0));
  const at = o.pointer?.id === o.id ? now - (1 - o.pointer.x) * span : null;
  const values = drawn.map((s) => ({ ...s, value: at === null ? last(s.points)?.value : nearest(s.points, at)?.value }));
  return h("figure", { class: "card chart", key: o.id },
    h("figcaption", null, h("h3", null, o.title), h("p", { class: "muted" }, o.about)),
    h("div", { class: "plot" },
      h("div", { class: "plot-scale", "aria-hidden": "true" }, [1, 0.5, 0].map((f) => h("span", null, o.unit(top * f)))),
      h("div", {
        class: "plot-area",
        onPointermove: (e) => o.onPointer({ id: o.id, x: e.offsetX / e.currentTarget.clientWidth }),
        onPointerleave: () => o.onPointer(null),
      },
        h("svg", { viewBox: `0 0 ${wide} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": o.title + ": " + said(values, o.unit) },
          [0, 0.5, 1].map((f) => h("line", { class: "grid-line", x1: 0, x2: wide, y1: 1 + f * (height - 2), y2: 1 + f * (height - 2) })),
          drawn.map((s) => h("path", { class: "line", style: { "--c": s.color }, d: unbroken(place(s.points, now, span, top, height)).map(line).join("") })),
          at !== null && h("line", { class: "cursor-line", x1: o.pointer.x * wide, x2: o.pointer.x * wide, y1: 0, y2: height })),
        !drawn.some((s) => s.points.length > 1) && h("p", { class: "plot-empty muted" }, "Collecting: two samples are needed, a few seconds apart."))),
    h("div", { class: "plot-times muted", "aria-hidden": "true" }, h("span", null, ago(span)), h("span", null, at === null ? "now" : Math.round((now - at) / 1000) + " s ago")),
    h("ul", { class: "legend" }, values.map((s) => h("li", { key: s.name },
      h("span", { class: "swatch", style: { "--c": s.color } }), s.name, h("b", null, s.value === undefined ? "–" : o.unit(s.value))))));
}

const ago = (span) => (span >= 120_000 ? Math.round(span / 60_000) + " min ago" : Math.round(span / 1000) + " s ago");

function nearest(points, at) {
  let best = points[0];
  for (const p of points) if (Math.abs(p.at - at) < Math.abs(best.at - at)) best = p;
  return best;
}

function said(values, unit) {
  return values.length ? values.map((s) => `${s.name} ${s.value === undefined ? "unknown" : unit(s.value)}`).join(", ") : "no figures yet";
}

/** bar is a share of a whole, 0 to 1, with words for those who do not see it. */
export function bar(share, label, color) {
  const f = Math.max(0, Math.min(1, share || 0));
  return h("span", { class: "bar", role: "progressbar", "aria-label": label, "aria-valuenow": Math.round(f * 100), "aria-valuemin": 0, "aria-valuemax": 100 },
    h("span", { style: { width: (f * 100).toFixed(1) + "%", ...(color && { background: color }) } }));
}
