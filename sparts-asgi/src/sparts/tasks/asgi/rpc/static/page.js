"use strict";
const base = location.pathname.replace(/[^/]*$/, "");
const root = location.pathname.endsWith("/") ? base : location.pathname + "/";
document.querySelector("a").href = root + "openapi.json";
for (const form of document.forms) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const output = form.parentElement.querySelector("output");
    output.className = "";
    output.textContent = "…";
    try {
      const response = await fetch(root + form.dataset.path, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: form.querySelector("textarea").value,
      });
      output.className = response.ok ? "" : "error";
      output.textContent = await response.text();
    } catch (error) {
      output.className = "error";
      output.textContent = String(error);
    }
  });
}
