// Members: who takes part, what is staged, and what it would do.

import { bar } from "../chart.js";
import { del, get, post } from "../api.js";
import { h } from "../dom.js";
import { bytes, count, plural } from "../format.js";
import { badge, button, field, icon, nodeTag, table, wait } from "../parts.js";
import { manage } from "./manage.js";

export default {
  title: "Members",
  about: "Changes are staged, shown with what they would do, and committed together.",
  needs: () => ["plan", "ring"],
  count: (app) => app.source.data("status")?.staged.length,

  view(app) {
    const s = app.source.data("status");
    if (!s) return wait(app, "status", "The members");
    return [plan(app, s), members(app, s), h("div", { class: "halves" }, replicas(app, s), joining(app, s))];
  },
};

function members(app, s) {
  const load = app.source.data("load");
  const slots = s.members.reduce((a, m) => a + m.slots, 0) || 1;
  const columns = [{ title: "Node" }, { title: "Status" }, { title: "Share of the ring" }, { title: "Owned", num: true }, { title: "Zone" }, { title: "Weight", num: true }, { title: "Raft" }, { title: "Version" }, { title: "Disk free" }, { title: "" }];
  return h("section", { class: "card", "aria-label": "Members" }, h("h2", null, "Members"),
    table("Members", columns, s.members.map((m) => ({ key: m.name, cells: [
      h("span", { class: "who" }, nodeTag(app, m.name), m.name === app.self && h("small", { class: "muted" }, "this node")),
      status(m), share(app, m, slots, s.members.length), m.owned === m.pending_owned ? count(m.owned) : `${m.owned} → ${m.pending_owned}`,
      m.zone || h("span", { class: "muted" }, "none"), String(m.weight), m.leader ? badge("info", "leader") : m.voter ? "voter" : h("span", { class: "muted" }, "follows"),
      m.version || "–", disk(load?.nodes.find((n) => n.node === m.name)),
      button("Manage", () => manage(app, m), "small"),
    ] })), { cards: true }));
}

function status(m) {
  const state = m.up ? badge(m.status === "valid" ? "ok" : "info", m.status === "valid" ? "up" : m.status) : badge("bad", m.status === "down" ? "marked down" : "away");
  return h("span", { class: "tags" }, state, m.draining && badge("warn", "draining"));
}

function share(app, m, slots, members) {
  const percent = (n) => ((100 * n) / slots).toFixed(1) + " %";
  return h("span", { class: "share" }, bar((m.slots / slots) * Math.max(members / 2, 1), `${percent(m.slots)} of all places`, app.color(m.name)),
    h("span", { class: "num" }, percent(m.slots) + (m.slots === m.pending_slots ? "" : " → " + percent(m.pending_slots))));
}

function disk(l) {
  if (!l?.disk_total) return h("span", { class: "muted" }, "–");
  return h("span", { class: "tags" }, bytes(l.disk_free) + " of " + bytes(l.disk_total), l.disk_level > 0 && badge(l.disk_level > 1 ? "bad" : "warn", l.disk_level > 1 ? "critical" : "low"));
}

function plan(app, s) {
  const p = app.source.data("plan");
  if (!p?.plan) {
    return h("section", { class: "card plan plan-empty", "aria-label": "Plan" }, h("h2", null, "Plan"),
      h("p", { class: "muted" }, s.staged.length > 0 ? "Reading what is staged." : "Nothing is staged. What you change below is collected here and shown with its effect before you commit it."));
  }
  const known = p.transfers.every((t) => t.bytes !== null);
  const size = (known ? "" : "at least ") + bytes(p.transfers.reduce((a, t) => a + (t.bytes ?? 0), 0));
  const partitions = p.transfers.reduce((a, t) => a + t.partitions, 0);
  return h("section", { class: "card plan plan-staged", "aria-label": "Plan" },
    h("div", { class: "card-head" }, h("h2", null, `Plan: ${plural(p.changes.length, "change")} staged`), h("code", { class: "muted", title: "The plan's hash: commit is refused if it has changed" }, p.plan.slice(0, 12))),
    h("ul", { class: "changes" }, p.changes.map((c) => h("li", { key: c.about }, badge("info", c.kind), c.about))),
    p.warnings.map((w) => h("p", { key: w, class: "notice notice-warn" }, icon("warn"), w)),
    h("h3", null, "Members, now and then"), sides(app, p),
    h("h3", null, "Transfers"), planned(app, p),
    h("div", { class: "plan-foot" },
      h("p", { class: "muted" }, partitions === 0 ? "No data moves." : `${plural(partitions, "step")}, ${size} to move. Everything is served meanwhile.`),
      button("Clear the plan", () => clear(app, p)), button("Commit the plan", () => commit(app, p, partitions, size), "primary")));
}

