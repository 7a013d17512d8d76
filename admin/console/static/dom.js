// The page as a function of what is known: h makes a description, render changes the
// document to match it and keeps what is the same, so focus, scrolling and what somebody
// types stay. Text becomes text nodes only: nothing that comes from a node is ever HTML.

const svgNS = "http://www.w3.org/2000/svg";

/** h describes an element. Children may be nested lists; null, false and "" leave nothing. */
export function h(tag, props, ...children) {
  return { tag, props: props ?? {}, key: props?.key, children: flat(children, []) };
}

function flat(list, to) {
  for (const c of list) {
    if (Array.isArray(c)) flat(c, to);
    else if (c !== null && c !== undefined && c !== false && c !== true && c !== "") to.push(typeof c === "object" ? c : String(c));
  }
  return to;
}

/** render makes parent's content what the descriptions say. */
export function render(parent, ...children) {
  patchChildren(parent, flat(children, []), parent.namespaceURI === svgNS);
}

// What was described last is kept at the nodes, under symbols of our own.
const described = Symbol("described");
const handlers = Symbol("handlers");

function create(d, svg) {
  if (typeof d === "string") return document.createTextNode(d);
  const inSVG = svg || d.tag === "svg";
  const el = inSVG ? document.createElementNS(svgNS, d.tag) : document.createElement(d.tag);
  el[described] = { tag: d.tag, key: d.key, props: {} };
  patchChildren(el, d.children, inSVG);
  patchProps(el, d.props);
  el[described].key = d.key;
  d.props.ref?.(el);
  return el;
}

function matches(node, d) {
  if (typeof d === "string") return node.nodeType === Node.TEXT_NODE;
  const was = node[described];
  return was !== undefined && was.tag === d.tag && was.key === d.key;
}

function patch(node, d, svg) {
  if (typeof d === "string") {
    if (node.data !== d) node.data = d;
    return;
  }
  patchChildren(node, d.children, svg || d.tag === "svg");
  patchProps(node, d.props);
}

function patchChildren(el, list, svg) {
  const keyed = new Map();
  for (const n of el.childNodes) {
    const key = n[described]?.key;
    if (key !== undefined) keyed.set(key, n);
  }
  let at = el.firstChild;
  for (const d of list) {
    let node = d.key === undefined ? at : keyed.get(d.key);
    if (node && matches(node, d)) {
      patch(node, d, svg);
      if (node === at) at = at.nextSibling;
      else el.insertBefore(node, at);
      continue;
    }
    node = create(d, svg);
    // What stands here and has no key gives its place up; what has one may still be wanted.
    if (at && d.key === undefined && at[described]?.key === undefined) {
      const next = at.nextSibling;
      el.replaceChild(node, at);
      at = next;
    } else {
      el.insertBefore(node, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

const asProperty = new Set(["value", "checked", "disabled", "selected", "indeterminate"]);

function patchProps(el, props) {
  const was = el[described].props;
  for (const name in was) if (!(name in props)) setProp(el, name, undefined, was[name]);
  for (const name in props) if (name !== "key" && name !== "ref") setProp(el, name, props[name], was[name]);
  el[described].props = props;
}

function setProp(el, name, value, was) {
  if (name.startsWith("on")) {
    listen(el, name.slice(2).toLowerCase(), value);
  } else if (name === "style") {
    for (const k in was ?? {}) if (!(k in (value ?? {}))) el.style.removeProperty(k);
    for (const k in value ?? {}) if (was?.[k] !== value[k]) el.style.setProperty(k, value[k]);
  } else if (asProperty.has(name)) {
    const v = value ?? (name === "value" ? "" : false);
    // A field keeps what is typed until what it was told changes.
    if (value !== was || name === "checked" || name === "disabled") if (el[name] !== v) el[name] = v;
  } else if (value !== was) {
    setAttribute(el, name, value);
  }
}

function setAttribute(el, name, value) {
  if (value === undefined || value === null || value === false) el.removeAttribute(name);
  else if (name === "href" && !/^(#|\/|https?:)/.test(value)) el.removeAttribute(name); // never a script
  else el.setAttribute(name, value === true ? "" : String(value));
}

function listen(el, type, fn) {
  const all = (el[handlers] ??= {});
  if (!(type in all)) el.addEventListener(type, (e) => all[type]?.(e));
  all[type] = fn;
}
