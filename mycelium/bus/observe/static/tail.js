// The live tail: a bounded sample of what is published, only while somebody watches it.

import { $, el, write } from "./dom.js";
import { count, size } from "./figures.js";

const MOST = 200;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" });
const hint = $("tail-hint").textContent;
let source = null;
let skipped = 0;
let types = "";

$("tail-go").addEventListener("click", () => (source ? stop("Paused.") : start()));
$("tail-clear").addEventListener("click", () => { $("tail-lines").replaceChildren(); skipped = 0; say(source ? "Watching." : hint); });
$("tail-type").addEventListener("change", () => { if (source) start(); });
$("tail-text").addEventListener("input", filter);
document.addEventListener("visibilitychange", () => { if (document.hidden && source) stop("Paused, since this page was out of sight."); });

/** Offer the types of the contracts in force. */
export function offer(names) {
  if (names.join() === types) return;
  types = names.join();
  const chosen = $("tail-type").value;
  $("tail-type").replaceChildren(el("option", { value: "" }, "all types"), ...names.map((name) => el("option", { value: name }, name)));
  if (names.includes(chosen)) $("tail-type").value = chosen;
}

function start() {
  source?.close();
  const type = $("tail-type").value;
  source = new EventSource(`page/tail${type ? `?type=${encodeURIComponent(type)}` : ""}`);
  source.addEventListener("messages", (event) => show(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    if (source?.readyState === EventSource.CLOSED) stop("The bridge does not let anybody else watch; close another page that does, and try again.");
    else say("The connection is gone; trying again.");
  });
  source.addEventListener("open", () => say("Watching."));
  write($("tail-go"), "Pause");
}

function stop(why) {
  source?.close();
  source = null;
  write($("tail-go"), "Watch");
  say(why);
}

function say(text) {
  write($("tail-hint"), skipped ? `${text} ${count(skipped)} more were published than shown.` : text);
}

function show({ items, skipped: more }) {
  const lines = $("tail-lines");
  skipped += more;
  say("Watching.");
  const made = items.map(line);
  lines.prepend(...made.reverse());
  while (lines.childElementCount > MOST) lines.lastElementChild.remove();
  filter();
}

function line(item) {
  const values = item.values === null
    ? el("span", { class: "withheld" }, item.withheld)
    : el("span", { class: "values" }, item.values);
  return el("li", {},
    el("time", { datetime: new Date(item.at * 1000).toISOString() }, clock.format(item.at * 1000)),
    el("span", { class: "type" }, item.type),
    el("span", { class: "from", title: item.from }, item.from),
    el("span", { class: "size" }, item.size === null ? "" : size(item.size)),
    values);
}

function filter() {
  const wanted = $("tail-text").value.toLowerCase();
  for (const each of $("tail-lines").children) each.hidden = Boolean(wanted) && !each.textContent.toLowerCase().includes(wanted);
}
