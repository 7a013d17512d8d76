// Numbers, sizes and times as people read them.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** count writes a number with its thousands apart, or shortened from a million on. */
export function count(n) {
  if (n === null || n === undefined) return "–";
  const a = Math.abs(n);
  if (a >= 1e9) return short(n / 1e9) + " G";
  if (a >= 1e6) return short(n / 1e6) + " M";
  return whole.format(n);
}

/** rate writes a number of things in a second. */
export function rate(n) {
  if (n === null || n === undefined || Number.isNaN(n)) return "–";
  if (n > 0 && n < 10) return n.toFixed(1);
  return count(n);
}

function short(n) {
  return n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(2);
}

const units = ["B", "kB", "MB", "GB", "TB", "PB"];

/** bytes writes a size, in powers of a thousand. */
export function bytes(n) {
  if (n === null || n === undefined || Number.isNaN(n)) return "–";
  let i = 0;
  while (Math.abs(n) >= 1000 && i < units.length - 1) {
    n /= 1000;
    i++;
  }
  return (i === 0 ? whole.format(n) : short(n)) + " " + units[i];
}

/** micros writes a time given in microseconds. */
export function micros(us) {
  if (us === null || us === undefined || Number.isNaN(us)) return "–";
  if (us < 1000) return us.toFixed(0) + " µs";
  if (us < 1e6) return short(us / 1e3) + " ms";
  return short(us / 1e6) + " s";
}

/** seconds writes how long something takes. */
export function seconds(s) {
  if (s === null || s === undefined || Number.isNaN(s)) return "–";
  if (s < 1) return (s * 1000).toFixed(0) + " ms";
  if (s < 60) return (s < 10 ? s.toFixed(1) : s.toFixed(0)) + " s";
  if (s < 3600) return Math.floor(s / 60) + " min " + Math.floor(s % 60) + " s";
  return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
}

/** clock writes a time of day. */
export function clock(at) {
  const d = at instanceof Date ? at : new Date(at);
  return d.toLocaleTimeString("en-GB") + "." + String(d.getMilliseconds()).padStart(3, "0");
}

/** ago writes how long it is since at. */
export function ago(at) {
  const s = (Date.now() - new Date(at).getTime()) / 1000;
  if (s < 2) return "now";
  if (s < 60) return Math.floor(s) + " s ago";
  if (s < 3600) return Math.floor(s / 60) + " min ago";
  if (s < 86400) return Math.floor(s / 3600) + " h ago";
  return Math.floor(s / 86400) + " d ago";
}

/** plural is a number with its noun. */
export function plural(n, noun, nouns = noun + "s") {
  return count(n) + " " + (n === 1 ? noun : nouns);
}

/** listed joins words: a, b and c. */
export function listed(words) {
  if (words.length < 2) return words.join("");
  return words.slice(0, -1).join(", ") + " and " + words.at(-1);
}
