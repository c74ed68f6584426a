// Numbers over time: the last hour from the service, then what comes while the page is open.

import { number, svg } from "./dom.js";

const HOUR = 3600; // seconds
const GAP = 30; // seconds without a value after which a curve is broken
const WINDOW = 5; // seconds over which the growth of a number is measured

const known = new Map(); // points [time, value] by key
const raw = new Map(); // the last values of what only grows: [time, value] by key
let counters = [];
let values = [];

export const all = () => counters;
export const byTask = (task) => counters.filter((each) => each.task === task);
export const points = (key) => known.get(key) ?? [];
export const last = (key) => points(key).at(-1)?.[1] ?? null;
export const value = (counter) => values[counters.indexOf(counter)] ?? null;

export function define(found) {
  counters = found;
}

// The service's memory of the last hour; it replaces what is older than what this page has seen.
export function recall({ times, rows }) {
  for (const [key, row] of Object.entries(rows)) {
    const past = times.map((time, index) => [time, row[index] ?? null]);
    const live = points(key).filter(([time]) => time > (times.at(-1) ?? 0));
    known.set(key, [...past, ...live]);
  }
}

function put(key, time, shown) {
  if (shown === null) return;
  if (!known.has(key)) known.set(key, []);
  const row = known.get(key);
  row.push([time, shown]);
  while (row.length && row[0][0] < time - HOUR) row.shift();
  // Older than a minute, one point in ten seconds is enough.
  if (row.length > 500) known.set(key, row.filter(([at], index) => at > time - 60 || index % 2));
}

function growth(key, time, now) {
  const seen = raw.get(key) ?? [];
  raw.set(key, seen);
  if (seen.length && now < seen.at(-1)[1]) seen.length = 0;
  seen.push([time, now]);
  while (seen.length > 2 && seen[0][0] < time - WINDOW) seen.shift();
  const [then, before] = seen[0];
  return time > then ? (now - before) / (time - then) : null;
}

export function add(time, found, headline) {
  values = found;
  const shown = new Map();
  counters.forEach((counter, index) => {
    const now = found[index] ?? null;
    shown.set(counter.key, now !== null && counter.grows ? growth(counter.key, time, now) : now);
  });
  for (const [kind, keys] of Object.entries(headline ?? {})) {
    const mine = keys.map((key) => shown.get(key) ?? null).filter((each) => each !== null);
    if (mine.length) shown.set(kind, kind === "latency" ? Math.max(...mine) : mine.reduce((a, b) => a + b, 0));
  }
  for (const [key, each] of shown) put(key, time, each);
}

export function forget() {
  known.clear();
  raw.clear();
}

export function plot(label = "") {
  const seen = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
  return svg("svg", { class: "plot", viewBox: "0 0 100 24", preserveAspectRatio: "none", ...seen },
    svg("path", { class: "area" }), svg("path", { class: "curve" }));
}

export function draw(node, key) {
  const found = points(key).filter(([, each]) => each !== null);
  const now = found.at(-1)?.[0] ?? 0;
  const span = Math.min(HOUR, Math.max(60, now - (found[0]?.[0] ?? now)));
  const high = Math.max(1e-9, ...found.map(([, each]) => each));
  const low = Math.min(0, ...found.map(([, each]) => each));
  const x = (time) => (100 * (1 - (now - time) / span)).toFixed(1);
  const y = (each) => (23 - (22 * (each - low)) / (high - low)).toFixed(1);
  let curve = "";
  let area = "";
  let before = null;
  for (const [time, each] of found) {
    const fresh = before === null || time - before > GAP;
    if (fresh && before !== null) area += `L${x(before)} ${y(0)}Z`;
    curve += `${fresh ? "M" : "L"}${x(time)} ${y(each)}`;
    area += `${fresh ? `M${x(time)} ${y(0)}` : ""}L${x(time)} ${y(each)}`;
    before = time;
  }
  if (before !== null) area += `L${x(before)} ${y(0)}Z`;
  node.querySelector(".curve").setAttribute("d", curve);
  node.querySelector(".area").setAttribute("d", area);
  node.classList.toggle("idle", high <= 1e-9 && low === 0);
}

// What a counter says now: its value, and for what grows its pace.
export function spoken(counter) {
  const now = value(counter);
  const unit = counter.unit ? ` ${counter.unit}` : "";
  const pace = counter.grows ? last(counter.key) : null;
  return { text: number(now) + unit, pace: pace === null ? "" : `${number(pace)}/s` };
}
