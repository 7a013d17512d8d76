// Vnodes: the queue, latency and size of each.

import { h } from "../dom.js";
import { bytes, count, micros, plural } from "../format.js";
import { badge, button, empty, failed, field, link, nodeTag, table, wait } from "../parts.js";

const page = 40;
const columns = {
  partition: { title: "Partition", of: (v) => v.partition },
  service: { title: "Service", wide: true, of: (v) => v.service },
  node: { title: "Node", of: (v) => v.node },
  slot: { title: "Place", num: true, wide: true, of: (v) => (v.slot < 0 ? 99 : v.slot) },
  state: { title: "State", of: (v) => v.state },
  queue: { title: "Queue", num: true, of: (v) => v.queue },
  latency: { title: "Latency", num: true, of: (v) => v.latency_us },
  requests: { title: "Requests", num: true, wide: true, of: (v) => v.requests },
  records: { title: "Records", num: true, wide: true, of: (v) => v.records ?? -1 },
  bytes: { title: "Size", num: true, wide: true, of: (v) => v.bytes ?? -1 },
};

export default {
  title: "Vnodes",
  about: "Each serves one partition of one service on one node.",
  needs: () => ["vnodes"],

  view(app) {
    const doc = app.source.docs.vnodes;
    if (!doc?.data) return wait(app, "vnodes", "Vnodes");
    const all = doc.data.vnodes;
    return [doc.error && failed(doc.error, "This is old"), byNode(app, all, doc.data.silent), list(app, all)];
  },
};

function byNode(app, all, silent) {
  const load = app.source.data("load")?.nodes ?? [];
  const names = [...new Set([...all.map((v) => v.node), ...silent])].sort();
  return h("section", { class: "figures figures-nodes", "aria-label": "By node" }, names.map((name) => {
    const l = load.find((n) => n.node === name);
    const mine = all.filter((v) => v.node === name);
    const waiting = mine.filter((v) => v.state !== "serving" && v.state !== "idle").length;
    return h("div", { class: "card figure", key: name }, h("h3", null, nodeTag(app, name, link("vnodes", { node: name }))),
      silent.includes(name) ? h("p", { class: "muted" }, "did not answer") : [
        h("p", { class: "figure-value" }, plural(mine.length, "vnode")),
        h("p", { class: "muted" }, `${count(l?.queue ?? 0)} queued, at most ${count(l?.deepest ?? 0)} at one`),
        h("p", { class: "muted" }, `${bytes(l?.bytes ?? 0)} in ${plural(l?.records ?? 0, "record")}`),
        h("div", { class: "tags" }, l?.busy ? badge("bad", `${l.busy} stuck`) : badge("ok", "none stuck"), waiting > 0 && badge("info", `${waiting} not serving`))]);
  }));
}

function list(app, all) {
  const get = (name) => app.params.get(name) ?? "";
  const sort = columns[get("sort")] ? get("sort") : "queue";
  const up = get("up") === "1";
  const chosen = all.filter((v) => (!get("node") || v.node === get("node")) && (!get("service") || v.service === get("service"))
    && (!get("state") || v.state === get("state")) && (get("p") === "" || String(v.partition) === get("p")));
  const { of } = columns[sort];
  chosen.sort((a, b) => (of(a) < of(b) ? -1 : of(a) > of(b) ? 1 : 0) * (up ? 1 : -1) || a.partition - b.partition || a.slot - b.slot);
  const shown = app.local.vnodes ?? page;
  const pick = (name, title, values) => field(title, h("select", { value: get(name), onChange: (e) => app.go({ [name]: e.target.value }) },
    h("option", { value: "" }, "all"), [...new Set(values)].sort().map((x) => h("option", { value: x }, x))));
  return h("section", { class: "card", "aria-label": "Vnodes" },
    h("div", { class: "filters" }, pick("node", "Node", all.map((v) => v.node)), pick("service", "Service", all.map((v) => v.service)), pick("state", "State", all.map((v) => v.state)),
      field("Partition", h("input", { type: "number", min: 0, value: get("p"), placeholder: "all", onInput: (e) => app.go({ p: e.target.value }) })),
      h("p", { class: "muted filters-count", role: "status" }, chosen.length === all.length ? plural(all.length, "vnode") : `${chosen.length} of ${plural(all.length, "vnode")}`)),
    chosen.length === 0 ? empty("No vnode is like that.", button("Show all", () => app.go({ node: "", service: "", state: "", p: "" })))
      : table("Vnodes", Object.entries(columns).map(([name, c]) => ({
        title: c.title, num: c.num, wide: c.wide, sort: name === sort ? (up ? "ascending" : "descending") : undefined,
        onSort: () => app.go({ sort: name, up: name === sort && !up ? "1" : "" }),
      })), chosen.slice(0, shown).map((v) => row(app, v))),
    chosen.length > shown && button(`Show ${Math.min(page, chosen.length - shown)} more`, () => { app.local.vnodes = shown + page; app.update(); }, "quiet"),
    h("p", { class: "muted" }, "Latency is from a request's arrival at the vnode to its answer, of one in 16 requests, smoothed. Sizes are those of keys and values; – stands for a file that has not been opened since the node's start."));
}

function row(app, v) {
  const kind = v.busy ? "bad" : v.state === "serving" ? "ok" : v.state === "lost" ? "bad" : v.state === "idle" ? "none" : "info";
  return { key: [v.node, v.service, v.partition, v.for].join(" "), cells: [
    h("a", { href: link("ring", { p: v.partition }) }, "P" + v.partition), v.service, nodeTag(app, v.node), v.slot < 0 ? (v.for ? "for " + v.for : "–") : String(v.slot),
    h("span", { class: "tags", title: v.reason }, badge(kind, v.busy ? "stuck" : v.state)), count(v.queue), v.latency_us ? micros(v.latency_us) : "–", count(v.requests), count(v.records), bytes(v.bytes),
  ] };
}
