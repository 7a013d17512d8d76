// Overview: is all well, what is going on, and where to look next.

import { bar, sparkline } from "../chart.js";
import { h } from "../dom.js";
import { ago, bytes, count, listed, micros, plural, rate, seconds } from "../format.js";
import { newest } from "../history.js";
import { badge, empty, icon, link, nodeTag, wait } from "../parts.js";
import { ringView } from "../ringview.js";

const about = { member: ["members", "See members"], leader: ["members", "See members"], partition: ["ring", "See the ring"], vnode: ["vnodes", "See vnodes"], transfer: ["transfers", "See transfers"], check: ["members", "See members"] };

export default {
  title: "Overview",
  about: "The cluster as this node sees it.",
  needs: () => ["ring", "transfers"],

  view(app) {
    const s = app.source.data("status");
    if (!s) return wait(app, "status", "The cluster's health");
    return [
      h("div", { class: "hero-row" }, health(app, s), whereabouts(s)),
      figures(app, s),
      h("div", { class: "columns" },
        h("section", { class: "card card-ring" },
          h("div", { class: "card-head" }, h("h2", null, "Ring"), h("a", { href: "#/ring" }, "Look closer")),
          smallRing(app)),
        h("div", { class: "stack" }, nodes(app, s), moving(app, s), events(app))),
    ];
  },
};

function health(app, s) {
  const bad = s.causes.some((c) => c.severity === "unavailable");
  const known = app.connected !== false;
  const level = !known ? "none" : s.healthy ? "ok" : bad ? "bad" : "warn";
  const sentence = !known ? `How it is now is not known. When ${app.self || "this node"} last answered, ` + (s.healthy ? "all was well." : "something should have been seen to.")
    : s.healthy ? well(s) : bad ? "Some data cannot be served as asked." : `All data is served, but ${plural(s.causes.length, "thing")} should be seen to.`;
  return h("section", { class: "card hero hero-" + level, role: "status", "aria-label": "Health" }, icon(known ? level : "warn"),
    h("div", null,
      h("p", { class: "hero-sentence" }, sentence),
      s.causes.length > 0 && h("ul", { class: "reasons" }, s.causes.map((c) => h("li", { key: c.about }, c.about + ". ",
        h("a", { href: link(about[c.kind]?.[0] ?? "members", c.kind === "vnode" ? { node: c.node } : {}) }, about[c.kind]?.[1] ?? "See members")))),
      s.waiting.map((w) => h("p", { key: w.for, class: "muted" }, (w.for ? w.for + ": " : "") + w.about + ". " + w.help[0].toUpperCase() + w.help.slice(1) + ".")),
      s.silent.length > 0 && h("p", { class: "muted" }, listed(s.silent) + " did not say how " + (s.silent.length > 1 ? "they do." : "it does."))));
}

function well(s) {
  const n = s.members.length;
  const text = n === 1 ? "All is well: the one node is up." : `All is well: all ${n} nodes are up, and every partition can be read and written.`;
  return s.moving.active + s.moving.waiting > 0 ? text.replace(/\.$/, "") + ", while partitions move." : text;
}

function whereabouts(s) {
  return h("dl", { class: "facts" },
    h("div", null, h("dt", null, "Cluster"), h("dd", { class: "mono" }, s.cluster_id.slice(0, 12))),
    h("div", null, h("dt", null, "Epoch"), h("dd", null, count(s.epoch))),
    h("div", null, h("dt", null, "Ring"), h("dd", null, `${s.partitions} × ${s.replicas}`)),
    h("div", null, h("dt", null, "Leader"), h("dd", null, s.members.find((m) => m.leader)?.name ?? "none")));
}

function figures(app, s) {
  const load = app.source.data("load");
  const requests = app.history.sum("requests");
  const p99 = app.history.worst("p99");
  const sum = (figure) => load?.nodes.reduce((a, n) => a + n[figure], 0);
  const up = s.members.filter((m) => m.up).length;
  const todo = s.moving.active + s.moving.waiting;
  return h("section", { class: "figures", "aria-label": "Key figures" },
    figure("Requests", newest(requests) === undefined ? "–" : rate(newest(requests)) + " /s", "from outside", sparkline(requests), "#/metrics"),
    figure("p99 latency", micros(newest(p99)), "at the slowest node", sparkline(p99), "#/metrics"),
    figure("Queued", count(sum("queue")), "waiting for a vnode", sparkline(app.history.sum("queue")), "#/vnodes"),
    figure("Records", count(sum("records")), "of all copies", h("p", { class: "figure-more" }, bytes(sum("bytes"))), "#/vnodes"),
    figure("Nodes up", `${up} of ${s.members.length}`, "as this node sees it", h("span", { class: "pips" }, s.members.map((m) => h("span", { key: m.name, class: m.up ? "" : "pip-down", style: { "--c": app.color(m.name) } }))), "#/members"),
    figure("On the move", count(todo), todo > 0 ? "steps left" : "nothing moves", todo > 0 ? h("p", { class: "figure-more" }, bytes(s.moving.bytes_per_s) + "/s") : sparkline(app.history.moved), "#/transfers"));
}

