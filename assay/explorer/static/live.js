// Without this file every page works: it only renews what a page shows, and copies commands and
// digests.
"use strict";

const state = document.getElementById("live-state");

// Asks for this very page again and takes over the parts that may change, by their ids. What holds
// the focus stays as it is, so that nobody is thrown out of a link or a scrolled table.
async function renew() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  decorate(fresh);
  for (const part of document.querySelectorAll("[data-live][id]")) {
    const other = fresh.getElementById(part.id);
    if (!other) continue;
    const open = [...part.querySelectorAll("details")].map((one) => one.open);
    other.querySelectorAll("details").forEach((one, i) => { one.open = open[i] || false; });
    if (part.contains(document.activeElement) || part.innerHTML === other.innerHTML) continue;
    const scrolled = [...part.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
    part.replaceWith(document.importNode(other, true));
    document.getElementById(part.id).querySelectorAll(".scroll").forEach((box, i) => {
      box.scrollLeft = scrolled[i] || 0;
    });
  }
  document.dispatchEvent(new CustomEvent("renewed", { detail: fresh }));
}

let busy = false;
let again = false;
async function changed() {
  again = true;
  if (busy) return;
  busy = true;
  while (again) {
    again = false;
    try {
      await renew();
    } catch {
      // the next event asks once more
    }
  }
  busy = false;
}

// While the page is seen: a browser has few connections to one server, and one that waits behind
// another tab would take one of them.
let events = null;
function listen() {
  rest();
  events = new EventSource("/events");
  events.addEventListener("open", () => {
    if (state.dataset.lost) changed();
    delete state.dataset.lost;
    state.textContent = "live";
  });
  events.addEventListener("error", (event) => {
    state.dataset.lost = "1";
    if (event.target !== events) return;
    // what is refused with an answer, a browser does not ask for again
    if (event.target.readyState === EventSource.CLOSED) later();
    explain(event.target);
  });
  events.addEventListener("changed", changed);
}

// A stream does not say why it was refused: the answer to HEAD does.
async function explain(refused) {
  let reason = null;
  try {
    const answer = await fetch("/events", { method: "HEAD", cache: "no-store" });
    reason = answer.headers.get("x-reason") || (answer.ok ? "asking again" : answer.statusText);
  } catch {
    // nobody is there
  }
  if (refused !== events || !state.dataset.lost) return;
  state.textContent = `not live: ${reason || "the explorer does not answer"}`;
}

let waits = 0;
function later() {
  clearTimeout(waits);
  waits = setTimeout(listen, 5000);
}

function rest() {
  clearTimeout(waits);
  if (!events) return;
  events.close();
  events = null;
  state.dataset.lost = "1";
}

addEventListener("pagehide", rest);
addEventListener("pageshow", (event) => {
  if (event.persisted) listen();
});
document.addEventListener("visibilitychange", () => (document.hidden ? rest() : listen()));
if (!document.hidden) listen();

// The search box opens on a key, as in other tools; text that is being written keeps its keys.
document.addEventListener("keydown", (event) => {
  const box = document.querySelector(".find input");
  const writes = event.target.closest?.("input, select, textarea, [contenteditable]");
  if (event.key !== "/" || writes || event.ctrlKey || event.metaKey || event.altKey || !box) return;
  event.preventDefault();
  box.focus();
  box.select();
});

// A button beside every command and every digest, which copies the whole of it.
function decorate(root) {
  if (!navigator.clipboard) return;
  const page = root.ownerDocument || root;
  for (const one of root.querySelectorAll("[data-copy], .command pre")) {
    const button = page.createElement("button");
    const text = one.title || one.textContent;
    button.type = "button";
    button.className = "copy";
    button.dataset.text = text;
    if (one.tagName === "PRE") {
      button.textContent = "Copy";
    } else {
      button.setAttribute("aria-label", `Copy ${text.slice(0, 8)}…`);
    }
    if (one.tagName === "PRE" || one.classList.contains("whole")) {
      one.after(button);
      continue;
    }
    const box = page.createElement("span"); // the button stays on its line
    box.className = "once";
    one.replaceWith(box);
    box.append(one, button);
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.text);
  const [label, text] = [button.getAttribute("aria-label"), button.textContent];
  button.classList.add("done");
  if (label) button.setAttribute("aria-label", "Copied");
  else button.textContent = "Copied";
  setTimeout(() => {
    button.classList.remove("done");
    if (label) button.setAttribute("aria-label", label);
    else button.textContent = text;
  }, 2000);
});

decorate(document);
