// Counters: what they are now, and small plots of the last five minutes.

import { byId, keep, make, number, say, svg } from "./dom.js";

const SPAN = 300; // seconds that a plot shows at most
const FIRST = 60; // seconds that it shows at least
const GAP = 5; // seconds without a value after which the curve is broken
const MANY = 150; // numbers from which on groups begin closed

let counters = [];
let times = [];
const series = new Map(); // values by key, as long as `times`

const keyOf = (counter) => `${counter.task}\u0000${counter.name}\u0000${counter.part}`;
const latest = (counter) => number(series.get(keyOf(counter))?.at(-1)) + (counter.unit ? ` ${counter.unit}` : "");

export function define(found) {
  counters = found;
  const keys = new Set(found.map(keyOf));
  for (const key of series.keys()) if (!keys.has(key)) series.delete(key);
  layOut();
}

// The server's memory of the last minutes, for a page that opens; it ends with the values of now.
export function recall(history) {
  times = history.times;
  series.clear();
  counters.forEach((counter, index) => series.set(keyOf(counter), pad(history.values[index] ?? [])));
}

export function add(now, values) {
  if (times.at(-1) === now) return;
  times.push(now);
  counters.forEach((counter, index) => {
    const key = keyOf(counter);
    const row = series.get(key) ?? [];
    series.set(key, row);
    while (row.length < times.length - 1) row.unshift(null);
    row.push(values[index]);
  });
  while (times.length && times[0] < now - SPAN - GAP) {
    times.shift();
    for (const row of series.values()) row.shift();
  }
}

function pad(row) {
  return [...Array(Math.max(0, times.length - row.length)).fill(null), ...row];
}

// What is drawn: the value itself, or for what only grows its growth by the second.
function points(counter) {
  const row = series.get(keyOf(counter)) ?? [];
  const found = [];
  let before = -1;
  row.forEach((value, index) => {
    if (value === null) return;
    const pause = before < 0 ? Infinity : times[index] - times[before];
    if (!counter.grows) found.push([times[index], value, pause > GAP]);
    else if (pause <= GAP && value >= row[before]) {
      const fresh = !found.length || found.at(-1)[0] !== times[before];
      found.push([times[index], (value - row[before]) / pause, fresh]);
    }
    before = index;
  });
  return found;
}

function draw(plot, found, now) {
  const span = Math.min(SPAN, Math.max(FIRST, now - times[0]));
  const values = found.map(([, value]) => value);
  const low = Math.min(0, ...values);
  const high = Math.max(low === 0 ? 1e-9 : 0, ...values);
  const x = (time) => (100 * (1 - (now - time) / span)).toFixed(2);
  const y = (value) => (23 - (22 * (value - low)) / (high - low || 1)).toFixed(2);
  let curve = "";
  let area = "";
  let last = "";
  for (const [time, value, fresh] of found) {
    if (fresh && last) area += `L${last} ${y(0)}Z`;
    curve += `${fresh ? "M" : "L"}${x(time)} ${y(value)}`;
    area += fresh ? `M${x(time)} ${y(0)}L${x(time)} ${y(value)}` : `L${x(time)} ${y(value)}`;
    last = x(time);
  }
  if (last) area += `L${last} ${y(0)}Z`;
  plot.querySelector(".curve").setAttribute("d", curve);
  plot.querySelector(".area").setAttribute("d", area);
  plot.querySelector(".base").setAttribute("y1", y(0));
  plot.querySelector(".base").setAttribute("y2", y(0));
}

// One card shows all parts of a counter (its percentiles, say), and plots the one that tells most.
function cards(found) {
  const byName = new Map();
  for (const counter of found) {
    if (!byName.has(counter.name)) byName.set(counter.name, []);
    byName.get(counter.name).push(counter);
  }
  return [...byName].map(([name, parts]) => {
    const main = ["p99 ", "p90 ", "p50 ", "avg ", ""].map((start) => parts.find((each) => each.part.startsWith(start)));
    return { name, parts, main: main.find((each) => each) };
  });
}

function card({ name, parts, main }) {
  const plot = svg("svg", { class: "plot", viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("line", { class: "base", x1: 0, x2: 100, y1: 23, y2: 23 }),
    svg("path", { class: "area" }), svg("path", { class: "curve" }));
  return make("li", { "data-counter": `${main.task}.${name}`, class: parts.length > 3 ? "wide" : "" },
    make("code", { class: "label" }, name),
    make("span", { class: "number" }, make("b"), make("span", { class: "muted" })),
    plot, make("dl", { hidden: parts.length < 2 }), main.help ? make("small", null, main.help) : null);
}

function showParts(list, parts) {
  const shown = parts.length < 2 ? [] : parts;
  keep(list, shown, (each) => each.part, (each) => make("div", null, make("dt", null, each.part), make("dd")),
    (node, each) => say(node.lastChild, latest(each)));
}

function group(task) {
  const list = make("ul", { class: "counters" });
  const heading = make("summary", null, task || "The service itself", " ", make("span", { class: "muted" }));
  const open = counters.length < MANY || !task;
  return make("details", { open, on: { toggle: show } }, heading, list);
}

export function layOut() {
  const wanted = byId("counters-filter").value.trim().toLowerCase();
  const fits = (counter) => `${counter.task}.${counter.name} ${counter.help}`.toLowerCase().includes(wanted);
  const groups = new Map();
  for (const counter of counters.filter(fits)) {
    if (!groups.has(counter.task)) groups.set(counter.task, []);
    groups.get(counter.task).push(counter);
  }
  const tasks = [...groups.keys()];
  keep(byId("counters-groups"), tasks, (task) => `task ${task}`, group, (node, task) => {
    const mine = cards(groups.get(task));
    say(node.querySelector("summary .muted"), mine.length === 1 ? "1 counter" : `${mine.length} counters`);
    keep(node.querySelector("ul"), mine, (each) => each.name, card, (own, each) => {
      own.card = each;
    });
  });
  show();
}

export function show() {
  const now = times.at(-1) ?? 0;
  for (const details of byId("counters-groups").querySelectorAll("details[open]")) {
    for (const node of details.querySelectorAll("li")) {
      const { main, parts } = node.card;
      const found = points(main);
      const value = series.get(keyOf(main))?.at(-1);
      say(node.querySelector("b"), latest(main));
      const pace = main.grows && value && found.length ? `${number(found.at(-1)[1])}/s` : "";
      say(node.querySelector(".number .muted"), pace || main.part);
      const plot = node.querySelector(".plot");
      plot.classList.toggle("idle", found.every((each) => each[1] === 0));
      draw(plot, found, now);
      showParts(node.querySelector("dl"), parts);
    }
  }
}
