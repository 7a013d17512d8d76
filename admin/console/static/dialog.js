// Dialogs: a question before something changes, with fields if it needs some.

import { h } from "./dom.js";
import { button, field, icon } from "./parts.js";

/**
 * confirmDialog shows app.dialog: {title, body (descriptions), fields ([{name, label, value,
 * options, help, type, required}]), actions ([{text, kind, run(values)}])}. An action that
 * runs without throwing closes it.
 */
export function confirmDialog(app) {
  const d = app.dialog;
  d.values ??= Object.fromEntries((d.fields ?? []).map((f) => [f.name, f.value ?? ""]));
  const close = () => {
    if (app.dialog === d) app.dialog = null;
    app.update();
  };
  const run = async (action) => {
    d.busy = true;
    app.update();
    const done = await action.run(d.values);
    d.busy = false;
    if (done !== false) close();
    else app.update();
  };
  const main = d.actions[0];
  return h("dialog", {
    key: "dialog" + d.title, class: "dialog", "aria-labelledby": "dialog-title",
    ref: (el) => requestAnimationFrame(() => el.isConnected && !el.open && el.showModal()),
    onCancel: (e) => { e.preventDefault(); close(); },
    onClick: (e) => { if (e.target === e.currentTarget) close(); },
  },
    h("form", { onSubmit: (e) => { e.preventDefault(); if (!d.busy) run(main); } },
      h("h2", { id: "dialog-title" }, d.title),
      h("div", { class: "dialog-body" }, d.body, (d.fields ?? []).map((f) => input(app, d, f))),
      d.error && h("p", { class: "notice notice-bad", role: "alert" }, icon("bad"), d.error),
      h("div", { class: "dialog-foot" },
        button("Cancel", close),
        d.actions.slice(1).map((a) => h("button", { type: "button", class: "button " + (a.kind ?? ""), disabled: d.busy, onClick: () => run(a) }, a.text)),
        h("button", { type: "submit", class: "button " + (main.kind ?? "primary"), disabled: d.busy }, main.text))));
}

function input(app, d, f) {
  const set = (v) => { d.values[f.name] = v; app.update(); };
  if (f.type === "checkbox") {
    return h("label", { class: "check", key: f.name },
      h("input", { type: "checkbox", name: f.name, checked: !!d.values[f.name], onChange: (e) => set(e.target.checked), required: f.required }),
      h("span", null, f.label, f.help && h("small", { class: "muted" }, f.help)));
  }
  if (f.options) {
    return field(f.label, h("select", { name: f.name, value: d.values[f.name], onChange: (e) => set(e.target.value), required: f.required },
      f.options.map((o) => h("option", { value: o.value ?? o }, o.text ?? o))), f.help);
  }
  return field(f.label, h("input", {
    name: f.name, type: f.type ?? "text", value: d.values[f.name], placeholder: f.placeholder, autocomplete: "off", spellcheck: "false",
    min: f.min, onInput: (e) => set(e.target.value), required: f.required,
  }), f.help);
}
