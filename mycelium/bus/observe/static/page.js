// The bridge's page: one stream of states, one a second, laid out.

import { $, Rows, el, sparkline, svg, write } from "./dom.js";
import { Rates, age, count, lost, rate, reasons, size, sum } from "./figures.js";
import * as detail from "./detail.js";
import * as tail from "./tail.js";

const RETRY_MS = 5000;
const rates = new Rates();
let before = null;
let source = null;
let retry = 0;

// --- the stream ---

function open() {
  clearTimeout(retry);
  source?.close();
  source = new EventSource("page/state");
  source.addEventListener("state", (event) => { show(JSON.parse(event.data)); });
  source.addEventListener("error", () => {
    document.body.dataset.stale = "";
    if (source.readyState === EventSource.CLOSED) {
      live("lost", "refused, too many pages are open");
      retry = setTimeout(open, RETRY_MS);
    } else {
      live("lost", "bridge away");
    }
  });
}

function live(state, text) {
  $("live").dataset.state = state;
  write($("live").querySelector(".text"), text);
  if (state === "live" || state === "ill") delete document.body.dataset.stale;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) { clearTimeout(retry); source?.close(); live("waiting", "paused"); } else open();
});

function show(state) {
  const same = before && before.bridge.began_at === state.bridge.began_at;
  rates.begin(same ? state.clock_s - before.clock_s : null);
  before = state;
  header(state.bridge);
  contracts(state);
  figures(state);
  messages(state);
  connections(state.connections);
  tail.offer(state.types);
}

// --- head ---

function header(bridge) {
  const [problem] = bridge.problems;
  live(problem ? "ill" : "live", problem ?? "live");
  document.title = `${bridge.name} · mycelium`;
  write(document.querySelector("h1"), bridge.name);
  write($("facts"), [`mycelium ${bridge.version}`, `${bridge.implementation === "cpython" ? "Python" : bridge.implementation} ${bridge.python} on ${bridge.loop}`, `pid ${bridge.pid}`, `up ${age(bridge.up_s)}`, ...bridge.listen].join(" · "));
}

function contracts({ schema, types }) {
  const { reload } = schema;
  $("schema").classList.toggle("bad", !schema.is_good);
  write($("schema").querySelector("strong"), `Contracts 0x${schema.id.toString(16).padStart(8, "0")}, version ${schema.version}`);
  write($("schema-facts"), `${count(types.length)} messages · digest ${schema.digest.slice(0, 12)} · ${schema.source}`);
  write($("schema-verdict"), reload ? verdict(schema, reload) : "");
  const told = schema.is_good ? [] : [...reload.reasons, ...(reload.more ? [`and ${count(reload.more)} more reasons`] : [])];
  const list = $("schema-reasons");
  list.hidden = !told.length;
  if (list.childElementCount !== told.length || [...list.children].some((each, at) => each.textContent !== told[at])) {
    list.replaceChildren(...told.map((reason) => el("li", {}, reason)));
  }
}

function verdict(schema, reload) {
  const when = `${age(reload.ago_s)} ago`;
  if (!schema.is_good) return `The last edit is not applied: ${reload.outcome}, ${when}`;
  return reload.outcome === "applied" ? `applied ${when}` : `found unchanged ${when}`;
}

// --- figures ---

const FIGURES = [
  { label: "In", value: (s, r) => [rate(r.in), "/s"], under: (s) => `${count(s.totals.published)} in all`, line: ["in", "in"] },
  { label: "Out", value: (s, r) => [rate(r.out), "/s"], under: (s) => `${count(s.totals.delivered)} delivered`, line: ["out", "out"] },
  { label: "Dropped", value: (s, r) => [rate(r.dropped), "/s"], under: (s) => reasons(s.totals.dropped) || "nothing yet", line: ["dropped", "bad"], alert: (s, r) => r.lost > 0 },
  { label: "Waiting", value: (s) => [count(s.totals.queued), ""], under: (s) => `${count(s.totals.in_flight)} with clients`, line: ["queued", "out"] },
  { label: "Connections", value: (s) => [count(s.connections.open), ""], under: (s) => `${count(s.totals.subscriptions)} subscriptions`, line: ["open", "in"] },
  { label: "Memory of queues", value: (s) => size(s.totals.memory_used).split(" "), under: (s) => `of ${size(s.totals.memory_limit)}`, line: ["memory", "out"], alert: (s) => s.totals.memory_used > 0.8 * s.totals.memory_limit },
].map((figure) => {
  const parts = { value: el("span"), unit: el("small"), under: el("p", { class: "under" }), chart: el("div", { class: "chart" }) };
  const card = el("div", { class: "figure" }, el("p", { class: "label" }, figure.label), el("p", { class: "value" }, parts.value, " ", parts.unit), parts.under, parts.chart);
  return { ...figure, parts, card };
});
$("figures").append(...FIGURES.map(({ card }) => card));

function figures(state) {
  const { totals } = state;
  const now = rates.of("totals", { in: totals.published, out: totals.delivered, dropped: sum(totals.dropped), lost: lost(totals.dropped) });
  rates.note("gauges", { queued: totals.queued, open: state.connections.open, memory: totals.memory_used });
  for (const { value, under, line: [name, kind], alert, parts, card } of FIGURES) {
    const [number, unit] = value(state, now);
    write(parts.value, number);
    write(parts.unit, unit);
    write(parts.under, under(state, now));
    parts.under.title = parts.under.textContent;
    card.classList.toggle("alert", Boolean(alert?.(state, now)));
    parts.chart.replaceChildren(sparkline([[rates.past(name in now ? "totals" : "gauges", name), kind]], 160, 34, { area: true }));
  }
}

