// What a message is made of: its fields, and where their bytes stand in a frame.

import { el } from "./dom.js";
import { reasons } from "./figures.js";

/** Fill a cell with what the bridge says of a type. */
export function show(cell, type) {
  cell.replaceChildren(
    el("p", { class: "about" }, type.description || "The contract says nothing about it."),
    el("div", { class: "chips" }, ...chips(type)),
    el("h3", {}, `Frame of ${type.frame_size === null ? `${type.least_size} bytes and more` : `${type.frame_size} bytes`}, in the order of the wire`),
    bytes(type),
    el("h3", {}, "Fields"),
    fields(type),
  );
}

function chips(type) {
  const found = [["", `type id ${type.type_id}`], ["", `topic ${type.topic}`]];
  if (type.key.length) found.push(["", `key ${type.key.join(", ")}`]);
  if (type.retain) found.push(["", `retain ${type.retain}`]);
  if (type.on_lag) found.push(["", `on lag ${type.on_lag}`]);
  if (type.deprecated) found.push(["warn", "deprecated"]);
  found.push(type.is_shown ? ["", "values are shown"] : ["warn", type.redacted ? "values are redacted" : "values are not shown"]);
  return found.map(([kind, text]) => el("span", { class: `chip ${kind}` }, text));
}

function bytes(type) {
  const part = (kind, name, at, what) =>
    el("li", { class: kind },
      ...(kind ? [] : [el("span", { class: "head" })]),
      el("div", { class: "what" }, el("b", {}, name), el("span", { class: "at" }, [at === null ? "" : `@${at}`, what].filter(Boolean).join(" · "))));
  const value = ({ size: bytes_, optional }) => `6+${bytes_ === null ? "n" : bytes_} B${optional ? " or none" : ""}`;
  return el("div", {},
    el("ol", { class: "bytes" },
      part("frame", "length", 0, "4 B"),
      part("frame", "type id", 4, "2 B"),
      ...type.fields.map((field) => part("", field.name, field.offset, value(field)))),
    el("p", { class: "legend" }, "@ is where it begins. The hatched 6 bytes are a field's own header: its tag, u16, and the length of its value, u32."));
}

function fields(type) {
  if (!type.fields.length) return el("p", { class: "about" }, "None: the frame is its header.");
  return el("div", { class: "fields" }, ...type.fields.map((field) =>
    el("div", { class: "field" },
      el("span", { title: "tag" }, String(field.tag)),
      el("strong", {}, field.name),
      el("span", { class: "mono" }, field.type),
      el("span", { class: "notes" }, [field.presence, ...field.rules, field.deprecated ? "deprecated" : "", field.description].filter(Boolean).join(" · ")))));
}

/** The line under a message's name: where it belongs, and what was dropped of it. */
export const under = (row) => [row.topic, reasons(row.dropped)].filter(Boolean).join(" · ");

