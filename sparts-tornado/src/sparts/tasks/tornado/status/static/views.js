// The views beside the overview and the tasks: log, stacks, options, graph, plugins, instances.

import { badge, byId, data, keep, make, say, span } from "./dom.js";
import { drawGraph } from "./graph.js";
import { optionRow, updateOption } from "./options.js";
import * as log from "./log.js";

const field = (label, control) => make("label", { class: "filter" }, label, control);
const section = (id, title, ...rest) => make("section", { class: "card", id, "aria-labelledby": `${id}-title` },
  make("h2", { id: `${id}-title` }, title), ...rest);

export const logView = {
  build(box) {
    box.replaceChildren(section("log-view", "Log",
      make("div", { class: "row" },
        field("Search", make("input", { id: "log-search", type: "search" })),
        field("Level", make("select", { id: "log-level" }, ...["DEBUG", "INFO", "WARNING", "ERROR"].map((each) => make("option", { value: each }, each)))),
        field("Task", make("select", { id: "log-task" }, make("option", { value: "" }, "all"))),
        field("Follow", make("input", { id: "log-follow", type: "checkbox", checked: true }))),
      log.list("log", "log-full")));
    for (const id of ["log-search", "log-level", "log-task"]) byId(id).addEventListener("input", () => this.show(this.state));
  },
  show(state) {
    this.state = state;
    if (!byId("log")) return;
    const tasks = byId("log-task");
    keep(tasks, [{ name: "" }, ...state.tasks], (each) => each.name, (each) => make("option", { value: each.name }, each.name || "all"));
    const [wanted, least, task] = ["log-search", "log-level", "log-task"].map((id) => byId(id).value);
    log.fill(byId("log"), (line) => log.rank(line.level) >= log.rank(least)
      && (!task || line.logger.split(".").slice(1).join(".").startsWith(task))
      && (!wanted || `${line.logger} ${line.text}`.toLowerCase().includes(wanted.toLowerCase())), byId("log-follow").checked);
  },
};

