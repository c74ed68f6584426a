// The page: it listens to what the service tells, and shows it.

import { badge, byId, keep, make, say, span, tone } from "./dom.js";
import * as plots from "./plots.js";
import * as options from "./options.js";
import * as controls from "./controls.js";
import { drawGraph } from "./graph.js";
import { addLines, filter } from "./log.js";

const RETRY = 2000; // milliseconds until a refused connection is tried again

const state = {}; // the sections, as last told
let source = null;
let fresh = true; // whether the stream has just begun, which then tells everything
let paused = false;

// -- what is shown -------------------------------------------------------------------------------

function showService() {
  const { service } = state;
  document.title = `${service.status} \u00b7 ${service.name}`;
  say(byId("name"), service.name);
  const version = service.version ? `Version ${service.version}, ` : "";
  say(byId("about"), `${version}process ${service.pid} on ${service.host}, Python ${service.python}`);
  const shown = byId("state");
  if (shown.textContent !== service.status) badge(shown, service.status);
  say(byId("details"), service.status_details);
}

function showFacts() {
  const { service, tasks, threads, now } = state;
  const alive = tasks.filter((task) => tone(task.state) === "good").length;
  const facts = [
    ["Uptime", span(Math.max(0, now - service.start_time))],
    ["Ready", service.ready ? "yes" : "no"],
    ["Healthy", service.healthy ? "yes" : "no"],
    ["Tasks", `${alive} of ${tasks.length} alive`],
    ["Threads", threads.length],
  ];
  keep(byId("facts-list"), facts, ([name]) => name,
    ([name]) => make("li", { "data-fact": name }, make("span", null, name), make("b")),
    (node, [, value]) => say(node.querySelector("b"), value));
}

function taskRow(task) {
  const run = make("button", { type: "button", class: "small run", "aria-label": `Run ${task.name} now` }, "Run now");
  run.addEventListener("click", async () => {
    try {
      controls.tell(await controls.ask("run", { task: task.name }));
    } catch (error) {
      controls.tell(error.message, true);
    }
  });
  return make("li", { "data-task": task.name },
    make("div", { class: "line" }, make("b", { class: "grow" }, task.name), run, make("span", { class: "badge" })),
    make("small", { class: "needs" }), make("small", { class: "problem" }));
}

function showTasks() {
  keep(byId("tasks-list"), state.tasks, (task) => task.name, taskRow, (node, task) => {
    badge(node.querySelector(".badge"), task.state);
    const threads = ["no thread of its own", "1 thread"][task.threads.length] ?? `${task.threads.length} threads`;
    const needs = task.depends_on.length ? `, needs ${task.depends_on.join(", ")}` : "";
    const waiting = task.ready || task.state !== "ALIVE" ? "" : ", not ready";
    say(node.querySelector(".needs"), threads + needs + waiting);
    say(node.querySelector(".problem"), task.problem);
    node.querySelector(".run").hidden = !(controls.mayAct() && task.runs);
  }, "None.");
  const shape = JSON.stringify(state.tasks.map((task) => [task.name, task.state, task.depends_on]));
  if (byId("graph").dataset.shape !== shape) {
    byId("graph").dataset.shape = shape;
    drawGraph(byId("graph"), state.tasks);
  }
}

function showWarnings() {
  const found = Object.entries(state.warnings);
  byId("warnings").hidden = !found.length;
  keep(byId("warnings-list"), found, ([id]) => id, ([, text]) => make("li", null, text));
}

function pairs(list, found, none, problemOf = () => false) {
  keep(byId(list), found, ([name]) => name,
    ([name]) => make("li", null, make("div", { class: "line" }, make("b", { class: "grow" }, name), make("span"))),
    (node, [name, text]) => {
      const shown = node.querySelector("span");
      say(shown, text);
      shown.className = problemOf(name) ? "problem" : "";
    }, none);
}

function showRest() {
  const { checks, exported_values: exported, plugins, threads } = state;
  pairs("checks-list", Object.entries(checks).map(([name, why]) => [name, why || "well"]), "None.", (name) => checks[name]);
  pairs("exported-list", Object.entries(exported), "None.");
  pairs("plugins-list", plugins.map((each) => [each.name, `${each.distribution} ${each.version}`]), "None.");
  keep(byId("threads-list"), threads, (name, index) => `${index} ${name}`, (name) => make("li", null, name));
}

function show(found) {
  Object.assign(state, found);
  if (found.counters) plots.define(found.counters);
  if (found.history) plots.recall(found.history);
  plots.add(state.now, state.values);
  if (found.service) showService();
  if (found.tasks) showTasks();
  if (found.warnings) showWarnings();
  if (found.options) options.define(found.options);
  if (found.checks || found.exported_values || found.plugins || found.threads) showRest();
  showFacts();
  plots.show();
}

// -- the stream ----------------------------------------------------------------------------------

function showLive(kind, text) {
  const node = byId("live");
  node.className = `live ${kind}`;
  say(node, text);
}

function open() {
  if (source || paused || document.hidden) return;
  source = new EventSource("events");
  source.addEventListener("open", () => {
    fresh = true;
  });
  source.addEventListener("guard", (event) => controls.setGuard(JSON.parse(event.data)));
  source.addEventListener("log", (event) => {
    addLines(JSON.parse(event.data), fresh);
    fresh = false;
  });
  source.addEventListener("message", (event) => {
    show(JSON.parse(event.data));
    showLive("on", "Live");
  });
  source.addEventListener("error", () => {
    showLive("off", "The service does not answer. Trying again \u2026");
    if (source?.readyState === EventSource.CLOSED) {
      close();
      setTimeout(open, RETRY);
    }
  });
}

function close() {
  source?.close();
  source = null;
}

byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  if (paused) {
    close();
    showLive("", "Paused");
  } else {
    open();
  }
});
document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
byId("counters-filter").addEventListener("input", plots.layOut);
byId("options-filter").addEventListener("input", options.layOut);
byId("log-level").addEventListener("change", filter);
controls.connectControls();
controls.onChange(() => {
  if (!state.tasks) return;
  showTasks();
  options.layOut();
});
open();
