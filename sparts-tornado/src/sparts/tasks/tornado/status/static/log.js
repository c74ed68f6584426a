// The last log lines, and lists that show some of them.

import { make } from "./dom.js";

const MOST = 500;
const RANK = { DEBUG: 10, INFO: 20, WARNING: 30, ERROR: 40, CRITICAL: 50 };
let lines = [];
let version = 0;

export const rank = (level) => RANK[level] ?? 20;

export function addLines(found, anew) {
  lines = [...(anew ? [] : lines), ...found].slice(-MOST);
  version += 1;
}

export function list(id, size = "") {
  return make("div", { id, class: `log ${size}`, role: "log", tabindex: 0, "aria-label": "Log lines" });
}

function row(each) {
  const when = new Date(each.time * 1000);
  return make("div", { class: each.level },
    make("time", { datetime: when.toISOString() }, when.toLocaleTimeString("en-GB")), " ",
    make("span", { class: "level" }, each.level), " ", make("span", { class: "logger" }, `${each.logger}:`), " ", each.text);
}

// Show those lines that fit; only what is new is made, so that a selection stays.
export function fill(box, fits, follow = true) {
  const wanted = lines.filter(fits);
  const shape = `${version} ${wanted.length} ${wanted[0]?.number} ${wanted.at(-1)?.number}`;
  if (box.dataset.shape === shape) return;
  box.dataset.shape = shape;
  const old = new Map([...box.children].map((node) => [node.dataset.number, node]));
  box.replaceChildren(...wanted.map((each) => {
    const node = old.get(String(each.number)) ?? row(each);
    node.dataset.number = each.number;
    return node;
  }));
  if (follow) box.scrollTop = box.scrollHeight;
}
