// Figures in few characters, as `mycelium top` writes them.

const STEPS = ["", "k", "M", "G", "T"];
const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];
const whole = new Intl.NumberFormat("en-US");

export const count = (number) => whole.format(number);

export function rate(perSecond) {
  if (perSecond === null || perSecond === undefined) return "–";
  let step = 0;
  while (perSecond >= 999.5 && step < STEPS.length - 1) { perSecond /= 1000; step += 1; }
  const round = perSecond === 0 || perSecond >= (step === 0 ? 9.95 : 99.95);
  return perSecond.toFixed(round ? 0 : 1) + STEPS[step];
}

export function size(bytes) {
  let step = 0;
  while (bytes >= 1024 && step < SIZES.length - 1) { bytes /= 1024; step += 1; }
  return `${step === 0 || bytes >= 10 ? Math.round(bytes) : bytes.toFixed(1)} ${SIZES[step]}`;
}

export function age(seconds) {
  const all = Math.max(Math.floor(seconds), 0);
  if (all < 60) return `${all} s`;
  if (all < 3600) return `${Math.floor(all / 60)} min ${all % 60} s`;
  if (all < 86400) return `${Math.floor(all / 3600)} h ${Math.floor((all % 3600) / 60)} min`;
  return `${Math.floor(all / 86400)} d ${Math.floor((all % 86400) / 3600)} h`;
}

export const sum = (counts) => Object.values(counts).reduce((total, one) => total + one, 0);

/** What somebody wanted and did not get; what is conflated is dropped on purpose. */
export const lost = ({ conflated = 0, disconnected = 0, ...counts }) => sum(counts);

/** "conflated 12, rejected 3", most first. */
export const reasons = (counts) =>
  Object.entries(counts).filter(([, n]) => n).sort((a, b) => b[1] - a[1]).map(([reason, n]) => `${reason} ${count(n)}`).join(", ");

const LENGTH = 60;

/** Rates of everything that is counted, from one state to the next, and their last minute. */
export class Rates {
  #before = new Map(); #now = new Map(); #history = new Map(); #seconds = null;

  /** A state begins: `seconds` after the last one, or null where that is not known. */
  begin(seconds) {
    this.#before = seconds === null ? new Map() : this.#now;
    if (seconds === null) this.#history.clear();
    for (const key of this.#history.keys()) if (!this.#now.has(key)) this.#history.delete(key);
    this.#now = new Map();
    this.#seconds = seconds;
  }

  /** Rates a second of counters by name, null where nobody knows them yet. */
  of(key, counters) {
    const before = this.#before.get(key);
    this.#now.set(key, counters);
    const rates = {};
    for (const [name, value] of Object.entries(counters)) {
      rates[name] = before && this.#seconds ? Math.max(value - before[name], 0) / this.#seconds : null;
    }
    this.note(key, rates);
    return rates;
  }

  /** Keep figures that are no counters. */
  note(key, figures) {
    const history = this.#history.get(key) ?? Array(LENGTH).fill({});
    this.#history.set(key, [...history.slice(1), figures]);
    if (!this.#now.has(key)) this.#now.set(key, {});
  }

  /** The last minute of one of them. */
  past(key, name) {
    return (this.#history.get(key) ?? []).map((rates) => rates[name] ?? null);
  }
}