// What a thread does that waits for something; and a coroutine that is not running waits always.
const IDLE = /(\.(acquire|wait|get|poll|select|accept|recv|join)\b[(,]|waitpid\(|time\.sleep\()/;
const waits = (title, lines) => /^Coroutine |\.asking\.stacks:$/.test(title) || IDLE.test(lines.slice(-2).join("\n"));

export function groupStacks(text) {
  const groups = new Map();
  for (const part of text.split(/^(?=Thread |Coroutine )/m).filter((each) => each.trim())) {
    const [title, ...lines] = part.trimEnd().split("\n");
    const stack = lines.join("\n");
    if (!groups.has(stack)) groups.set(stack, { stack, titles: [], idle: waits(title, lines) });
    groups.get(stack).titles.push(title.replace(/:$/, ""));
  }
  return [...groups.values()].sort((a, b) => a.idle - b.idle);
}

export const stacksView = {
  build(box) {
    const again = make("button", { type: "button", class: "small", on: { click: () => this.look() } }, "Look again");
    box.replaceChildren(section("stacks-view", "Stacks", make("div", { class: "row" }, again, make("span", { class: "muted", id: "stacks-told" })),
      make("ul", { class: "rows", id: "stacks-list" })));
    this.look();
  },
  async look() {
    const answer = await fetch("stacks", { cache: "no-store" }).catch(() => null);
    const list = byId("stacks-list");
    if (!answer || !list) return;
    const groups = groupStacks(await answer.text());
    say(byId("stacks-told"), `Threads and coroutines: ${groups.reduce((sum, each) => sum + each.titles.length, 0)}, different stacks: ${groups.length}`);
    list.replaceChildren(...groups.map(({ stack, titles, idle }) => make("li", null,
      make("details", { open: !idle }, make("summary", null, `${titles.length > 1 ? `${titles.length} \u00d7 ` : ""}${titles.slice(0, 5).join(", ")}${titles.length > 5 ? " \u2026" : ""} `,
        make("span", { class: "badge idle" }, idle ? "idle" : "busy")), make("pre", { tabindex: 0 }, stack)))));
  },
  show() {},
};

export const optionsView = {
  build(box) {
    box.replaceChildren(section("options-view", "Options",
      make("div", { class: "row" }, field("Search", make("input", { id: "options-filter", type: "search" }))),
      make("ul", { class: "rows", id: "options-list" })));
    byId("options-filter").addEventListener("input", () => this.show(this.state));
  },
  show(state) {
    this.state = state;
    const wanted = byId("options-filter")?.value.trim().toLowerCase() ?? "";
    const fits = (each) => `${each.flag ?? ""} ${each.name} ${each.owner ?? ""} ${each.help ?? ""}`.toLowerCase().includes(wanted);
    keep(byId("options-list"), state.options.filter(fits), (each) => each.name, optionRow, updateOption, "None fits.");
  },
};

export const graphView = {
  build(box) {
    box.replaceChildren(section("graph-view", "Which task needs which",
      make("div", { id: "graph", class: "scroll", role: "group", "aria-label": "Drawing", tabindex: 0 })));
  },
  show(state) {
    const shape = JSON.stringify(state.tasks.map((task) => [task.name, task.state, task.depends_on]));
    const box = byId("graph");
    if (box.dataset.shape === shape) return;
    box.dataset.shape = shape;
    drawGraph(box, state.tasks);
  },
};

export const pluginsView = {
  build(box) {
    box.replaceChildren(section("plugins-view", "Plugins", make("div", { id: "plugins-list", class: "scroll", tabindex: 0 })),
      section("checks-view", "Checks", make("div", { id: "checks-list", class: "scroll", tabindex: 0 })),
      section("threads-view", "Threads", make("ul", { id: "threads-list", class: "plain names" })));
  },
  show(state) {
    const put = (id, found) => {
      const text = JSON.stringify(found);
      if (byId(id).dataset.shown === text) return;
      byId(id).dataset.shown = text;
      byId(id).replaceChildren(data(found));
    };
    put("plugins-list", state.plugins.map((each) => ({ Name: each.name, Distribution: each.distribution, Version: each.version })));
    put("checks-list", Object.fromEntries(Object.entries(state.checks).map(([name, why]) => [name, why || "well"])));
    keep(byId("threads-list"), state.threads, (each, index) => `${index} ${each}`, (each) => make("li", null, each));
  },
};

// What each of several copies has done, by task, and the sum.
function figures(found) {
  const copies = found.filter((each) => each.figures);
  if (!copies.length) return [];
  const names = [...new Set(copies.flatMap((each) => Object.keys(each.figures)))];
  const row = (title, value) => ({ Copy: title, ...Object.fromEntries(names.map((name) => [name, value(name)])) });
  const sum = (name) => copies.reduce((total, each) => total + (each.figures[name] ?? 0), 0);
  return [make("h3", null, "Work done"), data([...copies.map((each) => row(`${each.number}`, (name) => each.figures[name] ?? 0)), row("sum", sum)])];
}

export const instancesView = {
  build(box) {
    box.replaceChildren(section("instances-view", "Instances", make("p", { id: "instances-sum", class: "muted" }), make("ul", { id: "instances-list", class: "tiles" }), make("div", { id: "instances-figures", class: "scroll", tabindex: 0 })));
    this.look();
  },
  async look() {
    clearTimeout(this.timer);
    const answer = await fetch("peers.json", { cache: "no-store" }).catch(() => null);
    const list = byId("instances-list");
    if (!list) return;
    if (answer?.ok) {
      const found = await answer.json();
      const ready = found.filter((each) => each.ready).length;
      say(byId("instances-sum"), `${ready} of ${found.length} ready`);
      byId("instances-figures").replaceChildren(...figures(found));
      keep(list, found, (each) => each.url || `copy ${each.number ?? ""} ${each.pid ?? ""}`, (each) => make("li", { class: "card tile" },
        make("div", { class: "line" }, make("a", { class: "grow", href: each.url || (each.number ? `?copy=${each.number}#overview` : "#overview") }, each.url || (each.number ? `copy ${each.number}` : "this instance")), make("span", { class: "badge" })),
        make("small")), (node, each) => {
        badge(node.querySelector(".badge"), each.error ? "DEAD" : each.status);
        const tasks = Object.entries(each.tasks ?? {}).map(([state, count]) => `${count} ${state}`).join(", ");
        say(node.querySelector("small"), each.error || `${each.name} ${each.version ?? ""}, pid ${each.pid}, up ${span(each.uptime)}; ${tasks}; warnings: ${each.warnings} ${each.status_details}`);
      });
    }
    this.timer = setTimeout(() => this.look(), 3000);
  },
  leave() {
    clearTimeout(this.timer);
  },
  show() {},
};
