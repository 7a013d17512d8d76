// Ring: who holds what, and what is on its way.

import { bar } from "../chart.js";
import { h } from "../dom.js";
import { bytes, count, plural } from "../format.js";
import { badge, button, empty, failed, field, icon, link, nodeTag, table, wait } from "../parts.js";
import { ringView, steps, words } from "../ringview.js";

const shows = {
  all: "All partitions", moving: "On the move", pending: "To be changed", trouble: "Without a majority",
};

const chosen = (app) => {
  const s = app.params.get("p");
  const q = app.source.data("ring")?.partitions ?? Number.POSITIVE_INFINITY;
  return s !== null && /^\d+$/.test(s) && +s < q ? +s : null;
};

export default {
  title: "Ring",
  about: "Each band is a place in the preference lists, the owners' outermost. Choose a partition to see its replicas.",

  needs(app) {
    const p = chosen(app);
    return ["ring", "transfers", ...(p === null ? [] : [{ name: "partition", path: `/v1/vnodes?partition=${p}`, every: 2000 }])];
  },

  view(app) {
    const ring = app.source.data("ring");
    if (!ring) return wait(app, "ring", "The ring");
    const transfers = app.source.data("transfers");
    const p = chosen(app);
    const show = app.params.get("show") ?? "all";
    const node = app.params.get("node");
    const at = app.local.hover ?? null;
    return h("div", { class: "ring-page" },
      h("section", { class: "card card-ring" },
        filters(app, ring, show, node),
        ringView(ring, {
          color: app.color, transfers, selected: p, dimmed: node ? (n) => n !== node : null, hidden: picker(app, ring, transfers, show),
          current: () => chosen(app), onSelect: (x) => app.go({ p: x === chosen(app) ? null : x }),
          onHover: (x) => { if (x !== at) { app.local.hover = x; app.update(); } },
          center: center(ring, transfers, at),
        }),
        h("ul", { class: "legend ring-legend" },
          h("li", null, h("span", { class: "swatch swatch-moving" }), "filling: on its way to that node"),
          h("li", null, h("span", { class: "swatch swatch-pending" }), "outside: to be changed"))),
      p === null ? nothingChosen(ring) : details(app, ring, transfers, p));
  },
};

function center(ring, transfers, at) {
  if (at !== null) {
    const names = ring.owners[at] ?? [];
    return ["P" + at, names.slice(0, 3).join(" · ") || "nobody", names.length > 3 ? `and ${names.length - 3} more` : "gen " + ring.gens[at]];
  }
  const moving = new Set(steps(transfers).map((t) => t.partition)).size;
  return [String(ring.partitions), "partitions", moving > 0 ? `${moving} on the move` : `${ring.replicas} replicas, epoch ${ring.epoch}`];
}

/** picker says which partitions the filter hides; null for none. */
function picker(app, ring, transfers, show) {
  if (show === "all") return null;
  const live = app.source.data("status")?.live;
  const kept = new Set(show === "moving" ? steps(transfers).map((t) => t.partition)
    : show === "pending" ? Object.keys(ring.pending ?? {}).map(Number)
      : [...(live?.minority ?? []), ...(live?.unreadable ?? [])]);
  return (p) => !kept.has(p);
}

function filters(app, ring, show, node) {
  const names = [...new Set(ring.owners.flat())].sort();
  return h("div", { class: "filters" },
    h("div", { class: "chips", role: "group", "aria-label": "Show one node's places" }, names.map((n) => h("button", {
      key: n, type: "button", class: "chip", "aria-pressed": String(n === node), style: { "--c": app.color(n) }, onClick: () => app.go({ node: n === node ? null : n }),
    }, h("span", { class: "swatch", style: { "--c": app.color(n) } }), n, h("small", null, String(ring.owners.filter((l) => l[0] === n).length))))),
    field("Show", h("select", { value: show, onChange: (e) => app.go({ show: e.target.value === "all" ? null : e.target.value }) },
      Object.entries(shows).map(([k, text]) => h("option", { value: k }, text)))),
    field("Partition", h("input", {
      type: "number", min: 0, max: ring.partitions - 1, value: app.params.get("p") ?? "", placeholder: `0–${ring.partitions - 1}`, onInput: (e) => app.go({ p: e.target.value }),
    })));
}

function nothingChosen(ring) {
  return h("section", { class: "card ring-details" }, h("h2", null, "A partition"),
    empty("Choose one on the ring: click it, or use the arrow keys when the ring has the focus.",
      h("p", { class: "muted" }, `There are ${ring.partitions}, each ${ring.replicas === 1 ? "on one node" : `on ${ring.replicas} nodes if there are as many`}. To find a key's, `, h("a", { href: "#/explain" }, "explain the key"), ".")));
}

function details(app, ring, transfers, p) {
  const step = steps(transfers).find((t) => t.partition === p);
  const pending = ring.pending?.[p];
  const width = (1n << 160n) / BigInt(ring.partitions);
  const index = BigInt(p) * width;
  return h("section", { class: "card ring-details", "aria-label": words(ring, p) },
    h("div", { class: "card-head" }, h("h2", null, "Partition " + p), button("Close", () => app.go({ p: null }), "quiet")),
    h("dl", { class: "pairs" },
      h("dt", null, "Index"), h("dd", { class: "mono" }, String(index)),
      h("dt", null, "Generation"), h("dd", null, count(ring.gens[p])),
      h("dt", null, "Now"), h("dd", { class: "tags" }, ring.owners[p].map((n) => nodeTag(app, n, link("ring", { node: n, p })))),
      pending && [h("dt", null, "Then"), h("dd", { class: "tags" }, pending.map((n) => nodeTag(app, n)))]),
    step && h("div", { class: "notice notice-info" }, icon("transfers"), h("div", null,
      h("p", null, `${step.kind} of place ${step.slot}: `, nodeTag(app, step.from), " → ", nodeTag(app, step.to), `, ${step.phase}`),
      bar(step.percent / 100, `${step.percent} %`, app.color(step.to)),
      h("p", { class: "muted" }, `${plural(step.records, "record")}, ${bytes(step.bytes)}`))),
    h("h3", null, "Vnodes"), vnodes(app, p));
}

function vnodes(app, p) {
  const doc = app.source.docs.partition;
  if (doc?.error) return failed(doc.error, "Its vnodes cannot be shown");
  if (!doc?.data) return wait(app, "partition", "Its vnodes");
  const list = doc.data.vnodes;
  if (list.length === 0) return empty("No service has a vnode of this partition.");
  const several = new Set(list.map((v) => v.service)).size > 1;
  return [
    table("Vnodes of partition " + p, [{ title: "Node" }, ...(several ? [{ title: "Service" }] : []), { title: "Place", num: true }, { title: "State" }, { title: "Records", num: true }, { title: "Size", num: true }, { title: "Queue", num: true }],
      list.map((v) => ({ key: v.node + v.service + (v.for ?? ""), cells: [
        nodeTag(app, v.node), ...(several ? [v.service] : []), v.slot < 0 ? (v.for ? "for " + v.for : "–") : String(v.slot), badge(v.state === "serving" ? "ok" : v.state === "lost" ? "bad" : "info", v.state),
        count(v.records), bytes(v.bytes), count(v.queue),
      ] })), { cards: true }),
    doc.data.silent.length > 0 && h("p", { class: "muted" }, "Not heard: " + doc.data.silent.join(", ") + "."),
  ];
}
