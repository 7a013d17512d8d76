// Buckets: how many replicas answer for the keys of a bucket, and whether concurrent values are kept.

import { get, put } from "../api.js";
import { h } from "../dom.js";
import { button, empty, failed, field, table, wait } from "../parts.js";

const quorums = ["r", "w", "pr", "pw"];
const about = {
  r: "Replicas that must answer a read", w: "Replicas that must have stored a write",
  pr: "Primaries among those of a read", pw: "Primaries among those of a write",
};

export default {
  title: "Buckets",
  about: "What requests go by that do not say otherwise. A change holds at once, and is not staged.",
  needs: () => [{ name: "buckets", path: "/v1/buckets", every: 5000 }],

  view(app) {
    const doc = app.source.docs.buckets;
    if (!doc?.data) return doc?.error ? failed(doc.error, "The buckets cannot be shown") : wait(app, "buckets", "The buckets");
    return [list(app, doc.data), other(app)];
  },
};

function list(app, buckets) {
  const columns = [{ title: "Bucket" }, ...quorums.map((q) => ({ title: q.toUpperCase() })), { title: "Sloppy" }, { title: "Concurrent values" }, { title: "" }];
  return h("section", { class: "card", "aria-label": "Buckets" }, h("h2", null, "With properties of their own"),
    buckets.length === 0 ? empty("No bucket has any: all go by the defaults, a majority for reads and writes, and the newest write wins.")
      : table("Buckets", columns, buckets.map((b) => ({ key: b.bucket, cells: [
        h("b", null, b.bucket), ...quorums.map((q) => word(b[q])), word(b.sloppy), b.siblings ? "all kept" : h("span", { class: "muted" }, "the newest wins"),
        button("Change", () => change(app, b), "small")] })), { cards: true }));
}

const word = (v) => (v === "default" ? h("span", { class: "muted" }, "default") : v === true ? "yes" : v === false ? "no" : String(v));

function other(app) {
  return h("section", { class: "card" }, h("h2", null, "Any bucket"),
    h("p", null, "A bucket is there as soon as a key is written to it. Name one to give it properties."),
    h("form", { class: "row-form", onSubmit: (e) => { e.preventDefault(); open(app, new FormData(e.target).get("bucket")); } },
      field("Bucket", h("input", { name: "bucket", placeholder: "carts", autocomplete: "off", spellcheck: "false", required: true })),
      h("button", { class: "button" }, "Open")));
}

async function open(app, bucket) {
  await app.act(null, async () => change(app, { bucket, ...(await get(path(bucket))) }));
}

const path = (bucket) => "/v1/buckets/" + encodeURIComponent(bucket).replace(/^\.+$/, (dots) => "%2E".repeat(dots.length));

function change(app, b) {
  const was = (name) => String(b[name]);
  app.confirm({
    title: `Bucket ${b.bucket}`,
    fields: [
      ...quorums.map((q) => ({ name: q, label: `${about[q]} (${q.toUpperCase()})`, options: [...new Set(["default", "1", "2", "3", "quorum", "all", was(q)])], value: was(q) })),
      { name: "sloppy", label: "Nodes that stand in for others count", options: [{ value: "default", text: "default" }, { value: "true", text: "yes: it goes on with fewer, and a read may miss a write" }, { value: "false", text: "no" }], value: was("sloppy") },
      { name: "siblings", label: "Values that were written concurrently", options: [{ value: "false", text: "the newest wins" }, { value: "true", text: "all are kept, until one takes their place" }], value: was("siblings"),
        help: b.siblings ? "If they are not kept any more, the next write to a key takes the place of all its values." : "A read then shows several, and a context to write back with." }],
    actions: [{ text: "Change", run: (v) => app.act(`Bucket ${b.bucket} is changed.`, () => put(path(b.bucket), body(b, v))) }],
  });
}

/** body has what is to change: words and numbers as the API has them. */
function body(b, values) {
  const plain = { true: true, false: false };
  return Object.fromEntries(Object.entries(values).filter(([k, v]) => v !== String(b[k])).map(([k, v]) => [k, plain[v] ?? (/^\d+$/.test(v) ? Number(v) : v)]));
}
