// The view of one task: what it does, its numbers, options, failures, log, stacks.

import { badge, byId, clock, data, keep, make, say, span } from "./dom.js";
import { act, confirmed, mayAct } from "./controls.js";
import { optionRow, updateOption } from "./options.js";
import * as log from "./log.js";
import * as plots from "./plots.js";

const EVERY = 2000; // milliseconds between two looks
const LABELS = { run: "Run now", pause: "Pause", resume: "Resume", drain: "Stop", restart: "Restart" };
const QUESTIONS = {
  drain: (name) => `Stop ${name}, and the tasks that need it, after they have finished their work?`,
  restart: (name) => `Stop ${name}, and the tasks that need it, and start them again?`,
};

let name = "";
let timer = 0;
let found = null;

export function build(box, wanted) {
  name = wanted;
  found = null;
  const card = (id, title, ...rest) => make("section", { class: "card", id, "aria-labelledby": `${id}-title` },
    make("h2", { id: `${id}-title` }, title), ...rest);
  box.replaceChildren(
    make("section", { class: "card", id: "task", "aria-labelledby": "task-title" },
      make("div", { class: "line" }, make("h2", { id: "task-title", class: "grow" }, wanted), make("span", { class: "badge", id: "task-state" })),
      make("p", { class: "muted", id: "task-facts" }), make("p", { class: "problem", id: "task-problem" }),
      make("p", { id: "task-doc" }), make("div", { class: "row", id: "task-actions" })),
    make("div", { id: "panels", class: "pair" }),
    card("counters", "Counters", make("ul", { class: "tiles small-tiles", id: "counters-list" })),
    card("letters", "Dead letters", make("ul", { class: "rows", id: "letters-list" })),
    card("errors", "Last errors", make("ul", { class: "rows", id: "errors-list" })),
    card("task-options", "Options", make("ul", { class: "rows", id: "task-options-list" })),
    card("task-log", "Log", log.list("task-log-lines")),
    card("task-stacks", "Stacks", make("pre", { id: "task-stacks-text", tabindex: 0 })));
  look();
}

export function leave() {
  clearTimeout(timer);
}

async function look() {
  clearTimeout(timer);
  const mine = name;
  try {
    const answer = await fetch(`task.json?name=${encodeURIComponent(mine)}&copy=${document.body.dataset.copy ?? ""}`, { cache: "no-store" });
    if (mine !== name || !byId("task")) return;
    if (answer.ok) {
      const first = !found;
      found = await answer.json();
      if (first) plots.recall(found.history);
      showTask();
    } else say(byId("task-problem"), (await answer.text()).trim());
  } catch {
    /* the header says that the service does not answer */
  }
  if (mine === name && byId("task")) timer = setTimeout(look, EVERY);
}

function button(action) {
  const node = make("button", { type: "button", class: "small", "aria-label": `${LABELS[action]}: ${name}` }, LABELS[action]);
  node.addEventListener("click", async () => {
    if (QUESTIONS[action] && !(await confirmed(QUESTIONS[action](name), LABELS[action]))) return;
    await act(action, { task: name });
    look();
  });
  return node;
}

function letterRow(letter) {
  const choose = (action, text) => make("button", { type: "button", class: "small", on: {
    click: async () => {
      await act(action, { task: name, letter: letter.number });
      look();
    } } }, text);
  return make("li", null, make("div", { class: "line" }, make("code", { class: "grow" }, letter.item),
    make("span", { class: "row may" }, choose("retry", "Retry"), choose("discard", "Discard"))),
  make("small", null, `${clock(letter.time)}, attempt ${letter.attempt}: ${letter.error}`));
}

function showTask() {
  badge(byId("task-state"), found.paused ? "PAUSED" : found.state);
  const facts = [found.kind, `${found.state.toLowerCase()} for ${span(Date.now() / 1000 - found.since)}`];
  if (found.depends_on.length) facts.push(`needs ${found.depends_on.join(", ")}`);
  if (found.needed_by.length) facts.push(`needed by ${found.needed_by.join(", ")}`);
  facts.push(`threads: ${found.threads.length}`, `failures: ${found.failures}`, `restarts: ${found.restarts}`);
  say(byId("task-facts"), facts.join(" \u00b7 "));
  say(byId("task-problem"), found.problem || (found.ready ? "" : "not ready"));
  say(byId("task-doc"), found.doc.split("\n\n")[0]);
  keep(byId("task-actions"), mayAct() ? found.actions : [], (each) => each, button);
  keep(byId("panels"), found.panels, (each) => each.title,
    (each) => make("section", { class: "card", "data-panel": each.title }, make("h2", null, each.title), make("div", { class: "scroll", tabindex: 0 })),
    (node, each) => {
      const text = JSON.stringify(each.data);
      if (node.dataset.shown !== text) {
        node.dataset.shown = text;
        node.lastChild.replaceChildren(data(each.data));
      }
    });
  byId("letters").hidden = !found.letters;
  keep(byId("letters-list"), found.letters ?? [], (each) => each.number, letterRow,
    (node) => { node.querySelector(".may").hidden = !mayAct(); }, "None.");
  keep(byId("errors-list"), found.errors, (each) => each.time, (each) => make("li", null,
    make("details", null, make("summary", null, `${clock(each.time)} ${each.error}`), make("pre", { tabindex: 0 }, each.traceback))), null, "None.");
  say(byId("task-stacks-text"), found.stacks || "No thread of its own.");
}

// One tile shows all parts of a counter (its percentiles, say), and plots the one that tells most.
function grouped(counters) {
  const byName = new Map();
  for (const each of counters) byName.set(each.name, [...(byName.get(each.name) ?? []), each]);
  return [...byName].map(([label, parts]) => {
    const best = ["p99 ", "p90 ", "p50 ", "avg ", ""].map((start) => parts.find((each) => each.part.startsWith(start)));
    return { label, parts, main: best.find(Boolean) };
  });
}

function counterTile({ main }) {
  return make("li", { "data-counter": `${main.task}.${main.name}` },
    make("code", { class: "label" }, main.name), make("small", { class: "muted" }, main.help),
    make("div", { class: "line" }, make("b", { class: "grow" }), make("span", { class: "muted" })), plots.plot(), make("dl"));
}

// Called at each update of the page.
export function show(state) {
  const mine = plots.byTask(name);
  keep(byId("counters-list"), grouped(mine), (each) => each.label, counterTile, (node, { main, parts }) => {
    const { text, pace } = plots.spoken(main);
    say(node.querySelector("b"), text);
    say(node.querySelector(".line span"), pace || main.part);
    plots.draw(node.querySelector(".plot"), main.key);
    keep(node.querySelector("dl"), parts.length > 1 ? parts : [], (each) => each.part,
      (each) => make("div", null, make("dt", null, each.part), make("dd")), (row, each) => say(row.lastChild, plots.spoken(each).text));
  }, "None.");
  keep(byId("task-options-list"), state.options.filter((each) => each.owner === name), (each) => each.name, optionRow, updateOption, "None.");
  log.fill(byId("task-log-lines"), (line) => line.logger.split(".").slice(1).join(".").startsWith(name));
  if (found) keep(byId("task-actions"), mayAct() ? found.actions : [], (each) => each, button);
}
