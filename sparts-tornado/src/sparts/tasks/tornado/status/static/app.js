// The page: its stream, its header, and which view is shown.

import { badge, byId, clock, keep, make, say, span } from "./dom.js";
import * as controls from "./controls.js";
import * as overview from "./overview.js";
import * as plots from "./plots.js";
import * as task from "./task.js";
import { addLines } from "./log.js";
import { graphView, instancesView, logView, optionsView, pluginsView, stacksView } from "./views.js";

const RETRY = 2000; // milliseconds until a stream that the service has refused is tried again
const VIEWS = { overview, task, log: logView, stacks: stacksView, options: optionsView, graph: graphView, plugins: pluginsView, instances: instancesView };

const state = {};
let source = null;
let paused = false;
let fresh = false; // whether the next log lines are the first of a stream
let view = null;

// -- what is seen --------------------------------------------------------------------------------

function showHeader() {
  const { service, now } = state;
  document.title = `${service.name}: ${service.status}`;
  say(byId("name"), service.name);
  badge(byId("state"), service.status);
  const ready = byId("ready");
  ready.hidden = false;
  say(ready, service.ready ? "ready" : "not ready");
  ready.className = `badge ${service.ready ? "good" : "bad"}`;
  const since = `since ${clock(service.status_since)}`;
  const facts = [since, `up ${span(now - service.start_time)}`, service.version && `version ${service.version}`, service.copy && `copy ${service.copy}`, `pid ${service.pid}`, service.host, `Python ${service.python}`];
  say(byId("about"), facts.filter(Boolean).join(" \u00b7 "));
  const reasons = service.not_ready;
  keep(byId("reasons"), reasons, (each) => each.what, () => make("li"),
    (node, each) => say(node, `${each.what}: ${each.why}${each.since ? ` (since ${clock(each.since)})` : ""}`));
  byId("instances-link").hidden = !service.peers;
  document.body.dataset.copy = service.copy ?? ""; // which copy tells all this
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch { // as somebody typed it
    return text;
  }
}

function route() {
  const [name, rest] = decoded(location.hash.slice(1)).split(/\/(.*)/s);
  const next = VIEWS[name] ? name : "overview";
  view?.leave?.();
  view = VIEWS[next];
  view.build(byId("view"), rest);
  byId("view").dataset.view = next;
  for (const link of document.querySelectorAll("#views a")) {
    if (link.hash === `#${next}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (state.tasks) view.show(state);
}

function show(found) {
  Object.assign(state, found);
  if (found.counters) plots.define(found.counters);
  if (found.history) plots.recall(found.history);
  plots.add(state.now, state.values, state.headline);
  showHeader();
  view.show(state);
}

// -- the stream ----------------------------------------------------------------------------------

function showLive(kind, text) {
  const node = byId("live");
  node.className = `live ${kind}`;
  say(node, text);
}

function open() {
  if (source || paused || document.hidden) return;
  const copy = new URLSearchParams(location.search).get("copy"); // of several: which to show
  source = new EventSource(copy ? `events?copy=${encodeURIComponent(copy)}` : "events");
  source.addEventListener("open", () => {
    fresh = true;
    plots.forget();
  });
  source.addEventListener("guard", (event) => controls.setGuard(JSON.parse(event.data)));
  source.addEventListener("log", (event) => {
    addLines(JSON.parse(event.data), fresh);
    fresh = false;
    if (state.tasks) view.show(state);
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
window.addEventListener("hashchange", () => {
  route();
  byId("main").focus();
  window.scrollTo(0, 0);
});
controls.connectControls();
controls.onChange(() => state.tasks && view.show(state));
route();
open();
