// The pages are whole without this file. It keeps a page fresh while it is looked at, and gives keys to readers.
// It never polls: the farm says on /api/v1/events that something happened, and the page fetches itself once.
"use strict";

const main = () => document.querySelector("main");
const say = (text) => { document.querySelector(".live").textContent = text; };

// Fresh contents. One fetch at a time, and one more when events came meanwhile.
let fetching = false, again = false;
async function refresh() {
  if (fetching) { again = true; return; }
  fetching = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.ok) {
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
      if (fresh && fresh.outerHTML !== main().outerHTML) {
        const open = [...main().querySelectorAll("details[open]")].map((d) => d.id);
        main().replaceWith(document.adoptNode(fresh));
        for (const id of open) if (id) document.getElementById(id)?.setAttribute("open", "");
        follow();
      }
    }
  } catch { /* The stream tells when the farm is back. */ }
  fetching = false;
  if (again) { again = false; setTimeout(refresh, 400); }
}

if (main().dataset.live) {
  const events = new EventSource("/api/v1/events");
  let soon = 0;
  events.addEventListener("open", () => say("live"));
  events.addEventListener("error", () => say("not live: the farm does not answer"));
  events.addEventListener("journal", (event) => {
    const { topic, subject } = JSON.parse(event.data);
    if (main().dataset.live !== "all" && main().dataset.live !== `${topic} ${subject}`) return;
    clearTimeout(soon);
    soon = setTimeout(refresh, 300);
  });
}

// A log that grows. Lines come as pieces of [class, text]: text is set as text, never as markup.
let tail = null;
function follow() {
  const log = document.querySelector(".log[data-follow]");
  tail?.close();
  tail = null;
  if (!log) return;
  tail = new EventSource(log.dataset.follow);
  tail.addEventListener("lines", (event) => {
    const target = document.querySelector(".log[data-follow]");
    if (!target) return;
    const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 80;
    for (const line of JSON.parse(event.data).lines) target.append(row(line));
    while (target.childElementCount > 5000) target.firstElementChild.remove();
    if (atEnd) scrollTo(scrollX, document.documentElement.scrollHeight);
  });
  tail.addEventListener("end", () => { tail.close(); refresh(); });
}
function row(line) {
  const div = document.createElement("div"), number = document.createElement("a"), text = document.createElement("span");
  div.className = "l";
  div.id = "L" + line.number;
  number.href = "#" + div.id;
  number.textContent = line.number;
  for (const piece of line.pieces) {
    const span = document.createElement(piece.class.includes("ctl") ? "i" : "span");
    span.className = piece.class;
    span.textContent = piece.text;
    text.append(span);
  }
  div.append(number, text);
  return div;
}
follow();

// Keys: j and k walk the red, o opens, ? explains.
let at = -1;
function walk(by) {
  const red = [...document.querySelectorAll("main a.new, main a.still, main a.broken, main tr.bad a, main .log .bad > a")];
  if (red.length === 0) return;
  at = Math.max(0, Math.min(red.length - 1, at + by));
  document.querySelector(".here")?.classList.remove("here");
  red[at].classList.add("here");
  red[at].focus({ preventScroll: true });
  red[at].scrollIntoView({ block: "center", inline: "nearest" });
}
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  const help = document.getElementById("keys");
  if (event.key === "j") walk(1);
  else if (event.key === "k") walk(-1);
  else if (event.key === "w") location.assign("/waterfall");
  else if (event.key === "b") location.assign("/breakages");
  else if (event.key === "?") help.open ? help.close() : help.showModal();
});
