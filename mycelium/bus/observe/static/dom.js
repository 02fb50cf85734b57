// Elements made of text and nothing else: whatever peers call themselves, it never becomes markup.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

/** An element with attributes and children; a child that is no node is text. */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** Text of an element, touched only where it differs, so that selections and readers are left alone. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Rows of a table body by key: kept, moved, added and removed, never made anew. */
export class Rows {
  #body; #make; #rows = new Map();

  constructor(body, make) {
    this.#body = body;
    this.#make = make;
  }

  get(key) { return this.#rows.get(key); }

  show(items, keyOf) {
    const gone = new Set(this.#rows.keys());
    let before = this.#body.firstElementChild;
    for (const item of items) {
      const key = keyOf(item);
      gone.delete(key);
      let row = this.#rows.get(key);
      if (!row) this.#rows.set(key, (row = this.#make(item)));
      row.update(item);
      for (const element of row.elements) {
        if (element === before) before = before.nextElementSibling;
        else this.#body.insertBefore(element, before);
      }
    }
    for (const key of gone) {
      for (const element of this.#rows.get(key).elements) element.remove();
      this.#rows.delete(key);
    }
  }
}

/** A line over the last minute; `series` are lists of numbers or nulls with a class each, on one scale. */
export function sparkline(series, width, height, { area = false } = {}) {
  const top = Math.max(1e-9, ...series.flatMap(([values]) => values.map((one) => one ?? 0)));
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true", width, height });
  for (const [values, kind] of series) {
    const points = [];
    values.forEach((value, at) => {
      if (value !== null) points.push([(width * at) / (values.length - 1), height - 2 - ((height - 4) * value) / top]);
    });
    if (points.length < 2) continue;
    const line = points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
    if (area) root.append(svg("polygon", { class: `area-${kind}`, points: `${points[0][0]},${height} ${line} ${points.at(-1)[0]},${height}` }));
    root.append(svg("polyline", { class: `line-${kind}`, points: line }));
  }
  return root;
}
