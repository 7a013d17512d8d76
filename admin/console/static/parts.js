// Pieces that several pages use.

import { h } from "./dom.js";
import { Problem, Unreached } from "./api.js";

const shapes = {
  overview: "M3 10.5 10 4l7 6.5M5 9v7h10V9",
  ring: "M10 3a7 7 0 1 1-7 7M10 7a3 3 0 1 1-3 3M3.4 7.5A7 7 0 0 1 7.5 3.4",
  members: "M4 4h12v4H4zM4 12h12v4H4zM7 6h.01M7 14h.01",
  transfers: "M3 7h12l-3-3M17 13H5l3 3",
  vnodes: "M3 3h5v5H3zM12 3h5v5h-5zM3 12h5v5H3zM12 12h5v5h-5z",
  metrics: "M3 17V3M3 17h14M6 13l3-4 3 2 4-6",
  buckets: "M4 5c0-1.1 2.7-2 6-2s6 .9 6 2-2.7 2-6 2-6-.9-6-2M4 5l1.5 11c.3.8 2.3 1.3 4.5 1.3s4.2-.5 4.5-1.3L16 5",
  explain: "M8.5 3a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM12.5 12.5 17 17",
  logs: "M4 5h12M4 9h12M4 13h8M4 17h5",
  ok: "M4 10.5 8 14.5 16 6",
  warn: "M10 3 18 17H2zM10 8v4M10 14.5h.01",
  bad: "M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15zM7 7l6 6M13 7l-6 6",
  arrow: "M4 10h12l-4-4M16 10l-4 4",
  auto: "M10 3a7 7 0 1 0 0 14zM10 3a7 7 0 0 1 0 14",
  light: "M10 6.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM10 1.5V4M10 16v2.5M1.5 10H4M16 10h2.5M4 4l1.7 1.7M14.3 14.3 16 16M16 4l-1.7 1.7M5.7 14.3 4 16",
  dark: "M16.5 12A7 7 0 0 1 8 3.5a7 7 0 1 0 8.5 8.5z",
};

export function icon(name) {
  return h("svg", { class: "icon icon-" + name, viewBox: "0 0 20 20", "aria-hidden": "true" }, h("path", { d: shapes[name] }));
}

/** nodeTag is a node's name with its colour. */
export function nodeTag(app, name, href) {
  if (!name) return h("span", { class: "muted" }, "–");
  const inside = [h("span", { class: "swatch", style: { "--c": app.color(name) } }), name];
  return href ? h("a", { class: "node-tag", href }, inside) : h("span", { class: "node-tag" }, inside);
}

export function badge(kind, text) {
  return h("span", { class: "badge badge-" + kind }, text);
}

/** failed says what went wrong and what to do, as the API says it. */
export function failed(error, what) {
  const away = error instanceof Unreached;
  return h("div", { class: "notice notice-bad", role: "alert" }, icon(away ? "warn" : "bad"),
    h("div", null, h("p", null, h("b", null, what + ": "), error.message + "."), error.hint && h("p", { class: "muted" }, error.hint)));
}

/** wait stands where a document is still to come: as tall as what comes, so that nothing jumps. */
export function wait(app, name, what) {
  const error = app.source.docs[name]?.error;
  if (error) return failed(error, what + " cannot be shown");
  return h("div", { class: "skeleton", "aria-busy": "true", "aria-label": what + " loads" }, h("span"), h("span"), h("span"));
}

export function empty(text, ...more) {
  return h("div", { class: "empty" }, h("p", null, text), more);
}

/**
 * table has columns of {title, num, sort, onSort, wide} and rows of {key, cells}. On a phone
 * wide columns are left out, or, with cards, each row is a card.
 */
export function table(label, columns, rows, { cards } = {}) {
  return h("div", { class: "table-wrap" + (cards ? " table-cards" : ""), tabindex: 0, role: "region", "aria-label": label },
    h("table", null,
      h("thead", null, h("tr", null, columns.map((c) => h("th", { scope: "col", class: classes(c), "aria-sort": c.sort }, c.onSort ? h("button", { class: "sort", type: "button", onClick: c.onSort }, c.title, c.sort && (c.sort === "ascending" ? " ↑" : " ↓")) : c.title)))),
      h("tbody", null, rows.map((r) => h("tr", { key: r.key, class: r.class }, r.cells.map((c, i) => h("td", { class: classes(columns[i]), "data-title": columns[i].title }, h("span", null, c))))))));
}

const classes = (column) => [column.num && "num", column.wide && "wide"].filter(Boolean).join(" ") || null;

/** field is a labelled input, select or the like. */
export function field(label, input, help) {
  return h("label", { class: "field" }, h("span", null, label), input, help && h("small", { class: "muted" }, help));
}

export function button(text, onClick, kind = "") {
  return h("button", { type: "button", class: "button " + kind, onClick }, text);
}

/** link is a hash address with what follows the page's name. */
export function link(page, params = {}) {
  const q = new URLSearchParams(Object.entries(params).filter(([, v]) => v !== null && v !== undefined && v !== "")).toString();
  return "#/" + page + (q && "?" + q);
}

/** inWords is an error as one sentence. */
export function inWords(error) {
  return error.message + (error instanceof Problem && error.hint ? ". " + error.hint : "");
}
