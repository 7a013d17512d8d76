// The console: which page is shown, what all pages share, and the frame around them.

import { Source, Stream } from "./api.js";
import { h, render } from "./dom.js";
import { confirmDialog } from "./dialog.js";
import { History } from "./history.js";
import { icon, inWords } from "./parts.js";
import buckets from "./pages/buckets.js";
import explain from "./pages/explain.js";
import logs from "./pages/logs.js";
import members from "./pages/members.js";
import metrics from "./pages/metrics.js";
import overview from "./pages/overview.js";
import ring from "./pages/ring.js";
import transfers from "./pages/transfers.js";
import vnodes from "./pages/vnodes.js";

const pages = { overview, ring, members, transfers, vnodes, metrics, buckets, explain, logs };
const palette = 8; // colours of nodes in style.css

const app = {
  page: "overview",
  params: new URLSearchParams(),
  local: {}, // by page: what it keeps while the console is open
  names: [], // of nodes, in the order of their colours
  connected: null, // null: not known yet
  events: [], // the newest first
  toasts: [],
  dialog: null,
  history: new History(),
  pointer: null,
  source: null,

  update,
  get self() { return app.source.data("ready")?.node ?? ""; },
  color(name) {
    let i = app.names.indexOf(name);
    if (i < 0) i = app.names.push(name) - 1;
    return `var(--n${i % palette})`;
  },
  /** go changes parameters of the page's address, without a step in the browser's history. */
  go(params) {
    for (const [k, v] of Object.entries(params)) {
      if (v === null || v === undefined || v === "") app.params.delete(k);
      else app.params.set(k, v);
    }
    const q = app.params.toString();
    history.replaceState(null, "", "#/" + app.page + (q && "?" + q));
    needs();
    update();
  },
  /** act does something, tells how it went (of success only with done), and returns whether it did. */
  async act(done, fn) {
    try {
      const answer = await fn();
      if (done) say("ok", typeof done === "function" ? done(answer) : done);
      return true;
    } catch (error) {
      if (app.dialog) app.dialog.error = inWords(error);
      else say("bad", inWords(error));
      return false;
    } finally {
      app.source.refresh();
    }
  },
  confirm(dialog) {
    app.dialog = dialog;
    update();
  },
};

let drawing = false;

/** update draws the page anew, once for all that changed meanwhile. */
function update() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    render(document.getElementById("app"), frame());
  });
}

function say(kind, text) {
  const toast = { kind, text, key: "t" + performance.now() };
  app.toasts.push(toast);
  if (app.toasts.length > 3) app.toasts.shift();
  setTimeout(() => {
    app.toasts = app.toasts.filter((t) => t !== toast);
    update();
  }, kind === "bad" ? 12_000 : 5000);
  update();
}

