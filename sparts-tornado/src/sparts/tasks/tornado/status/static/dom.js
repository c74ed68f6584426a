// Small helpers to make and keep nodes. Text is only ever set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

export function byId(id) {
  return document.getElementById(id);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === "on") for (const [event, call] of Object.entries(value)) node.addEventListener(event, call);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function make(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// Set a text only where it differs, so that nothing is announced or drawn again without a reason.
export function say(node, text) {
  const wanted = String(text);
  if (node.textContent !== wanted) node.textContent = wanted;
}

// Keep a list's children in step with items: nodes of items that stay are kept (focus, open forms).
export function keep(list, items, key, create, update, none = "") {
  const old = new Map([...list.children].map((node) => [node.dataset.key, node]));
  const wanted = items.map((item, index) => {
    const id = String(key(item, index));
    let node = old.get(id);
    if (!node) {
      node = create(item);
      node.dataset.key = id;
    }
    old.delete(id);
    update?.(node, item, index);
    return node;
  });
  if (!wanted.length && none) {
    const node = old.get("\u0000none") ?? make("li", { class: "muted" }, none);
    node.dataset.key = "\u0000none";
    old.delete(node.dataset.key);
    wanted.push(node);
  }
  for (const node of old.values()) node.remove();
  wanted.forEach((node, index) => {
    if (list.children[index] !== node) list.insertBefore(node, list.children[index] ?? null);
  });
}

// The time of a moment (seconds since the epoch), with its date if it is of another day.
export function clock(seconds) {
  if (!seconds) return "\u2013";
  const when = new Date(seconds * 1000);
  const time = when.toLocaleTimeString("en-GB");
  return when.toDateString() === new Date().toDateString() ? time : `${when.toLocaleDateString("en-CA")} ${time}`;
}

function cell(value) {
  if (value !== null && typeof value === "object") return "time" in value ? clock(value.time) : JSON.stringify(value);
  return typeof value === "number" ? number(value) : String(value ?? "\u2013");
}

// A panel's data: a table, facts, or a text.
export function data(found) {
  if (Array.isArray(found) && found.length && found.every((each) => each !== null && typeof each === "object")) {
    const columns = [...new Set(found.flatMap((each) => Object.keys(each)))];
    return make("table", null,
      make("thead", null, make("tr", null, ...columns.map((each) => make("th", { scope: "col" }, each)))),
      make("tbody", null, ...found.map((row) => make("tr", null, ...columns.map((each) => make("td", null, cell(row[each])))))));
  }
  if (Array.isArray(found)) return make("p", { class: "muted" }, found.length ? found.map(cell).join(", ") : "None.");
  if (found !== null && typeof found === "object") {
    return make("dl", null, ...Object.entries(found).map(([name, value]) => make("div", null, make("dt", null, name), make("dd", null, cell(value)))));
  }
  return make("p", null, cell(found));
}

const GOOD = new Set(["ALIVE", "DONE"]);
const WARN = new Set(["WARNING", "DEGRADED", "STARTING", "STOPPING", "PAUSED"]);

export function tone(state) {
  if (GOOD.has(state)) return "good";
  if (WARN.has(state)) return "warn";
  return state === "DEAD" ? "bad" : "idle";
}

export function badge(node, state) {
  say(node, state);
  node.className = `badge ${tone(state)}`;
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export function number(value) {
  if (value === null || value === undefined) return "\u2013";
  return Number.isInteger(value) || Math.abs(value) >= 10000 ? whole.format(value) : short.format(value);
}

export function span(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => seconds >= size);
  if (first < 0) return "0 s";
  return parts.slice(first, first + 2).map(([size, unit], index) => {
    const left = index ? seconds % parts[first][0] : seconds;
    return `${Math.floor(left / size)} ${unit}`;
  }).join(" ");
}
