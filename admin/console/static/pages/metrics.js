// Metrics: charts of all nodes, made of GET /v1/load, and this node's own figures.

import { chart, sparkline } from "../chart.js";
import { h } from "../dom.js";
import { bytes, count, micros, rate } from "../format.js";
import { empty, failed, field, wait } from "../parts.js";

const charts = [
  { figure: "requests", title: "Requests a second", about: "Commands and queries from outside, by the node that they came to.", unit: rate, atLeast: 1 },
  { figure: "p99", title: "Latency, 99th percentile", about: "From a request's arrival at a node to its answer.", unit: micros, atLeast: 100 },
  { figure: "p50", title: "Latency, median", about: "Half of the requests are faster.", unit: micros, atLeast: 100 },
  { figure: "failed", title: "Errors a second", about: "Requests that were answered by an error; “not found” is none.", unit: rate, atLeast: 1 },
  { figure: "queue", title: "Queued", about: "Requests and tasks that wait for a vnode.", unit: count, atLeast: 4 },
  { figure: "table", title: "In memory", about: "Records that are in the commit log, and not in their files yet.", unit: bytes, atLeast: 1000 },
  { figure: "log", title: "Commit log", about: "Size of its segments.", unit: bytes, atLeast: 1000 },
  { figure: "bytes", title: "Keys and values", about: "In slots whose files are open.", unit: bytes, atLeast: 1000 },
];

export default {
  title: "Metrics",
  about: "The last five minutes, kept in this page while it is open. For longer, scrape /metrics of each node.",
  needs: () => ["metrics"],

  view(app) {
    const error = app.source.docs.load?.error;
    const onPointer = (p) => { app.pointer = p; app.update(); };
    return [
      error && failed(error, "No new figures come"),
      h("div", { class: "charts" }, charts.map((c) => chart(app.history.series(c.figure).map((s) => ({ ...s, color: app.color(s.name) })),
        { ...c, id: c.figure, pointer: app.pointer, onPointer }))),
      own(app),
    ];
  },
};

/**
 * parse reads the text format of Prometheus: what a line says besides its name, labels and value is
 * not used. Of a histogram it keeps sum and count.
 */
export function parse(text) {
  const help = {};
  const kinds = {};
  const samples = [];
  for (const line of text.split("\n")) {
    const about = line.match(/^# (HELP|TYPE) (\S+) (.*)$/);
    if (about) (about[1] === "HELP" ? help : kinds)[about[2]] = about[3];
    const m = line.match(/^([a-zA-Z_:][\w:]*)(\{.*\})? (\S+)/);
    if (m && !m[1].endsWith("_bucket")) samples.push({ name: m[1], labels: m[2] ?? "", value: Number(m[3].replace("+Inf", "Infinity").replace("-Inf", "-Infinity")) });
  }
  const family = (name) => (name in help ? name : name.replace(/_(sum|count)$/, ""));
  return samples.map((s) => ({ ...s, help: help[family(s.name)] ?? "", kind: kinds[s.name] ?? (kinds[family(s.name)] === "histogram" ? "counter" : "") }));
}

const seen = new Map(); // by series: its last samples, for the sparkline

function remember(key, value, at) {
  const points = seen.get(key) ?? [];
  if (points.at(-1)?.at !== at) points.push({ at, value });
  while (points.length > 150) points.shift();
  seen.set(key, points);
  return points;
}

function own(app) {
  const doc = app.source.docs.metrics;
  if (!doc?.data) return h("section", { class: "card" }, h("h2", null, "This node"), wait(app, "metrics", "Its metrics"));
  const find = (app.params.get("find") ?? "").toLowerCase();
  const every = parse(doc.data).map((s) => ({ ...s, points: remember(s.name + s.labels, s.value, doc.at) }));
  const shown = every.filter((s) => (find ? (s.name + s.labels + s.help).toLowerCase().includes(find) : s.name.startsWith("ringcore_") && !s.name.startsWith("ringcore_http_")));
  return h("section", { class: "card", "aria-label": "This node's metrics" },
    h("div", { class: "card-head" }, h("h2", null, "This node"), h("a", { href: "/metrics" }, "/metrics")),
    field("Find", h("input", { type: "search", value: app.params.get("find") ?? "", placeholder: "name, label or help", onInput: (e) => app.go({ find: e.target.value }) })),
    shown.length === 0 ? empty("No metric is called like that.")
      : h("ul", { class: "metric-list" }, shown.slice(0, 120).map((s) => h("li", { key: s.name + s.labels },
        h("div", null, h("p", { class: "mono" }, s.name.replace(/^ringcore_/, ""), h("span", { class: "muted" }, s.labels)), h("p", { class: "muted small" }, s.help)),
        sparkline(s.kind === "counter" ? steps(s.points) : s.points, { height: 24 }),
        h("b", { class: "num" }, figure(s))))));
}

/** steps are a counter's rises. */
function steps(points) {
  return points.slice(1).map((p, i) => ({ at: p.at, value: Math.max(0, p.value - points[i].value) }));
}

function figure(s) {
  if (s.name.endsWith("_bytes") || s.name.endsWith("_bytes_total")) return bytes(s.value);
  return Number.isInteger(s.value) ? count(s.value) : s.value.toPrecision(4);
}
