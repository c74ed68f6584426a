// The controls: who may use them, and what they ask of the service.

import { byId, say } from "./dom.js";

let guard = ""; // "token", "socket" or nothing, as the server says
let token = ""; // kept in memory alone: a page that is loaded again asks for it again
let unlocked = false;
let changed = () => {};

export function mayAct() {
  return unlocked;
}

export function onChange(call) {
  changed = call;
}

// Ask for something; gives the server's message, or throws an Error of it.
export async function ask(action, body = {}) {
  const headers = { "Content-Type": "application/json", "X-Sparts-Control": "1" };
  if (token) headers.Authorization = `Bearer ${encode(token)}`;
  const copy = Number(document.body.dataset.copy) || undefined; // whose numbers the body has
  let answer;
  try {
    answer = await fetch(`control/${action}`, { method: "POST", headers, body: JSON.stringify({ copy, ...body }), cache: "no-store" });
  } catch {
    throw new Error("The service did not answer.");
  }
  const found = await answer.json().catch(() => ({ message: `The service answered ${answer.status}.` }));
  if (answer.status === 401) lock();
  if (!answer.ok) throw new Error(found.message);
  return found.message;
}

// Headers take bytes: a token that is not ASCII is sent as UTF-8, as curl does.
function encode(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

export function tell(message, failed = false) {
  const outcome = byId("outcome");
  say(outcome, message);
  outcome.className = failed ? "problem" : "done";
}

export function setGuard(found) {
  guard = found;
  byId("controls").hidden = !guard;
  unlocked = guard === "socket" || (guard === "token" && unlocked);
  show();
}

function lock() {
  token = "";
  unlocked = guard === "socket";
  show();
}

function show() {
  byId("unlock").hidden = unlocked;
  byId("actions").hidden = !unlocked;
  byId("lock").hidden = guard !== "token";
  changed();
}

async function unlock(event) {
  event.preventDefault();
  token = byId("token").value.trim();
  try {
    tell(await ask("verify"));
    unlocked = true;
    byId("token").value = "";
    show();
    byId("restart").focus();
  } catch (error) {
    lock();
    tell(error.message, true);
    byId("token").select();
  }
}

// Ask for something, and show what comes of it.
export async function act(action, body) {
  try {
    tell(await ask(action, body));
  } catch (error) {
    tell(error.message, true);
  }
}

export function confirmed(question, yes) {
  const dialog = byId("confirm");
  say(byId("confirm-text"), question);
  say(byId("confirm-yes"), yes);
  dialog.returnValue = "";
  dialog.showModal();
  byId("confirm-no").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

async function end(action, question, yes) {
  if (await confirmed(question, yes)) await act(action);
}

export function connectControls() {
  byId("unlock").addEventListener("submit", unlock);
  byId("lock").addEventListener("click", () => {
    lock();
    tell("");
    byId("token").focus();
  });
  byId("drain").addEventListener("click", () => end("drain", "Report not ready, finish what has begun, and shut down?", "Drain"));
  byId("restart").addEventListener("click", () => end("restart", "Stop all tasks and start the service again?", "Restart"));
  byId("shutdown").addEventListener("click", () => end("shutdown", "Shut the service down? This page cannot start it again.", "Shut down"));
}
