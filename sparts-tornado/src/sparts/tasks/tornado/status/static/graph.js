// Which task needs which, as a drawing. The list of tasks says the same in words.

import { svg, tone } from "./dom.js";

const HEIGHT = 40;
const ROW = 56;
const BETWEEN = 56;

// A task stands one column to the right of the last that it needs.
function columns(tasks) {
  const byName = new Map(tasks.map((task) => [task.name, task]));
  const depth = new Map();
  const depthOf = (name, path) => {
    if (depth.has(name)) return depth.get(name);
    if (path.has(name)) return 0;
    const needs = (byName.get(name)?.depends_on ?? []).filter((need) => byName.has(need));
    const found = needs.length ? 1 + Math.max(...needs.map((need) => depthOf(need, new Set([...path, name])))) : 0;
    depth.set(name, found);
    return found;
  };
  const found = [];
  for (const task of tasks) (found[depthOf(task.name, new Set())] ??= []).push(task);
  return found;
}

export function drawGraph(box, tasks) {
  const places = new Map();
  let x = 1;
  let rows = 0;
  for (const column of columns(tasks)) {
    const width = Math.max(72, ...column.map((task) => task.name.length * 7.6 + 24));
    column.forEach((task, row) => places.set(task.name, { x, y: 1 + row * ROW, width, task }));
    x += width + BETWEEN;
    rows = Math.max(rows, column.length);
  }
  const size = { width: Math.max(1, x - BETWEEN + 1), height: Math.max(1, rows * ROW - (ROW - HEIGHT) + 2) };
  const drawing = svg("svg", { class: "graph", viewBox: `0 0 ${size.width} ${size.height}`, ...size,
    role: "img", "aria-label": `Tasks: ${tasks.length}; an arrow leads from a task to what it needs. The list of tasks says the same.` },
    svg("defs", null, svg("marker", { id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7,
      orient: "auto-start-reverse" }, svg("path", { d: "M0 0L8 4L0 8z" }))));
  for (const { x: right, y, task } of places.values()) {
    for (const need of task.depends_on) {
      const to = places.get(need);
      if (!to) continue;
      const [x1, y1, x2, y2] = [right, y + HEIGHT / 2, to.x + to.width + 2, to.y + HEIGHT / 2];
      const bend = Math.min(BETWEEN, x1 - x2) / 2;
      drawing.append(svg("path", { d: `M${x1} ${y1}C${x1 - bend} ${y1} ${x2 + bend} ${y2} ${x2} ${y2}`, "marker-end": "url(#tip)" }));
    }
  }
  for (const { x: left, y, width, task } of places.values()) {
    drawing.append(svg("g", { class: tone(task.state), transform: `translate(${left} ${y})` },
      svg("rect", { width, height: HEIGHT, rx: 7 }),
      svg("text", { x: 12, y: 17 }, task.name),
      svg("text", { x: 12, y: 32, class: "state" }, task.state)));
  }
  box.replaceChildren(drawing);
}