function figure(title, value, note, more, href) {
  return h("a", { class: "card figure", href, key: title }, h("h3", null, title), h("p", { class: "figure-value" }, value), h("p", { class: "muted" }, note), h("div", { class: "figure-foot" }, more));
}

function smallRing(app) {
  const ring = app.source.data("ring");
  if (!ring) return wait(app, "ring", "The ring");
  const moving = Object.keys(ring.pending ?? {}).length;
  return h("a", { href: "#/ring", class: "ring-link", "aria-label": "The ring, closer" }, ringView(ring, {
    color: app.color, transfers: app.source.data("transfers"), selected: null, about: "who holds what",
    center: [String(ring.partitions), "partitions", moving > 0 ? `${moving} to change` : `${ring.replicas} replicas each`],
  }));
}

function nodes(app, s) {
  const load = app.source.data("load");
  const all = s.partitions * s.replicas || 1;
  return h("section", { class: "card" },
    h("div", { class: "card-head" }, h("h2", null, "Nodes"), h("a", { href: "#/members" }, "Members and plan")),
    s.staged.length > 0 && h("p", { class: "notice notice-info" }, icon("arrow"), h("span", null, `${plural(s.staged.length, "change")} staged: ${listed(s.staged)}. `, h("a", { href: "#/members" }, "Review the plan"))),
    h("ul", { class: "node-list" }, s.members.map((m) => {
      const l = load?.nodes.find((x) => x.node === m.name);
      return h("li", { key: m.name }, nodeTag(app, m.name, link("ring", { node: m.name })),
        m.up ? (m.status === "valid" ? badge("ok", "up") : badge("info", m.status)) : badge("bad", m.status === "down" ? "down" : "away"),
        bar(m.slots / all * s.members.length / 2, `${m.name} holds ${m.slots} of ${all} places`, app.color(m.name)),
        h("span", { class: "muted num" }, m.slots === m.pending_slots ? plural(m.slots, "place") : `${m.slots} → ${m.pending_slots} places`),
        h("span", { class: "muted num" }, l ? bytes(l.bytes) : ""));
    })));
}

function moving(app, s) {
  const active = app.source.data("transfers")?.active ?? [];
  return h("section", { class: "card" },
    h("div", { class: "card-head" }, h("h2", null, "Transfers"), h("a", { href: "#/transfers" }, "All transfers")),
    active.length === 0 ? h("p", { class: "muted" }, s.moving.waiting > 0 ? `${plural(s.moving.waiting, "step")} about to begin.` : "Nothing is on the move.")
      : [h("p", { class: "muted" }, `${plural(active.length, "transfer")} under way, ${s.moving.waiting} to follow, ${bytes(s.moving.bytes_per_s)}/s` + (s.moving.eta_s ? `, done in about ${seconds(s.moving.eta_s)}.` : ".")),
        h("ul", { class: "move-list" }, active.slice(0, 5).map((t) => h("li", { key: t.session + t.service },
          h("a", { href: link("ring", { p: t.partition }), class: "num" }, "P" + t.partition), nodeTag(app, t.from), icon("arrow"), nodeTag(app, t.to),
          bar(t.percent / 100, `partition ${t.partition}: ${t.percent} %`, app.color(t.to)))))]);
}

function events(app) {
  return h("section", { class: "card" }, h("h2", null, "Just now"),
    app.events.length === 0 ? empty("Members that come and go and partitions that move are told here as it happens.")
      : h("ul", { class: "event-list" }, app.events.slice(0, 6).map((e) => h("li", { key: e.key }, h("time", { class: "muted", datetime: e.at.toISOString() }, ago(e.at)), inWords(e)))));
}

function inWords(e) {
  if (e.type === "member") return `${e.data.name} is ${e.data.status}`;
  return h("a", { href: link("ring", { p: e.data.partition }) }, `${e.data.kind} of partition ${e.data.partition} ${e.data.phase}`);
}