/** route reads the address. */
function route(moved) {
  const [path, q] = location.hash.replace(/^#\/?/, "").split("?");
  const before = app.page;
  app.page = path in pages ? path : "overview";
  app.params = new URLSearchParams(q);
  if (before !== app.page) pages[before].left?.(app);
  pages[app.page].entered?.(app);
  requestAnimationFrame(() => requestAnimationFrame(() => document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" })));
  needs();
  update();
  if (moved && before !== app.page) {
    requestAnimationFrame(() => {
      window.scrollTo(0, 0);
      document.getElementById("title")?.focus({ preventScroll: true });
    });
  }
}

function needs() {
  const page = pages[app.page];
  app.source.need(["status", "ready", "load", ...(page.needs?.(app) ?? [])]);
}

function cluster() {
  const s = app.source.data("status");
  if (!s) return { level: "none", text: "Loading" };
  if (app.connected === false) return { level: "none", text: "Not connected" };
  if (s.healthy) return { level: "ok", text: s.moving.active + s.moving.waiting > 0 ? "Well, moving" : "All is well" };
  return s.causes.some((c) => c.severity === "unavailable") ? { level: "bad", text: "Data unavailable" } : { level: "warn", text: "Degraded" };
}

function frame() {
  const page = pages[app.page];
  const state = cluster();
  document.title = `${page.title} · ${app.self || "node"} · Ringcore`;
  return h("div", { class: "frame" },
    h("a", { class: "skip", href: "#main", onClick: (e) => { e.preventDefault(); document.getElementById("title")?.focus(); } }, "Skip to the page"),
    h("header", { class: "side" },
      h("a", { class: "brand", href: "#/overview" }, h("img", { src: "/console/icon.svg", alt: "", width: 28, height: 28 }), h("span", null, "Ringcore"), h("small", null, app.self)),
      h("nav", { "aria-label": "Pages" }, h("ul", null, Object.entries(pages).map(([name, p]) => h("li", { key: name },
        h("a", { href: "#/" + name, "aria-current": name === app.page && "page" }, icon(name), h("span", null, p.nav ?? p.title), p.count?.(app) ? h("b", { class: "bubble" }, String(p.count(app))) : null))))),
      h("div", { class: "side-foot" },
        h("a", { class: "health health-" + state.level, href: "#/overview" }, h("span", { class: "dot" }), state.text),
        themeButton())),
    h("main", { id: "main", class: "page page-" + app.page },
      app.connected === false && h("div", { class: "notice notice-warn", role: "status" }, icon("warn"),
        h("p", null, h("b", null, "Not connected. "), "This node does not answer; what you see is as old as that. The page tries again by itself. ", others())),
      h("div", { class: "page-head" }, h("h1", { id: "title", tabindex: -1 }, page.title), h("p", { class: "muted" }, page.about)),
      h("div", { key: app.page, class: "page-body" }, page.view(app))),
    h("div", { class: "toasts", role: "status", "aria-live": "polite" }, app.toasts.map((t) => h("p", { key: t.key, class: "toast toast-" + t.kind }, icon(t.kind), t.text))),
    app.dialog && confirmDialog(app));
}

/** others are the consoles of the other members, for when this node is gone. */
function others() {
  const up = (app.source.data("status")?.members ?? []).filter((m) => m.name !== app.self && m.up && m.http);
  return up.length > 0 && ["Or go on at ", up.map((m, i) => [i > 0 && ", ", h("a", { href: `http://${m.http}/${location.hash}` }, m.name)]), "."];
}

const themes = ["auto", "light", "dark"];
const theme = () => document.documentElement.dataset.theme ?? "auto";

function themeButton() {
  return h("button", {
    type: "button", class: "theme", title: "Colours: " + theme(), "aria-label": `Colours: ${theme()}. Change.`, onClick: () => {
      const next = themes[(themes.indexOf(theme()) + 1) % themes.length];
      if (next === "auto") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = next;
      try {
        localStorage.setItem("ringcore-theme", next);
      } catch { /* it lasts as long as the page then */ }
      update();
    },
  }, icon(theme()));
}

function begin() {
  app.source = new Source(update);
  app.source.onDocument = (name, data) => {
    if (name === "status") {
      for (const m of data.members) app.color(m.name);
      app.history.addMoving(data.moving.bytes_per_s);
    }
    if (name === "load") app.history.add(data);
  };
  new Stream("/v1/events", ["ring", "member", "transfer"], {
    open: () => {
      app.connected = true;
      app.source.refresh();
      update();
    },
    lost: () => {
      app.connected = false;
      update();
    },
    event: (type, data) => {
      if (type !== "ring") app.events = [{ type, data, at: new Date(), key: "e" + performance.now() }, ...app.events].slice(0, 30);
      soon();
      update();
    },
  });
  window.addEventListener("hashchange", () => route(true));
  route(false);
}

let waiting = null;

/** soon reads the documents again when events have settled for a moment: there may be hundreds. */
function soon() {
  waiting ??= setTimeout(() => {
    waiting = null;
    app.source.refresh();
  }, 300);
}

begin();

