// Transfers: what moves, how fast, what has ended and why, and the limits.

import { bar, chart } from "../chart.js";
import { post } from "../api.js";
import { h } from "../dom.js";
import { ago, bytes, count, plural, seconds } from "../format.js";
import { badge, button, empty, failed, link, nodeTag, table, wait } from "../parts.js";
import { repairs } from "./repairs.js";

export default {
  title: "Transfers",
  about: "Partitions, hints and repairs on their way between nodes.",
  needs: () => ["transfers", "repairs"],
  count: (app) => app.source.data("status")?.moving.active,

  view(app) {
    const t = app.source.data("transfers");
    if (!t) return wait(app, "transfers", "Transfers");
    const error = app.source.docs.transfers.error;
    return [error && failed(error, "This is old"), summary(app, t), active(app, t), ended(app, t), repairs(app), limits(app, t)];
  },
};

function summary(app, t) {
  const speed = t.active.reduce((a, x) => a + x.bytes_per_s, 0);
  const eta = Math.max(0, ...t.active.map((x) => x.eta_s));
  const fact = (name, value) => h("div", null, h("dt", null, name), h("dd", null, value));
  return h("div", { class: "halves halves-wide" },
    h("dl", { class: "card facts facts-card" }, fact("Under way", count(t.active.length)), fact("To follow", count(t.waiting)), fact("Together", bytes(speed) + "/s"),
      fact("These are done in", t.active.length === 0 ? "–" : eta ? "about " + seconds(eta) : "not known")),
    chart([{ name: "all transfers", color: "var(--accent)", points: app.history.moved }], {
      id: "moved", title: "Bytes a second", about: "Of all transfers under way.", unit: (n) => bytes(n), atLeast: 1000, pointer: app.pointer, onPointer: (p) => { app.pointer = p; app.update(); },
    }));
}

function active(app, t) {
  return h("section", { class: "card", "aria-label": "Under way" }, h("h2", null, "Under way"),
    t.active.length === 0 ? empty(t.waiting > 0 ? `${plural(t.waiting, "step")} about to begin.` : "Nothing is on the move.", h("p", { class: "muted" }, "Partitions move when nodes join, leave or change their weight, and when a node comes back to its hints."))
      : table("Transfers under way", [{ title: "Partition" }, { title: "What" }, { title: "From → to" }, { title: "Phase" }, { title: "Progress" }, { title: "Moved", num: true }, { title: "Speed", num: true }, { title: "Left", num: true }, { title: "" }],
        t.active.map((x) => ({ key: x.session + x.service + x.partition, cells: [
          h("a", { href: link("ring", { p: x.partition }) }, "P" + x.partition + (x.slot >= 0 ? " · place " + x.slot : "")),
          x.kind + (x.service ? " " + x.service : ""), h("span", { class: "tags" }, nodeTag(app, x.from), "→", nodeTag(app, x.to)), x.phase,
          h("span", { class: "share" }, bar(x.percent / 100, `${x.percent} %`, app.color(x.to)), h("span", { class: "num" }, x.percent.toFixed(0) + " %")),
          h("span", { title: plural(x.records, "record") }, bytes(x.bytes)), bytes(x.bytes_per_s) + "/s", x.eta_s ? seconds(x.eta_s) : "–",
          ["move", "add", "drop", "swap"].includes(x.kind) ? button("Abort", () => abort(app, x), "small quiet") : null,
        ] })), { cards: true }));
}

function abort(app, x) {
  app.confirm({
    title: `Abort the ${x.kind} of partition ${x.partition}?`,
    body: h("p", null, "Nothing is lost: the old node goes on serving, and the move is begun anew."),
    fields: [{ name: "reason", label: "Reason, for the record", placeholder: "by hand", value: "" }],
    actions: [{ text: "Abort it", kind: "danger", run: (v) => app.act("It is given up.", () => post("/v1/transfers/abort", { session: x.session, reason: v.reason || "by hand, in the console" })) }],
  });
}