// --- messages ---

const messageRows = new Rows($("messages").tBodies[0], (item) => {
  const cells = { spark: el("td", { class: "spark wide" }), in: number(), out: number(), subscriptions: number("roomy"), dropped: number() };
  const opener = el("button", { type: "button", class: "opener", "aria-expanded": "false" }, item.name);
  const under = el("small");
  const cell = el("td", { colspan: 6 });
  const more = el("tr", { class: "detail", hidden: "" }, cell);
  const row = el("tr", { class: "row" }, el("td", { class: "name" }, opener, under), ...Object.values(cells));
  let told = null; // the contracts that the detail is of; null while it is closed
  opener.addEventListener("click", () => {
    more.hidden = !more.hidden;
    opener.setAttribute("aria-expanded", String(!more.hidden));
    told = more.hidden ? null : before.schema.digest;
    if (told) describe(cell, item.name);
  });
  return {
    elements: [row, more],
    update(now) {
      if (told && told !== before.schema.digest) describe(cell, item.name);
      told &&= before.schema.digest;
      const key = `message ${now.name}`;
      const past = rates.of(key, { in: now.received, out: now.delivered, dropped: sum(now.dropped), lost: lost(now.dropped) });
      write(under, detail.under(now));
      set(cells.in, past.in);
      set(cells.out, past.out);
      set(cells.dropped, past.dropped, past.lost > 0);
      write(cells.subscriptions, count(now.subscriptions));
      cells.spark.replaceChildren(sparkline([[rates.past(key, "out"), "out"], [rates.past(key, "in"), "in"]], 88, 26));
    },
  };
});

function messages(state) {
  messageRows.show(state.messages, (row) => row.name);
  $("messages-empty").hidden = state.messages.length > 0;
  const shown = state.messages.length;
  write($("messages-count"), shown < state.types.length ? `${count(shown)} of ${count(state.types.length)}` : count(shown));
}

async function describe(cell, name) {
  try {
    const answer = await fetch(`page/messages/${encodeURIComponent(name)}`);
    if (!answer.ok) throw new Error(`the bridge says ${answer.status}`);
    detail.show(cell, await answer.json());
  } catch (error) {
    cell.replaceChildren(el("p", { class: "about" }, `Its fields cannot be shown: ${error.message}.`));
  }
}

// --- connections ---

const connectionRows = new Rows($("connections").tBodies[0], (item) => {
  const cells = { lag: number(), in: number(), out: number(), dropped: number("roomy") };
  const chip = el("span", { class: "chip bad", hidden: "" }, "slow");
  const under = el("small");
  const lag = el("span");
  const bar = svg("rect", { height: 4, width: 0 });
  const meter = el("span", { class: "meter" }, svg("svg", { viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" }, bar));
  cells.lag.append(lag, meter);
  const row = el("tr", { class: "row" }, el("td", { class: "name" }, el("span", { class: "client" }, item.client || "?"), " ", chip, under), ...Object.values(cells));
  return {
    elements: [row],
    update(now) {
      const past = rates.of(`session ${now.session}`, { in: now.received_messages, out: now.sent_messages });
      const room = now.capacity_messages;
      write(under, `#${now.session} · ${now.transport} ${now.peer} · ${age(now.connected_seconds)}`);
      write(lag, count(now.lag_messages));
      lag.className = now.slow ? "alarm" : now.lag_messages ? "" : "zero";
      lag.title = `${count(now.queued_messages)} in queues for ${count(room)}, ${count(now.in_flight_messages)} with the client`;
      bar.setAttribute("width", room ? Math.min(100, (100 * now.queued_messages) / room) : 0);
      meter.hidden = !room;
      bar.setAttribute("class", now.slow ? "fill-bad" : "fill-ok");
      chip.hidden = !now.slow;
      set(cells.in, past.in);
      set(cells.out, past.out);
      const dropped = sum(now.dropped);
      write(cells.dropped, count(dropped));
      cells.dropped.className = `num roomy ${dropped ? "" : "zero"}`;
      cells.dropped.title = reasons(now.dropped);
    },
  };
});

/** Slow ones first, then those with something in a queue; the others keep their places. */
const urgency = (row) => [row.slow ? 0 : 1, -row.queued_messages, row.session];
const byUrgency = (a, b) => urgency(a).map((one, at) => one - urgency(b)[at]).find(Boolean) ?? 0;

function connections({ open, rows }) {
  connectionRows.show([...rows].sort(byUrgency), (row) => row.session);
  $("connections-empty").hidden = rows.length > 0;
  write($("connections-count"), rows.length < open ? `${count(rows.length)} of ${count(open)}` : count(open));
}

// --- cells ---

function number(kind = "") { return el("td", { class: `num ${kind}` }); }

function set(cell, value, alarm = false) {
  write(cell, rate(value));
  cell.classList.toggle("zero", !value);
  cell.classList.toggle("alarm", alarm);
}

open();
