// An option: its value, where that came from, and for who may, a form that changes it.

import { make, say } from "./dom.js";
import { ask, mayAct, tell } from "./controls.js";

const EFFECT = { false: " (Fixed while the service runs.)", restart: " (A change takes effect when the service restarts.)" };

export function optionRow(option) {
  const change = make("button", { type: "button", class: "small change", "aria-label": `Change ${option.flag}` }, "Change");
  const node = make("li", { class: "option", "data-option": option.name },
    make("code", null, option.flag ?? option.name), make("span", { class: "value mono" }),
    make("span", { class: "source" }), change, make("small"));
  change.addEventListener("click", () => edit(node));
  return node;
}

export function updateOption(node, option) {
  node.option = option;
  say(node.querySelector(".value"), option.value === "" ? "\u2013" : option.value);
  say(node.querySelector(".source"), option.source ?? "");
  say(node.querySelector("small"), option.help + (mayAct() && EFFECT[option.reloadable] || ""));
  node.querySelector(".change").hidden = !mayAct() || !option.reloadable;
  if (!mayAct()) node.querySelector(".edit")?.remove();
}
function field(option, id) {
  if (option.choices) {
    const choices = option.choices.map((each) => make("option", { selected: each === option.value }, each));
    return make("select", { id }, ...choices);
  }
  const kind = option.secret ? "password" : "text";
  const input = make("input", { id, type: kind, autocomplete: "off", spellcheck: "false" });
  input.value = option.secret ? "" : option.value;
  return input;
}

function edit(node) {
  if (node.querySelector(".edit")) return;
  const { option } = node;
  const input = field(option, `edit-${option.name}`);
  const problem = make("span", { class: "problem", role: "alert" });
  const close = () => {
    form.remove();
    node.querySelector(".change").focus();
  };
  const form = make("form", { class: "edit row", autocomplete: "off", on: { submit: save } },
    make("label", { for: input.id }, `New value of ${option.flag}`), input,
    make("button", { type: "submit", class: "small" }, "Set"),
    make("button", { type: "button", class: "small", on: { click: close } }, "Cancel"), problem);
  async function save(event) {
    event.preventDefault();
    try {
      tell(await ask("option", { name: option.name, value: input.value === "" ? null : input.value }));
      close();
    } catch (error) {
      say(problem, error.message);
      input.setAttribute("aria-invalid", "true");
      input.focus();
    }
  }
  form.addEventListener("keydown", (event) => event.key === "Escape" && close());
  node.append(form);
  input.focus();
}
