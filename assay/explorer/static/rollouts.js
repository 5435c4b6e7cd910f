// Keys of the rollout browser. Without this file every link of it works.
"use strict";

const KEYS = { j: 1, k: -1 };

document.addEventListener("keydown", (event) => {
  const writes = event.target.closest?.("input, select, textarea, [contenteditable]");
  if (writes || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in KEYS) {
    const rows = [...document.querySelectorAll("a.row")];
    const at = rows.indexOf(document.activeElement);
    const next = rows[at < 0 ? (KEYS[event.key] > 0 ? 0 : rows.length - 1) : at + KEYS[event.key]];
    if (!next) return;
    event.preventDefault();
    next.focus();
    next.scrollIntoView({ block: "nearest", inline: "nearest" });
    return;
  }
  if (event.key === "f") {
    const box = document.querySelector("form.search input[name=q]");
    if (!box) return;
    event.preventDefault();
    box.focus();
    box.select();
    return;
  }
  const ways = { n: "a[rel=next]", p: "a[rel=prev]", u: ".near a" };
  const link = event.key in ways && document.querySelector(ways[event.key]);
  if (link) link.click();
});

// The hint is for those who have the keys.
const hint = document.createElement("p");
hint.className = "note keys";
hint.textContent = document.querySelector("form.search input[name=q]")
  ? "Keys: j and k to the next and the previous rollout, Enter opens it, n and p turn the page, f searches."
  : "Keys: j and k to the next and the previous rollout, Enter opens it, n and p to the next and the previous group, u back to the list.";
document.getElementById("main").append(hint);
