// The pages work without this file. It updates a page while it is open, and adds keys.
// It never polls: the farm reports events on /api/v1/events, and the page then fetches itself once.
"use strict";

const main = () => document.querySelector("main");
const log = (within = document) => within.querySelector(".log[data-follow]");
const showStatus = (text) => { document.querySelector(".live").textContent = text; };

// Updates the page. One fetch at a time, and one more if events came in the meantime.
let fetching = false, again = false;
async function refresh() {
  if (fetching) { again = true; return; }
  fetching = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.ok) replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch { /* The event stream shows when the farm is back. */ }
  fetching = false;
  if (again) { again = false; setTimeout(refresh, 400); }
}

// Replaces this page by a fresh one and keeps what the reader did: scrolling, open details, the selected link.
function replace(page) {
  const fresh = page.querySelector("main"), old = main();
  if (!fresh) return;
  document.title = page.title;
  const problems = page.querySelector(".problems");
  document.querySelector(".problems")?.remove();
  if (problems) document.querySelector("header").append(document.adoptNode(problems));

  const opened = [...old.querySelectorAll("details[open]")].map((details) => details.id);
  const selected = old.querySelector(".here")?.getAttribute("href");
  const focused = old.contains(document.activeElement);
  const { scrollLeft = 0, scrollTop = 0 } = old.querySelector(".scroller") ?? {};
  // A live log already has more lines than the fresh page: it stays, and so does its stream.
  const followed = log(old), same = followed && step(log(fresh)) === step(followed);
  document.adoptNode(fresh);
  if (same) log(fresh).replaceWith(followed);
  old.replaceWith(fresh);
  if (!same) follow();
  for (const id of opened) if (id) document.getElementById(id)?.setAttribute("open", "");
  fresh.querySelector(".scroller")?.scrollTo(scrollLeft, scrollTop);
  if (selected) {
    at = failures().findIndex((link) => link.getAttribute("href") === selected);
    if (at >= 0) select(failures()[at], focused);
  }
}
const step = (log) => log?.dataset.follow.split("?")[0];

if (main().dataset.live) {
  const events = new EventSource("/api/v1/events");
  let due = 0;
  events.addEventListener("open", () => showStatus("live"));
  events.addEventListener("error", () => showStatus("not live: the farm does not answer"));
  events.addEventListener("journal", (event) => {
    const { topic, subject } = JSON.parse(event.data);
    if (main().dataset.live !== "all" && main().dataset.live !== `${topic} ${subject}`) return;
    // A fetch that is due includes later events; they do not postpone it, or the page of a busy farm would never update.
    due ||= setTimeout(() => { due = 0; refresh(); }, 300);
  });
}

// A live log. Lines come as pieces of class and text: text is set as text, never as markup.
let tail = null;
function follow() {
  tail?.close();
  tail = null;
  if (!log()) return;
  tail = new EventSource(log().dataset.follow);
  tail.addEventListener("lines", (event) => {
    const target = log();
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
    const span = document.createElement("span");
    span.className = piece.class;
    span.textContent = piece.text;
    text.append(span);
  }
  div.append(number, text);
  return div;
}
follow();

// Keys: j and k walk through the failures, Enter opens one, ? shows help. A chip is reached by the first link of its line.
let at = -1;
function failures() {
  const marks = [...main().querySelectorAll(":is(a, .chip):is(.new, .still, .broken)")];
  const links = marks.map((mark) => mark.localName === "a" ? mark : mark.closest("tr, li")?.querySelector("a"));
  return [...new Set(links)].filter(Boolean);
}
function select(link, focus) {
  document.querySelector(".here")?.classList.remove("here");
  link.classList.add("here");
  if (focus) link.focus({ preventScroll: true });
}
function walk(by) {
  const links = failures();
  if (links.length === 0) return;
  at = Math.max(0, Math.min(links.length - 1, at + by));
  select(links[at], true);
  links[at].scrollIntoView({ block: "center", inline: "nearest" });
}
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  const help = document.getElementById("keys");
  if (event.key === "?") help.open ? help.close() : help.showModal();
  else if (help.open) return;
  else if (event.key === "j") walk(1);
  else if (event.key === "k") walk(-1);
  else if (event.key === "w") location.assign("/waterfall");
  else if (event.key === "b") location.assign("/breakages");
});
