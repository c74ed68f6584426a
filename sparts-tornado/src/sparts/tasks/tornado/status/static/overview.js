// The first view: headline, warnings, and a tile for each task.

import { byId, badge, clock, keep, make, number, say, tone } from "./dom.js";
import { act, mayAct } from "./controls.js";
import * as plots from "./plots.js";

const FIGURES = [["throughput", "Throughput", "/s"], ["latency", "Latency", " ms"], ["errors", "Errors", "/s"]];

export function build(box) {
  box.replaceChildren(
    make("section", { class: "figures", "aria-label": "Headline" },
      ...FIGURES.map(([kind, title]) => make("div", { class: "card figure", "data-figure": kind },
        make("h2", null, title), make("b", null, "\u2013"), plots.plot(`${title} in the last hour`)))),
    make("section", { class: "card", id: "warnings", "aria-labelledby": "warnings-title", hidden: true },
      make("h2", { id: "warnings-title" }, "Warnings"), make("ul", { class: "plain", id: "warnings-list" })),
    make("section", { "aria-labelledby": "tasks-title" },
      make("h2", { id: "tasks-title", class: "head" }, "Tasks"), make("ul", { class: "tiles", id: "tiles" })),
    make("section", { class: "card", id: "exported", "aria-labelledby": "exported-title", hidden: true },
      make("h2", { id: "exported-title" }, "Exported values"), make("ul", { class: "plain", id: "exported-list" })));
}

function tile(task) {
  return make("li", { class: "card tile", "data-task": task.name },
    make("div", { class: "line" },
      make("a", { class: "grow", href: `#task/${encodeURIComponent(task.name)}` }, task.name), make("span", { class: "badge" })),
    make("div", { class: "line" }, make("span", { class: "muted label" }), make("b")), plots.plot(), make("small", { class: "problem" }));
}

function warning({ id }) {
  const button = make("button", { type: "button", class: "small", "aria-label": "Dismiss this warning" }, "Dismiss");
  button.addEventListener("click", () => act("dismiss", { warning: id }));
  return make("li", { class: "line" }, make("time", { class: "muted" }), make("span", { class: "grow" }), button);
}

export function show(state) {
  for (const [kind, title, unit] of FIGURES) {
    const node = document.querySelector(`[data-figure=${kind}]`);
    const now = plots.last(kind);
    say(node.querySelector("b"), now === null ? "\u2013" : number(now) + unit);
    plots.draw(node.querySelector(".plot"), kind);
    node.classList.toggle("bad", kind === "errors" && now > 0);
  }
  byId("warnings").hidden = !state.warnings.length;
  keep(byId("warnings-list"), state.warnings, (each) => each.id, warning, (node, each) => {
    say(node.querySelector("time"), clock(each.time));
    say(node.querySelector("span"), each.text);
    node.querySelector("button").hidden = !mayAct();
  });
  const byKey = new Map(plots.all().map((each) => [each.key, each]));
  keep(byId("tiles"), state.tasks, (task) => task.name, tile, (node, task) => {
    badge(node.querySelector(".badge"), task.paused ? "PAUSED" : task.state);
    node.dataset.tone = tone(task.state);
    const counter = byKey.get(task.key);
    const told = counter && plots.spoken(counter);
    say(node.querySelector(".label"), counter ? counter.name : task.kind);
    say(node.querySelector("b"), told ? told.pace || told.text : "");
    node.querySelector(".plot").toggleAttribute("hidden", !counter);
    if (counter) plots.draw(node.querySelector(".plot"), counter.key);
    say(node.querySelector(".problem"), task.problem || (task.ready || task.state !== "ALIVE" ? "" : "not ready"));
  }, "No tasks.");
  const exported = Object.entries(state.exported_values);
  byId("exported").hidden = !exported.length;
  keep(byId("exported-list"), exported, ([name]) => name,
    ([name]) => make("li", { class: "line" }, make("b", { class: "grow" }, name), make("span")),
    (node, [, text]) => say(node.querySelector("span"), text));
}