function ended(app, t) {
  const list = t.ended ?? [];
  const failedOnes = list.filter((x) => x.outcome !== "committed").length;
  return h("section", { class: "card", "aria-label": "Ended" },
    h("div", { class: "card-head" }, h("h2", null, "Ended"), list.length > 0 && h("span", { class: "muted" }, `the last ${list.length}, ${failedOnes} of them aborted`)),
    list.length === 0 ? empty("No transfer has ended since this cluster began to keep count.")
      : table("Transfers that have ended", [{ title: "When" }, { title: "Partition" }, { title: "What", wide: true }, { title: "From → to" }, { title: "Outcome" }, { title: "Records", num: true, wide: true }, { title: "Size", num: true, wide: true }, { title: "Took", num: true, wide: true }],
        list.slice(0, app.local.allEnded ? 100 : 12).map((x) => ({ key: x.session, cells: [
          h("time", { datetime: x.ended, title: x.ended }, x.ended ? ago(x.ended) : "–"), h("a", { href: link("ring", { p: x.partition }) }, "P" + x.partition, h("span", { class: "wide" }, " · place " + x.slot)), x.kind,
          h("span", { class: "tags" }, nodeTag(app, x.from), "→", nodeTag(app, x.to)),
          h("span", { class: "tags" }, badge(x.outcome === "committed" ? "ok" : "warn", x.outcome), x.reason && h("small", { class: "muted" }, x.reason)),
          count(x.records), bytes(x.bytes), seconds(x.seconds),
        ] })), { cards: true }),
    list.length > 12 && button(app.local.allEnded ? "Show fewer" : `Show all ${list.length}`, () => { app.local.allEnded = !app.local.allEnded; app.update(); }, "quiet"));
}

const perSecond = (n) => (n === undefined ? "–" : n < 0 ? "no limit" : bytes(n) + "/s");

function limits(app, t) {
  const rows = [["the cluster", t.limits], ...Object.entries(t.limits.nodes ?? {})];
  return h("section", { class: "card", "aria-label": "Limits" },
    h("div", { class: "card-head" }, h("h2", null, "Limits"), button("Change", () => change(app, t), "small")),
    h("p", { class: "muted" }, "What transfers may take from a node. Those of the cluster hold for nodes without their own."),
    table("Limits of transfers", [{ title: "Of" }, { title: "In at a time", num: true }, { title: "Out at a time", num: true }, { title: "Between two", num: true }, { title: "Bytes in", num: true }, { title: "Bytes out", num: true }],
      rows.map(([of, l]) => ({ key: of, cells: [of, count(l.in), count(l.out), count(l.pair), perSecond(l.bytes_in), perSecond(l.bytes_out)] })), { cards: true }));
}

function change(app, t) {
  const numbers = ["in", "out", "pair", "bytes_in", "bytes_out"];
  const label = { in: "Received at a time", out: "Sent at a time", pair: "Between the same two nodes", bytes_in: "Bytes received in a second", bytes_out: "Bytes sent in a second" };
  app.confirm({
    title: "Limits of transfers",
    body: h("p", { class: "muted" }, "They hold at once. Leave empty what is to stay; −1 bytes is no limit."),
    fields: [
      { name: "node", label: "Of", options: [{ value: "", text: "the cluster" }, ...(app.source.data("status")?.members ?? []).map((m) => m.name)] },
      ...numbers.map((n) => ({ name: n, type: "number", label: label[n], placeholder: String(t.limits[n] ?? "") }))],
    actions: [{ text: "Set", run: (v) => app.act("The limits are set.", () => {
      const req = v.node ? { node: v.node } : {};
      for (const n of numbers) if (String(v[n]).trim() !== "") req[n] = Number(v[n]);
      return post("/v1/transfers/limits", req);
    }) }],
  });
}
