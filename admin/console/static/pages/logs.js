// Logs: this node's log as it is written.

import { Stream } from "../api.js";
import { h } from "../dom.js";
import { clock } from "../format.js";
import { button, empty, field } from "../parts.js";

const kept = 2000;
const levels = ["DEBUG", "INFO", "WARN", "ERROR"];
const rank = (level) => levels.findIndex((l) => level.startsWith(l));

const tail = { stream: null, entries: [], held: null, lost: false };

export default {
  title: "Logs",
  about: "What this node writes to its log. It keeps the last thousand lines for this page.",

  entered(app) {
    if (tail.stream) return;
    tail.stream = new Stream("/v1/logs", ["log"], {
      open: () => { tail.lost = false; app.update(); },
      lost: () => { tail.lost = true; app.update(); },
      event: (_, e) => {
        const list = tail.held ?? tail.entries;
        if (e.seq === 1 && list.length > 0 && list.at(-1).seq > 1) list.length = 0; // the node began anew
        if (list.length === 0 || e.seq > list.at(-1).seq) list.push(e);
        if (list.length > kept) list.splice(0, list.length - kept);
        app.update();
      },
    });
  },

  left() {
    tail.stream?.close();
    tail.stream = null;
  },

  view(app) {
    const level = app.params.get("level") ?? "INFO";
    const find = (app.params.get("find") ?? "").toLowerCase();
    const shown = tail.entries.filter((e) => rank(e.level) >= rank(level) && (!find || text(e).includes(find))).slice(-500);
    const behind = tail.held ? tail.held.length - tail.entries.length : 0;
    return h("section", { class: "card logs" },
      h("div", { class: "filters" },
        field("At least", h("select", { value: level, onChange: (e) => app.go({ level: e.target.value }) }, levels.map((l) => h("option", { value: l }, l.toLowerCase())))),
        field("Find", h("input", { type: "search", value: app.params.get("find") ?? "", placeholder: "words", onInput: (e) => app.go({ find: e.target.value }) })),
        h("div", { class: "filters-buttons" },
          button(tail.held ? `Go on${behind > 0 ? ` (${behind} new)` : ""}` : "Pause", () => pause(app)), button("Clear", () => { tail.entries = []; if (tail.held) tail.held = []; app.update(); }, "quiet")),
        h("p", { class: "muted filters-count", role: "status" }, tail.lost ? "Not connected: tries again." : tail.held ? "Paused." : "Live.")),
      shown.length === 0 ? empty(tail.entries.length > 0 ? "No line is like that." : "Nothing was logged yet.", h("p", { class: "muted" }, "Lines of level debug come only if the node runs with --log-level debug."))
        : h("ol", { class: "log-lines", tabindex: 0, role: "log", "aria-live": "off", "aria-label": "Log, the newest first" }, shown.reverse().map((e) => line(e))));
  },
};

function pause(app) {
  if (tail.held) {
    tail.entries = tail.held;
    tail.held = null;
  } else {
    tail.held = [...tail.entries];
  }
  app.update();
}

const text = (e) => (e.level + " " + e.message + " " + e.attrs.map((a) => a.key + "=" + a.value).join(" ")).toLowerCase();

function line(e) {
  return h("li", { key: String(e.seq), class: "log-" + e.level.toLowerCase().replace(/[^a-z].*/, "") },
    h("time", { datetime: e.time }, clock(e.time)), h("b", null, e.level),
    h("span", { class: "log-text" }, e.message, h("span", { class: "log-attrs" }, e.attrs.filter((a) => a.key !== "node").map((a) => " " + a.key + "=" + a.value))));
}
