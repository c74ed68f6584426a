// The last log lines.

import { byId, make } from "./dom.js";

const MOST = 500;
const RANK = { DEBUG: 10, INFO: 20, WARNING: 30, ERROR: 40, CRITICAL: 50 };

function line(each) {
  const when = new Date(each.time * 1000);
  const shown = when.toLocaleTimeString("en-GB");
  return make("li", { class: each.level, "data-rank": RANK[each.level] ?? 20 },
    make("time", { datetime: when.toISOString() }, shown), " ",
    make("span", { class: "level" }, each.level), " ",
    make("span", { class: "logger" }, `${each.logger}:`), " ", each.text);
}

export function addLines(lines, anew) {
  const box = byId("log");
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 30;
  if (anew) box.replaceChildren();
  box.append(...lines.map(line));
  while (box.children.length > MOST) box.firstChild.remove();
  filter();
  if (atEnd || anew) box.scrollTop = box.scrollHeight;
}

export function filter() {
  const least = Number(byId("log-level").value);
  for (const node of byId("log").children) node.hidden = Number(node.dataset.rank) < least;
}
