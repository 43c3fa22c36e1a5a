// Words and small parts that several views share.

import { h } from "./elements.js";

const MOODS = { good: ["✓", "well"], busy: ["…", "under way"], bad: ["✗", "needs a person"], plain: ["–", ""] };

export const FINDINGS = {
  Blocked: "Blocked", Waiting: "Waits", NotReady: "Not ready", NotUpToDate: "Not up to date", Advice: "Advice",
  Unseen: "Unseen", Unreadable: "Unreadable", Spec: "By hand",
};

/** A state by a sign and a word, never by its colour alone. */
export function mood(name, words) {
  const [sign, word] = MOODS[name] ?? MOODS.plain;
  return h("span", { class: `mood ${name}` }, h("span", { "aria-hidden": "true" }, sign), " ", words ?? word);
}

export function link(kind, key, words) {
  return h("a", { href: `#/${kind}/${key.split("/").map(encodeURIComponent).join("/")}` }, words);
}

/** Whether an object answers, and whether something else is to be known. */
export function state(row) {
  const words = { True: "ready", False: "not ready" }[row.node.ready] ?? "not known yet";
  const more = { bad: ", needs a person", busy: row.node.ready === "True" ? ", under way" : "" }[row.mood] ?? "";
  return mood(row.mood, words + more);
}

export function findings(items) {
  if (!items.length) return null;
  return h("ul", { class: "findings" }, items.map((item) => h("li", null,
    mood(item.mood, FINDINGS[item.kind] ?? item.kind), " ",
    item.reason && h("strong", null, item.reason), item.reason && item.message ? ": " : "", item.message)));
}

export function firstFinding(items) {
  const found = items.find((item) => item.mood === "bad") ?? items.find((item) => item.mood === "busy") ?? items[0];
  return found ? [found.reason, found.message].filter(Boolean).join(": ") : "";
}

export function version(number) {
  return number === null || number === undefined ? "–" : `v${number}`;
}

export function short(digest) {
  return (digest ?? "").replace(/^sha256:/, "").slice(0, 8) || "–";
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const units = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
  let rest = Math.max(0, Math.floor(seconds));
  const parts = [];
  for (const [name, size] of units) {
    const amount = Math.floor(rest / size);
    rest -= amount * size;
    if (amount || parts.length) parts.push(amount ? `${amount}${name}` : "");
  }
  return parts.slice(0, 2).join("") || "0s";
}

/** How long ago something was; the moment itself is the text's title. */
export function ago(time) {
  if (!time) return "–";
  const seconds = (Date.now() - new Date(time).getTime()) / 1000;
  return h("time", { datetime: time, title: time }, `${duration(seconds)} ago`);
}

export function parameters(count) {
  for (const [unit, size] of [["B", 1e9], ["M", 1e6], ["K", 1e3]]) {
    if (count >= size) return `${Number((count / size).toPrecision(3))}${unit} parameters`;
  }
  return count ? `${count} parameters` : "";
}

export function facts(pairs) {
  const told = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== "–");
  return h("dl", null, told.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

/** A table. `columns` are [title, cell of a row, class]; at small widths each row becomes a card with these titles. */
export function table(caption, columns, rows, keyOf, empty = "None.") {
  if (!rows.length) return [h("h2", null, caption), h("p", { class: "empty" }, empty)];
  const head = columns.map(([title]) => h("th", { scope: "col", role: "columnheader" }, title));
  const body = rows.map((row) => h("tr", { role: "row", key: keyOf(row) }, columns.map(([title, cell, kind], position) =>
    h(position ? "td" : "th", { role: position ? "cell" : "rowheader", scope: position ? null : "row",
      "data-title": title, class: kind ?? null }, h("div", null, cell(row))))));
  return [h("table", { role: "table" }, h("caption", null, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)), h("tbody", { role: "rowgroup" }, body))];
}

export function problem(error) {
  if (!error) return null;
  return h("p", { class: "problem" }, mood("bad", "Can't be shown"), ": ", error.message, error.fix ? ` (to fix: ${error.fix})` : "");
}
