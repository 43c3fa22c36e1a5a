// The lists: what there is, what goes on, and what needs a person.

import { h } from "./elements.js";
import { known } from "./live.js";
import { ago, duration, facts, firstFinding, link, mood, parameters, short, state, table, version } from "./words.js";

const PAGE = 50;
const URGENT = 20;

const KINDS = {
  all: ["All", () => true],
  bad: ["Need a person", (row) => row.mood === "bad"],
  busy: ["Under way", (row) => row.mood === "busy"],
  behind: ["Not up to date", (row) => row.node.upToDate === "False"],
  training: ["In training", (row) => row.node.training !== null],
  canary: ["In a canary", (row) => row.node.canary !== null],
  byHand: ["Pinned or suspended", (row) => row.pinned !== null || row.suspended],
};

const NAME = ["Adapter", (row) => link("adapter", row.key, row.key)];
const STATE = ["State", (row) => state(row)];
const SERVED = ["Version", (row) => versions(row.node)];
const TELLS = ["What is to be known", (row) => firstFinding(row.node.findings) || "–", "words"];

/** All rows of a kind, by name. */
export function sorted(kind) {
  return [...known[kind].values()].sort((one, other) => (one.key < other.key ? -1 : 1));
}

export function overview() {
  return { title: "Overview", render: () => overviewParts(sorted("adapters")) };
}

function overviewParts(adapters) {
  const urgent = adapters.filter((row) => row.mood === "bad");
  const counts = Object.values(KINDS).map(([words, holds]) => [words, String(adapters.filter(holds).length)]);
  return [
    h("section", { "aria-labelledby": "counts" }, h("h2", { id: "counts" }, "Adapters"), facts(counts)),
    h("section", null, table("Need a person", [NAME, SERVED, TELLS], urgent.slice(0, URGENT), keyOf, "No adapter does."),
      urgent.length > URGENT && h("p", null, `And ${urgent.length - URGENT} more.`)),
    h("section", null, basesTable()),
  ];
}

export function bases() {
  return { title: "Bases", render: () => h("section", null, basesTable()) };
}

function basesTable() {
  return table("Bases", [
    ["Base", (row) => (row.node.exists ? link("base", row.key, row.key) : row.key)],
    ["State", (row) => (row.node.exists ? state(row) : mood("bad", "there is no such BaseModel"))],
    ["Model", (row) => model(row.node.resolved)],
    ["Pods", (row) => podsOf(row.node)],
    ["Adapters", (row) => `${row.node.counts.total} (${row.node.counts.upToDate} up to date)`],
    TELLS,
  ], sorted("bases"), keyOf, "There are no BaseModels.");
}

export function model(resolved) {
  if (!resolved) return "–";
  return [resolved.architecture, parameters(resolved.parameters), resolved.dtype].filter(Boolean).join(", ") || "–";
}

function podsOf(node) {
  const words = node.serving.map((one) => `${one.readyReplicas} of ${one.replicas} of ${short(one.digest)}`);
  return words.join(", ") || "–";
}

export function trainings() {
  return {
    title: "Trainings",
    render: () => h("section", null, table("Trainings that run", [
      NAME,
      ["State", (row) => row.node.training.state],
      ["Why", (row) => row.node.training.reason || "–"],
      ["Progress", (row) => progress(row.node.training)],
      ["Loss", (row) => row.node.training.loss ?? "–", "number"],
      ["Left", (row) => duration(row.node.training.etaSeconds), "number"],
    ], sorted("adapters").filter(KINDS.training[1]), keyOf, "No training runs.")),
  };
}

export function progress(training) {
  if (!training.maxSteps) return "–";
  const words = `step ${training.step} of ${training.maxSteps}`;
  return [h("progress", { max: training.maxSteps, value: training.step, "aria-hidden": "true" }), " ", words];
}

export function canaries() {
  return {
    title: "Canaries",
    render: () => h("section", null, table("Canaries under way", [
      NAME,
      ["Split", (row) => split(row.node.canary)],
      ["Since", (row) => (row.node.canary.stepTime ? ago(row.node.canary.stepTime) : "not on every pod yet")],
      TELLS,
    ], sorted("adapters").filter(KINDS.canary[1]), keyOf, "No version is in a canary.")),
  };
}

export function split(canary) {
  const before = canary.previous === null ? "" : `, v${canary.previous} ${100 - canary.weight} %`;
  const words = `v${canary.target} answers ${canary.weight} %${before}`;
  return [h("meter", { min: 0, max: 100, value: canary.weight, "aria-hidden": "true" }), " ", words];
}

/** All adapters, or those of one base. */
export function adapters(rerender, base = "") {
  const choice = { words: "", kind: "all", page: 0 };
  const choose = (changed) => {
    Object.assign(choice, { page: 0 }, changed);
    rerender();
  };
  return {
    title: base ? `Adapters of ${base}` : "Adapters",
    render: () => {
      const rows = sorted("adapters").filter((row) => matches(row, choice, base));
      const pages = Math.max(1, Math.ceil(rows.length / PAGE));
      choice.page = Math.min(choice.page, pages - 1);
      const shown = rows.slice(choice.page * PAGE, (choice.page + 1) * PAGE);
      return [controls(choice, choose), h("section", null,
        table(base ? `Adapters of ${base}` : "All adapters", columns(), shown, keyOf, "No adapter is like that."),
        pager(choice, pages, rows.length, choose))];
    },
  };
}

function columns() {
  return [
    NAME,
    ["Base", (row) => row.base],
    STATE,
    SERVED,
    ["Pods", (row) => (row.node.desired ? `${row.node.loaded} of ${row.node.desired}` : "–"), "number"],
    TELLS,
  ];
}

function matches(row, choice, base) {
  if (base && `${row.node.namespace}/${row.base}` !== base) return false;
  if (!KINDS[choice.kind][1](row)) return false;
  const text = `${row.key} ${row.base} ${row.node.findings.map((item) => item.reason).join(" ")}`.toLowerCase();
  return choice.words.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function controls(choice, choose) {
  return h("form", { role: "search", class: "controls", submit: (event) => event.preventDefault() },
    h("label", null, "Filter by name, base or reason ",
      h("input", { type: "search", autocomplete: "off", input: (event) => choose({ words: event.target.value }) })),
    h("label", null, "Show ",
      h("select", { change: (event) => choose({ kind: event.target.value }) },
        Object.entries(KINDS).map(([kind, [words]]) => h("option", { value: kind }, words)))));
}

export function pager(choice, pages, count, choose) {
  const turn = (words, page) => {
    const possible = page >= 0 && page < pages;
    return h("button", { type: "button", "aria-disabled": possible ? null : "true", click: () => possible && choose({ page }) }, words);
  };
  return h("nav", { class: "pager", "aria-label": "Pages" },
    turn("Previous", choice.page - 1), turn("Next", choice.page + 1),
    h("span", { role: "status" }, `${count} in all, page ${choice.page + 1} of ${pages}`));
}

export function versions(node) {
  const next = node.candidate !== null && node.candidate !== node.served ? ` → v${node.candidate}` : "";
  return `${version(node.served)}${next}`;
}

export function keyOf(row) {
  return row.key;
}
