// What the console knows of the node, and how it asks. Everything goes through the HTTP
// API that others use too.

/** Problem is an answer that says no, with the API's code and hint. */
export class Problem extends Error {
  constructor(doc, status) {
    super(doc.detail || doc.title || "the node answered " + status);
    this.code = doc.code ?? "";
    this.hint = doc.hint ?? "";
    this.status = status;
  }
}

/** Unreached says that no answer came. */
export class Unreached extends Error {
  constructor() {
    super("the node does not answer");
    this.code = "unreached";
    this.hint = "Is it running? The page tries again by itself.";
  }
}

async function ask(method, path, body) {
  const init = { method, headers: {}, signal: AbortSignal.timeout(30_000), cache: "no-store" };
  if (body !== undefined) {
    init.headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  let res;
  try {
    res = await fetch(path, init);
  } catch {
    throw new Unreached();
  }
  const type = res.headers.get("Content-Type") ?? "";
  if (!res.ok && res.status !== 503) await refuse(res, type);
  if (type.startsWith("text/plain")) return res.text();
  if (!res.ok && type.startsWith("application/problem+json")) await refuse(res, type);
  try {
    return await res.json();
  } catch {
    throw new Unreached();
  }
}

async function refuse(res, type) {
  let doc = {};
  if (type.includes("json")) doc = await res.json().catch(() => ({}));
  throw new Problem(doc, res.status);
}

export const get = (path) => ask("GET", path);
export const post = (path, body) => ask("POST", path, body);
export const put = (path, body) => ask("PUT", path, body);
export const del = (path) => ask("DELETE", path);

/** query writes ?a=b of what is not empty. */
export function query(params) {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(params)) if (v !== "" && v !== undefined && v !== null) q.set(k, v);
  const s = q.toString();
  return s && "?" + s;
}

// The documents that pages look at, by name.
const documents = {
  status: { path: "/v1/cluster/status", every: 3000 },
  ready: { path: "/readyz", every: 5000 },
  ring: { path: "/v1/ring", every: 10_000 },
  plan: { path: "/v1/cluster/plan", every: 5000 },
  transfers: { path: "/v1/transfers", every: 1000 },
  load: { path: "/v1/load", every: 2000 },
  vnodes: { path: "/v1/vnodes", every: 3000 },
  repairs: { path: "/v1/repairs", every: 2000 },
  metrics: { path: "/metrics", every: 2000 },
};

/** A Source keeps the documents that are needed fresh, and says when something is new. */
export class Source {
  constructor(changed) {
    this.changed = changed;
    this.docs = {}; // by name: {data, error, at}
    this.own = {}; // by name: documents that one page has described
    this.due = {}; // by name: when to ask next
    this.asking = new Set();
    this.needed = new Set();
    this.onDocument = null; // told of each document that arrives
    setInterval(() => this.tick(), 250);
    document.addEventListener("visibilitychange", () => this.tick());
  }

  data(name) {
    return this.docs[name]?.data;
  }

  /** need says which documents are looked at from now on: by name, or as {name, path, every}. */
  need(list) {
    for (const n of list) {
      if (typeof n === "string" || this.own[n.name]?.path === n.path) continue;
      this.own[n.name] = n;
      delete this.docs[n.name]; // of another path
      this.due[n.name] = 0;
    }
    this.needed = new Set(list.map((n) => n.name ?? n));
    this.tick();
  }

  /** refresh asks anew for all that is looked at, or for those named: something has happened. */
  refresh(...names) {
    const soon = Date.now();
    for (const name of names.length ? names : this.needed) this.due[name] = Math.min(this.due[name] ?? 0, soon);
    this.tick();
  }

  tick() {
    if (document.hidden) return;
    const now = Date.now();
    for (const name of this.needed) {
      if (!this.asking.has(name) && (this.due[name] ?? 0) <= now) this.fetch(name);
    }
  }

  async fetch(name) {
    const { path, every } = this.own[name] ?? documents[name];
    this.asking.add(name);
    this.due[name] = Number.POSITIVE_INFINITY; // refresh, meanwhile, makes it due again
    try {
      const data = await get(path);
      if (path !== (this.own[name] ?? documents[name]).path) throw new Error("it is not wanted any more");
      this.docs[name] = { data, error: null, at: Date.now() };
      this.onDocument?.(name, data);
    } catch (error) {
      this.docs[name] = { data: this.docs[name]?.data, error, at: this.docs[name]?.at };
    }
    this.asking.delete(name);
    this.due[name] = Math.min(this.due[name], Date.now() + every);
    this.changed();
  }
}

/**
 * A Stream follows server-sent events, comes back by itself, and says if it is away. It lets
 * go while nobody sees the page: browsers keep six connections to an address for all pages.
 */
export class Stream {
  constructor(path, types, on) {
    this.path = path;
    this.types = types;
    this.on = on; // {event(type, data), open(), lost()}
    this.seen = () => (document.hidden ? this.disconnect() : this.connect());
    document.addEventListener("visibilitychange", this.seen);
    this.seen();
  }

  connect() {
    this.disconnect();
    const es = new EventSource(this.path);
    this.es = es;
    es.onopen = () => this.on.open?.();
    es.onerror = () => {
      this.on.lost?.();
      if (es.readyState === EventSource.CLOSED && this.es === es) {
        this.again = setTimeout(this.seen, 2000); // the node said no: it may say yes later
      }
    };
    for (const type of this.types) {
      es.addEventListener(type, (e) => {
        try {
          this.on.event(type, JSON.parse(e.data));
        } catch { /* no JSON: of another version; the documents tell */ }
      });
    }
  }

  disconnect() {
    clearTimeout(this.again);
    this.es?.close();
    this.es = null;
  }

  close() {
    document.removeEventListener("visibilitychange", this.seen);
    this.disconnect();
  }
}