function sides(app, p) {
  return table("Members now and then", [{ title: "Node" }, { title: "Status" }, { title: "Places", num: true }, { title: "Owned", num: true }, { title: "Share", num: true }, { title: "Zone" }, { title: "Weight", num: true }],
    [...p.members].sort((a, b) => (a.name < b.name ? -1 : 1)).map((m) => ({ key: m.name, cells: [nodeTag(app, m.name), change(m.now.status, m.then.status), change(m.now.slots, m.then.slots), change(m.now.owned, m.then.owned),
      change(m.now.share.toFixed(1) + " %", m.then.share.toFixed(1) + " %"), change(m.now.zone || "none", m.then.zone || "none"), change(m.now.weight, m.then.weight)] })), { cards: true });
}

function change(now, then) {
  return now === then ? String(now) : h("span", { class: "change" }, h("span", { class: "muted" }, String(now)), " → ", h("b", null, String(then)));
}

function planned(app, p) {
  if (p.transfers.length === 0) return h("p", { class: "muted" }, "None.");
  return table("Transfers of the plan", [{ title: "What" }, { title: "From" }, { title: "To" }, { title: "Partitions", num: true }, { title: "Records", num: true }, { title: "Size", num: true }],
    p.transfers.map((t) => ({ key: t.kind + t.from + t.to, cells: [t.kind, t.from ? nodeTag(app, t.from) : h("span", { class: "muted" }, "all others"), nodeTag(app, t.to), count(t.partitions), count(t.records), bytes(t.bytes)] })));
}

function commit(app, p, partitions, size) {
  app.confirm({
    title: "Commit this plan?",
    body: [h("ul", { class: "changes" }, p.changes.map((c) => h("li", null, c.about))),
      p.warnings.map((w) => h("p", { class: "notice notice-warn" }, icon("warn"), w)),
      h("p", { class: "muted" }, partitions ? `${plural(partitions, "step")} begin, ${size} move. Reads and writes go on.` : "No data moves."),
      h("p", { class: "muted" }, "It is refused if anything has changed since you read it: plan ", h("code", null, p.plan.slice(0, 12)), ".")],
    actions: [{ text: "Commit", run: () => app.act("The plan is committed.", () => post("/v1/cluster/commit", { plan: p.plan })) }],
  });
}

function clear(app, p) {
  app.confirm({
    title: "Clear this plan?",
    body: h("p", null, `${plural(p.changes.length, "staged change")} will be forgotten. Nodes that were to join are sent home unharmed.`),
    actions: [{ text: "Clear", kind: "danger", run: () => app.act("The plan is cleared.", () => del("/v1/cluster/plan")) }],
  });
}

function replicas(app, s) {
  return h("section", { class: "card" }, h("h2", null, "Replicas"),
    h("p", null, `Each partition is kept ${s.replicas === 1 ? "once" : s.replicas + " times"}, on distinct nodes.`),
    h("form", { class: "row-form", onSubmit: (e) => {
      e.preventDefault();
      const n = +new FormData(e.target).get("replicas");
      app.act((a) => a.staged ? "Staged. See the plan." : "Done.", () => post("/v1/cluster/set", { replicas: n, commit: false }));
    } }, field("Replicas of each partition", h("input", { type: "number", name: "replicas", min: 1, max: 7, value: s.replicas, required: true })), h("button", { class: "button" }, "Stage")));
}

function joining(app, s) {
  const seed = s.members.find((m) => m.name === app.self)?.addr ?? s.members[0]?.addr;
  return h("section", { class: "card" }, h("h2", null, s.members.length > 1 ? "Add a node" : "Join a cluster"),
    s.members.length > 1 ? [
      h("p", null, "Start it with any member as its seed, and it joins by itself:"),
      h("pre", { class: "mono" }, `ringcore start --data-dir DIR --name NAME \\\n  --addr HOST:PORT --join ${seed}`),
      h("p", { class: "muted" }, "Or start it alone, open its own console, and stage the join there.")]
      : [
        h("p", null, "This node is a cluster of one. It can become a member of another: name any member's ", h("code", null, "--addr"), "."),
        h("form", { class: "row-form", onSubmit: (e) => { e.preventDefault(); join(app, new FormData(e.target)); } },
          field("Member to join by", h("input", { name: "seed", placeholder: "host:7400", required: true, autocomplete: "off", spellcheck: "false" })),
          h("button", { class: "button primary" }, "Stage the join")),
        h("p", { class: "muted" }, "It is refused if this node holds data. It gets partitions when the plan is committed.")]);
}

async function join(app, form) {
  const ok = await app.act("The join is staged. Commit the plan to give this node partitions.", () => post("/v1/cluster/join", { seed: form.get("seed").trim(), commit: false }));
  if (ok) await get("/v1/cluster/plan").catch(() => null); // so that it is there when the page asks
}

