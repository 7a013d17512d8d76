// The ring, drawn as one: a circle of partitions, clockwise from the top, with a band for
// each place of the preference lists, the owners' outermost.

import { h } from "./dom.js";

const outer = 232;
const first = 44; // the owners' band
const gap = 4;

/** bands are the radii of each slot's band: [inner, outer]. */
function bands(slots) {
  const width = Math.max(8, Math.min(24, (96 - gap * slots) / Math.max(1, slots - 1)));
  const list = [];
  let r = outer;
  for (let i = 0; i < slots; i++) {
    const w = i === 0 ? first : width;
    list.push([r - w, r]);
    r -= w + gap;
  }
  return list;
}

const point = (r, turn) => {
  const a = turn * 2 * Math.PI;
  return (r * Math.sin(a)).toFixed(2) + "," + (-r * Math.cos(a)).toFixed(2);
};

/** wedge is the path of partition p of q between two radii. */
function wedge(p, q, r0, r1) {
  const a = p / q;
  const b = (p + 1) / q;
  return `M${point(r1, a)}A${r1},${r1} 0 0 1 ${point(r1, b)}L${point(r0, b)}A${r0},${r0} 0 0 0 ${point(r0, a)}Z`;
}

/** segments are the paths of each slot and node together: few elements, also for thousands of partitions. */
function segments(ring, rings) {
  const paths = new Map();
  ring.owners.forEach((list, p) => list.forEach((node, slot) => {
    if (!rings[slot]) return;
    const key = slot + " " + node;
    const x = paths.get(key) ?? { slot, node, d: "" };
    x.d += wedge(p, ring.partitions, ...rings[slot]);
    paths.set(key, x);
  }));
  return [...paths.values()];
}

const drawn = new WeakMap(); // by ring document: its segments

/** steps are the transfers that change the ring. */
export const steps = (transfers) => (transfers?.active ?? []).filter((t) => ["move", "swap", "add", "drop"].includes(t.kind));

/**
 * ringView draws ring. o has color(node), transfers, dimmed(node), hidden(partition), selected,
 * center (lines of text) and, if it can be used, current() (the partition selected now),
 * onSelect(partition) and onHover(partition or null).
 */
export function ringView(ring, o) {
  const q = ring.partitions;
  const slots = Math.max(1, ...ring.owners.map((l) => l.length));
  const rings = bands(slots);
  const inner = rings.at(-1)[0];
  if (!drawn.has(ring)) drawn.set(ring, segments(ring, rings));
  const hidden = o.hidden ? ring.owners.map((_, p) => p).filter(o.hidden) : [];
  const at = (e) => partitionAt(e, q, inner);
  return h("svg", {
    class: "ring" + (o.onSelect ? " ring-live" : " ring-small"), viewBox: "-262 -262 524 524",
    ...(o.onSelect ? {
      tabindex: 0, role: "slider", "aria-label": "Partitions of the ring", "aria-valuemin": 0, "aria-valuemax": q - 1,
      "aria-valuenow": o.selected ?? 0, "aria-valuetext": o.selected === null ? "none selected" : words(ring, o.selected),
      onClick: (e) => { const p = at(e); if (p !== null) o.onSelect(p); },
      onPointermove: (e) => o.onHover(at(e)),
      onPointerleave: () => o.onHover(null),
      onKeydown: (e) => keys(e, q, o),
    } : { role: "img", "aria-label": `Ring of ${q} partitions: ` + (o.about ?? "") }),
  },
    drawn.get(ring).map((x) => h("path", {
      key: x.slot + x.node, class: "segment" + (o.dimmed?.(x.node) ? " dimmed" : ""), d: x.d,
      style: { "--c": o.color(x.node), "stroke-width": q <= 64 ? "1.5px" : q <= 256 ? ".7px" : "0" },
    })),
    hidden.length > 0 && h("path", { key: "veil", class: "veil", d: hidden.map((p) => wedge(p, q, inner - 1, outer + 1)).join("") }),
    Object.keys(ring.pending ?? {}).map((p) => h("path", { key: "pending" + p, class: "pending", d: wedge(+p, q, outer + 4, outer + 8) })),
    steps(o.transfers).map((t) => movingStep(t, q, rings, o)),
    o.selected !== null && o.selected !== undefined && h("path", { key: "selected", class: "chosen", d: wedge(o.selected, q, inner - 3, outer + 3) }),
    ticks(q),
    (o.center ?? []).map((text, i) => h("text", { key: "text" + i, class: i === 0 ? "center-big" : "center-small", y: (i - (o.center.length - 1) / 2) * (o.onSelect ? 20 : 28) + (i === 0 ? -4 : 6) }, text)));
}

/** movingStep shows how far a partition has come: its place fills with the colour of the node that gets it. */
function movingStep(t, q, rings, o) {
  const [r0, r1] = rings[t.slot] ?? rings.at(-1);
  const done = t.kind === "swap" ? 1 : Math.max(0.06, Math.min(1, (t.percent || 0) / 100));
  return h("g", { key: "step" + t.session, class: "moving", style: { "--c": o.color(t.to || t.from) } },
    h("path", { class: "moving-fill", d: wedge(t.partition, q, r0, r0 + (r1 - r0) * done) }),
    h("path", { class: "moving-edge", d: wedge(t.partition, q, r0 - 1, r1 + 1) }));
}

function ticks(q) {
  const marks = Math.min(q, 16);
  return Array.from({ length: marks }, (_, i) => {
    const p = (i * q) / marks;
    const [x, y] = point(outer + 20, (p + 0.5) / q).split(",");
    return h("text", { key: "tick" + i, class: "tick", x, y }, String(p));
  });
}

/** words tell of a partition in a line. */
export function words(ring, p) {
  return `partition ${p}: ${ring.owners[p]?.join(", ") || "nobody"}`;
}

function partitionAt(e, q, inner) {
  const box = e.currentTarget.getBoundingClientRect();
  const x = ((e.clientX - box.left) / box.width - 0.5) * 524;
  const y = ((e.clientY - box.top) / box.height - 0.5) * 524;
  const r = Math.hypot(x, y);
  if (r < inner - 4 || r > outer + 10) return null;
  return Math.floor(((Math.atan2(x, -y) / (2 * Math.PI) + 1) % 1) * q);
}

function keys(e, q, o) {
  const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: q / 8, PageDown: -q / 8 }[e.key];
  let p = null;
  const now = o.current(); // the ring may not have been drawn anew since the last key
  if (by) p = now === null ? 0 : (now + by + q) % q;
  else if (e.key === "Home") p = 0;
  else if (e.key === "End") p = q - 1;
  else if (e.key === "Escape") o.onSelect(null);
  if (p === null) return;
  e.preventDefault();
  o.onSelect(p);
}
