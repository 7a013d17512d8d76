// Explain: where a key belongs, and what each node holds of it.

import { query } from "../api.js";
import { h } from "../dom.js";
import { ago, bytes, count } from "../format.js";
import { badge, empty, failed, field, icon, link, nodeTag, table } from "../parts.js";
import { ringView } from "../ringview.js";

const asked = (app) => app.params.get("key");

export default {
  title: "Explain a key",
  nav: "Explain",
  about: "Where a key belongs, and what each node holds of it right now. Nothing is repaired by looking.",

  needs(app) {
    if (!asked(app)) return ["ring"];
    return ["ring", { name: "explain", path: "/v1/explain" + query({ bucket: app.params.get("bucket") || "default", key: asked(app) }), every: 3000 }];
  },

  view(app) {
    return [form(app), asked(app) ? answer(app) : h("section", { class: "card" }, empty("Name a key above: the bucket is “default” if you have not made another."))];
  },
};

function form(app) {
  return h("section", { class: "card" }, h("form", {
    class: "row-form", role: "search", onSubmit: (e) => {
      e.preventDefault();
      const f = new FormData(e.target);
      location.hash = link("explain", { bucket: f.get("bucket"), key: f.get("key") });
    },
  },
    field("Bucket", h("input", { name: "bucket", value: app.params.get("bucket") ?? "default", autocomplete: "off", spellcheck: "false", required: true })),
    field("Key", h("input", { name: "key", value: asked(app) ?? "", autocomplete: "off", spellcheck: "false", required: true })),
    h("button", { class: "button primary" }, "Explain")));
}

function answer(app) {
  const doc = app.source.docs.explain;
  if (doc?.error && !doc.data) return failed(doc.error, "The key cannot be explained");
  const x = doc?.data;
  if (!x) return h("div", { class: "skeleton", "aria-busy": "true" }, h("span"), h("span"), h("span"));
  return [
    h("section", { class: "card hero hero-" + (x.agree ? "ok" : "warn"), role: "status" }, icon(x.agree ? "ok" : "warn"), h("p", { class: "hero-sentence" }, x.verdict)),
    h("div", { class: "columns columns-explain" },
      h("section", { class: "card card-ring" }, h("h2", null, "Its place"), place(app, x)),
      h("section", { class: "card" }, h("h2", null, "From the key to its nodes"), way(app, x))),
    h("section", { class: "card", "aria-label": "Copies" }, h("h2", null, "Who holds what"), copies(app, x)),
  ];
}

function place(app, x) {
  const ring = app.source.data("ring");
  if (!ring) return null;
  return h("a", { href: link("ring", { p: x.partition }), class: "ring-link", "aria-label": `Partition ${x.partition} on the ring` }, ringView(ring, {
    color: app.color, selected: x.partition, hidden: (p) => p !== x.partition, center: ["P" + x.partition, "of " + ring.partitions, "gen " + x.gen], about: "partition " + x.partition,
  }));
}

function way(app, x) {
  const props = Object.entries(x.props).filter(([, v]) => v !== "default" && v !== false).map(([k, v]) => `${k}=${v}`);
  return h("ol", { class: "way" },
    h("li", null, h("b", null, "Hash"), h("p", { class: "mono" }, x.hash), h("p", { class: "muted" }, "SHA-1 of the bucket's length, the bucket and the key: 160 bits.")),
    h("li", null, h("b", null, "Partition"), h("p", null, h("a", { href: link("ring", { p: x.partition }) }, "Partition " + x.partition), ", generation " + count(x.gen)), h("p", { class: "mono small" }, x.index)),
    h("li", null, h("b", null, "Preference list"), h("ol", { class: "preflist" }, x.preflist.map((e, i) => h("li", { key: String(i) }, nodeTag(app, e.node, link("ring", { node: e.node, p: x.partition })),
      e.role === "primary" ? badge("ok", "primary") : badge("warn", "stands in for " + e.for)))), h("p", { class: "muted" }, "Whom a request would go to now.")),
    h("li", null, h("b", null, "Bucket"), h("p", null, x.bucket), h("p", { class: "muted" }, props.length ? props.join(", ") : "default properties: the newest write wins")));
}

function copies(app, x) {
  const versions = [...new Set(x.copies.map((c) => c.version).filter(Boolean))];
  return table("Copies", [{ title: "Node" }, { title: "Place" }, { title: "Vnode" }, { title: "Holds" }, { title: "Version" }, { title: "Written" }, { title: "Value" }],
    x.copies.map((c) => ({ key: c.node + (c.for ?? ""), cells: [
      nodeTag(app, c.node), c.slot >= 0 ? "place " + c.slot : c.for ? "hint for " + c.for : "–", c.state ? badge(c.state === "serving" ? "ok" : "info", c.state) : "–",
      holds(c), c.version ? h("span", { class: "version", title: c.version }, versions.length > 1 ? h("b", null, "v" + (versions.indexOf(c.version) + 1) + " ") : null, h("span", { class: "mono" }, c.version.slice(-8))) : "–",
      c.written ? h("span", { title: c.written }, ago(c.written), h("small", { class: "muted" }, " by " + c.by)) : "–", values(c),
    ] })), { cards: true });
}

function holds(c) {
  if (c.error) return h("span", { class: "tags" }, badge("bad", "not known"), h("small", { class: "muted" }, c.error));
  if (!c.found) return badge("none", "nothing");
  if (c.deleted) return badge("info", "tombstone");
  return c.values.length > 1 ? badge("warn", c.values.length + " siblings") : badge("ok", "a value");
}

function values(c) {
  if (c.values.length === 0) return "–";
  return h("ul", { class: "values" }, c.values.map((v, i) => h("li", { key: String(i) },
    h("code", null, (v.text ? v.preview : "0x" + v.preview) + (v.cut ? "…" : "")), h("small", { class: "muted" }, bytes(v.bytes) + (v.expired ? ", expired" : v.expires ? ", expires " + v.expires : "")))));
}
