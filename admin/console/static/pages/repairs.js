// Repairs: every record of some partitions is compared on all replicas. A part of the page of transfers.

import { bar } from "../chart.js";
import { post } from "../api.js";
import { h } from "../dom.js";
import { ago, count, listed, plural, seconds } from "../format.js";
import { badge, button, empty, failed, nodeTag, table } from "../parts.js";

/** repairs shows the latest ones, and begins one. */
export function repairs(app) {
  const doc = app.source.docs.repairs;
  const list = doc?.data?.repairs ?? [];
  return h("section", { class: "card", "aria-label": "Repairs" },
    h("div", { class: "card-head" }, h("h2", null, "Repairs"), button("Repair…", () => begin(app), "small")),
    h("p", { class: "muted" }, "Replicas become equal by themselves. A repair compares every record at once: after damage, or when you doubt."),
    doc?.error && failed(doc.error, "Repairs cannot be shown"),
    list.length === 0 ? empty("None has been asked for since the nodes were started.")
      : table("Repairs", [{ title: "Begun" }, { title: "Node" }, { title: "Progress" }, { title: "Compared", num: true }, { title: "Mended", num: true }, { title: "Took", num: true }, { title: "Outcome" }],
        list.slice(0, 24).map((r) => ({ key: r.id + r.node, cells: [
          h("time", { datetime: r.started, title: r.started }, ago(r.started)), nodeTag(app, r.node),
          h("span", { class: "share" }, bar(r.partitions ? r.done / r.partitions : 1, `${r.done} of ${r.partitions} partitions`, app.color(r.node)), h("span", { class: "num" }, `${r.done} of ${r.partitions}`)),
          count(r.compared), count(r.sent + r.received), r.ended ? seconds((Date.parse(r.ended) - Date.parse(r.started)) / 1000) : "–", outcome(r)] })), { cards: true }));
}

function outcome(r) {
  const left = [r.failed > 0 && plural(r.failed, "partition") + " not compared", r.unreached.length > 0 && listed(r.unreached) + " not reached", ...r.errors.slice(0, 1)].filter(Boolean);
  if (!r.ended) return badge("info", "running");
  return h("span", { class: "tags" }, left.length ? badge("warn", "in part") : badge("ok", "all equal"), left.length > 0 && h("small", { class: "muted" }, left.join("; ")));
}

function begin(app) {
  const members = (app.source.data("status")?.members ?? []).map((m) => m.name);
  app.confirm({
    title: "Repair",
    body: h("p", { class: "muted" }, "Every record is read on all replicas that are up, and each gets what it lacks. It takes the disks' time; requests go on."),
    fields: [
      { name: "node", label: "The partitions of", options: [{ value: "", text: "all nodes" }, ...members] },
      { name: "partition", type: "number", min: 0, label: "Or this partition only", placeholder: "all" }],
    actions: [{ text: "Begin", run: (v) => app.act((a) => `${plural(a.partitions, "partition")} are compared by ${listed(a.nodes)}.`,
      () => post("/v1/repair", String(v.partition).trim() !== "" ? { partition: Number(v.partition) } : v.node ? { node: v.node } : {})) }],
  });
}
