// What the charts show: rates and percentiles, made of the counters of GET /v1/load, and
// kept in this page for ten minutes.

const keep = 10 * 60 * 1000;

/** A History of figures by node. */
export class History {
  constructor() {
    this.nodes = new Map(); // by name: {last, points}
    this.moved = []; // {at, value}: bytes a second of all transfers
  }

  /** add enters an answer to GET /v1/load. */
  add(load) {
    const at = Date.parse(load.at);
    for (const n of load.nodes) {
      let x = this.nodes.get(n.node);
      if (!x) this.nodes.set(n.node, (x = { last: null, points: [] }));
      const before = x.last;
      if (before && at <= before.at) continue;
      x.last = { at, node: n };
      const gap = before ? (at - before.at) / 1000 : 0;
      const restarted = before && (n.commands.count < before.node.commands.count || n.queries.count < before.node.queries.count);
      const p = { at, queue: n.queue, deepest: n.deepest, records: n.records, bytes: n.bytes, free: n.disk_free, table: n.table_bytes, log: n.log_bytes };
      if (before && !restarted && gap < 30) Object.assign(p, between(before.node, n, gap, load.bucket_us));
      x.points.push(p);
      while (x.points.length && x.points[0].at < at - keep) x.points.shift();
    }
    for (const [name, x] of this.nodes) if (x.last.at < at - keep) this.nodes.delete(name);
  }

  /** addMoving enters how fast transfers are. */
  addMoving(bytesPerS) {
    const at = Date.now();
    this.moved.push({ at, value: bytesPerS });
    while (this.moved[0].at < at - keep) this.moved.shift();
  }

  /** series is one figure of each node over time. */
  series(figure) {
    return [...this.nodes].map(([name, x]) => ({ name, points: x.points.map((p) => ({ at: p.at, value: p[figure] })) }));
  }

  /** sum is one figure over time, added up over nodes that were asked at one time. */
  sum(figure) {
    const at = new Map();
    for (const x of this.nodes.values()) {
      for (const p of x.points) if (p[figure] !== undefined) at.set(p.at, (at.get(p.at) ?? 0) + p[figure]);
    }
    return [...at].sort((a, b) => a[0] - b[0]).map(([t, value]) => ({ at: t, value }));
  }

  /** worst is the largest of one figure over time. */
  worst(figure) {
    const at = new Map();
    for (const x of this.nodes.values()) {
      for (const p of x.points) if (p[figure] !== undefined) at.set(p.at, Math.max(at.get(p.at) ?? 0, p[figure]));
    }
    return [...at].sort((a, b) => a[0] - b[0]).map(([t, value]) => ({ at: t, value }));
  }
}

/** newest is the last value of a sum, undefined before the first. */
export const newest = (points) => points.at(-1)?.value;

function between(a, b, gap, limits) {
  const minus = (x, y) => y.map((n, i) => n - (x[i] ?? 0));
  const commands = minus(a.commands.buckets, b.commands.buckets);
  const queries = minus(a.queries.buckets, b.queries.buckets);
  const both = Array.from({ length: Math.max(commands.length, queries.length) }, (_, i) => (commands[i] ?? 0) + (queries[i] ?? 0));
  const failed = b.commands.failed - a.commands.failed + b.queries.failed - a.queries.failed;
  const rate = (x, y) => (y.count - x.count) / gap;
  return {
    commands: rate(a.commands, b.commands),
    queries: rate(a.queries, b.queries),
    requests: rate(a.commands, b.commands) + rate(a.queries, b.queries),
    failed: failed / gap,
    p50: quantile(both, limits, 0.5),
    p99: quantile(both, limits, 0.99),
  };
}

/** quantile reads a percentile, in microseconds, from counts by bucket; undefined if there are none. */
export function quantile(counts, limits, q) {
  const total = counts.reduce((a, n) => a + n, 0);
  if (total <= 0) return undefined;
  let rank = q * total;
  for (let i = 0; i < counts.length; i++) {
    if (rank <= counts[i]) {
      const low = i ? limits[i - 1] : 0;
      const high = limits[i] ?? low * 1.5;
      return low + ((high - low) * rank) / counts[i];
    }
    rank -= counts[i];
  }
  return limits.at(-1);
}
