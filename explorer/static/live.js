// Without this file every page works: it only renews what a page shows, and copies commands.
"use strict";

const state = document.getElementById("live-state");

// Asks for this very page again and takes over the parts that may change, by their ids. What holds
// the focus stays as it is, so that nobody is thrown out of a link or a scrolled table.
async function renew() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
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

// Until the page is left, which closes the stream; a browser that keeps the page shows it again as
// it was, with no stream.
let events = null;
function listen() {
  events = new EventSource("/events");
  events.addEventListener("open", () => {
    if (state.dataset.lost) changed();
    delete state.dataset.lost;
    state.textContent = "live";
  });
  events.addEventListener("error", (event) => {
    state.dataset.lost = "1";
    state.textContent = "not live: the explorer does not answer";
    // what is refused with an answer, a browser does not ask for again
    if (event.target.readyState === EventSource.CLOSED && event.target === events) later();
  });
  events.addEventListener("changed", changed);
}

let waits = 0;
function later() {
  clearTimeout(waits);
  waits = setTimeout(listen, 5000);
}

addEventListener("pagehide", () => {
  clearTimeout(waits);
  events.close();
  state.dataset.lost = "1";
});
addEventListener("pageshow", (event) => {
  if (event.persisted) listen();
});
listen();

for (const box of document.querySelectorAll(".command")) {
  if (!navigator.clipboard) break;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(box.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  box.append(button);
}
