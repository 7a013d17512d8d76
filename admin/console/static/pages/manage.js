// What can be done with one member: a choice, then a question. All but draining is staged.

import { post } from "../api.js";
import { h } from "../dom.js";
import { button, nodeTag } from "../parts.js";

const staged = (a) => (a.staged ? "Staged. See the plan above." : "Done.");

/** manage shows a member and what can be done with it. */
export function manage(app, m) {
  const others = (app.source.data("status")?.members ?? []).filter((x) => x.name !== m.name);
  const here = m.name === app.self;
  const choices = [
    m.up && { name: "leave", text: "Leave", about: "It hands over all that it has, then stops being a member.", run: () => leave(app, m) },
    others.length > 0 && { name: "replace", text: "Replace", about: "Another member gets its very places; nothing else moves.", run: () => replace(app, m, others) },
    { name: "set", text: "Weight or zone", about: "Its share of the ring relative to others, and where it stands.", run: () => set(app, m) },
    here && !m.draining && { name: "drain", text: "Drain", about: "Hands leadership and coordination over before a stop. Its data stays.", run: () => drain(app, m, true) },
    here && m.draining && { name: "resume", text: "Resume", about: "Ends the drain.", run: () => drain(app, m, false) },
    !m.up && m.status !== "down" && { name: "down", text: "Mark as down", about: "Others stop waiting for it until it is back.", run: () => down(app, m) },
    !m.up && { name: "force-remove", text: "Force out", about: "It is lost for good: its replicas are rebuilt from the others'.", kind: "danger", run: () => force(app, m) },
  ].filter(Boolean);
  app.confirm({
    title: "Member " + m.name,
    body: [
      h("dl", { class: "pairs" },
        h("dt", null, "Id"), h("dd", { class: "mono" }, m.id),
        h("dt", null, "Address"), h("dd", { class: "mono" }, m.addr),
        h("dt", null, "Console"), h("dd", null, m.http ? h("a", { href: `http://${m.http}/#/members` }, m.http) : "none"),
        h("dt", null, "RESP"), h("dd", { class: "mono" }, m.resp || "none"),
        h("dt", null, "Can do"), h("dd", { class: "mono small" }, m.capabilities.join(" ") || "–")),
      h("ul", { class: "choices" }, choices.map((c) => h("li", { key: c.name }, button(c.text, c.run, c.kind ?? ""), h("span", { class: "muted" }, c.about)))),
      !here && m.up && m.http && h("p", { class: "muted" }, "To drain it before a stop, open ", h("a", { href: `http://${m.http}/#/members` }, "its own console"), "."),
    ],
    actions: [{ text: "Close", run: () => true, kind: "quiet" }],
  });
}

function leave(app, m) {
  app.confirm({
    title: `Let ${m.name} leave?`,
    body: h("p", null, nodeTag(app, m.name), " hands over its partitions and hints. Nothing happens until you commit the plan."),
    actions: [{ text: "Stage the leave", run: () => app.act(staged, () => post("/v1/cluster/leave", { node: m.name, commit: false })) }],
  });
}

function replace(app, m, others) {
  app.confirm({
    title: `Replace ${m.name}`,
    body: h("p", null, "The new node must be a member without partitions, as one whose join is staged is."),
    fields: [
      { name: "next", label: "Who gets its places", options: others.map((x) => x.name), value: others.find((x) => x.slots === 0)?.name ?? others[0].name },
      ...(m.up ? [] : [{ name: "stopped", type: "checkbox", label: `${m.name} is stopped and stays so`, help: "Then what it had is rebuilt from the other replicas." }])],
    actions: [{ text: "Stage the replacement", run: (v) => app.act(staged, () => post("/v1/cluster/replace", { old: m.name, new: v.next, stopped: !!v.stopped, commit: false })) }],
  });
}

function set(app, m) {
  app.confirm({
    title: `Weight and zone of ${m.name}`,
    fields: [
      { name: "weight", type: "number", min: 1, label: "Weight", value: String(m.weight), help: "A node of weight 2 gets twice the share of one of weight 1.", required: true },
      { name: "zone", label: "Zone", value: m.zone, help: "Replicas are spread over zones. Empty for none." }],
    actions: [{ text: "Stage", run: (v) => app.act(staged, async () => {
      let answer = {};
      if (+v.weight !== m.weight) answer = await post("/v1/cluster/set", { node: m.name, weight: +v.weight, commit: false });
      if (v.zone.trim() !== m.zone) answer = await post("/v1/cluster/set", { node: m.name, zone: v.zone.trim(), commit: false });
      return answer;
    }) }],
  });
}

function drain(app, m, on) {
  app.confirm({
    title: on ? `Drain ${m.name}?` : `Resume ${m.name}?`,
    body: h("p", null, on ? "This node hands leadership and coordination over now, and is not ready for new clients. Its data stays, and it serves as a replica." : "This node takes part again."),
    actions: [{ text: on ? "Drain" : "Resume", run: () => app.act(on ? `${m.name} is drained: it can be stopped.` : `${m.name} takes part again.`, () => post(on ? "/v1/node/drain" : "/v1/node/resume", { node: m.name })) }],
  });
}

function down(app, m) {
  app.confirm({
    title: `Mark ${m.name} as down?`,
    body: h("p", null, "Changes of the ring stop waiting for it. It keeps its places and its data, and takes part again when it is back."),
    actions: [{ text: "Stage", run: () => app.act(staged, () => post("/v1/cluster/down", { node: m.name, commit: false })) }],
  });
}

function force(app, m) {
  app.confirm({
    title: `Force ${m.name} out?`,
    body: h("p", null, "What it holds is rebuilt from other replicas; what has no other copy is lost, and the plan says so first. A node that still runs may go on answering clients that it has taken with it."),
    fields: [{ name: "stopped", type: "checkbox", required: true, label: `${m.name} is stopped, and will not be started again`, help: "Only you can know that." }],
    actions: [{ text: "Stage", kind: "danger", run: (v) => app.act(staged, () => post("/v1/cluster/force-remove", { node: m.name, stopped: v.stopped, commit: false })) }],
  });
}
