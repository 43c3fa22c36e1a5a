// One adapter: what it waits for, its training, canary, versions, and which pods hold it.

import { chart } from "./chart.js";
import { h } from "./elements.js";
import { versionDiff } from "./diff.js";
import { progress, split, versions } from "./lists.js";
import { Document, known } from "./live.js";
import { ago, duration, facts, findings, link, mood, problem, short, state, table, version } from "./words.js";

export function adapter(rerender, key, place) {
  const [namespace, name] = key.split("/");
  const named = { namespace, name };
  const page = new Document("adapter", named, rerender);
  const curve = new Document("curve", named, rerender);
  const row = () => known.adapters.get(key);
  const diff = versionDiff(rerender, named);
  let pods = null;
  const askPods = () => {
    if (pods) pods.refresh();
    else if (row()?.base) pods = new Document("pods", { namespace, base: row().base, name }, rerender);
  };
  return {
    title: `Adapter ${key}`,
    render: () => {
      if (!row()) return h("p", null, known.connection === "Connecting" ? "Connecting." : `There is no LoraAdapter ${key}.`);
      if (!pods) askPods();
      return parts(row(), { page, curve, pods, diff, place: place() });
    },
    changed: (keys) => {
      if (!keys.has(`adapters ${key}`)) return;
      page.refresh();
      curve.refresh();
    },
    tick: askPods,
  };
}

function parts(row, { page, curve, pods, diff, place }) {
  const node = row.node;
  return [
    h("section", null, h("p", null, state(row)), findings(node.findings), facts([
      ["Version", versions(node)],
      ["Up to date", { True: "yes", False: "no" }[node.upToDate]],
      ["Base", link("base", `${node.namespace}/${row.base}`, row.base)],
      ["Pods", node.desired ? `${node.loaded} of ${node.desired}${row.failed ? `, ${row.failed} fail` : ""}` : ""],
      ["Mode", row.mode],
      ["Endpoint", page.data?.endpoint],
      ["Pinned", row.pinned === null ? "" : version(row.pinned)],
      ["Suspended", row.suspended ? "yes" : ""],
    ]), page.data?.message && h("p", null, "The first pod that fails says: ", page.data.message), problem(page.error)),
    node.canary && h("section", null, h("h2", null, "Canary"), h("p", null, split(node.canary)),
      h("p", null, node.canary.stepTime ? ["This step began ", ago(node.canary.stepTime), "."] : "Not on every pod yet.")),
    training(node.training, curve),
    page.data && versionsTable(row, page.data.versions, place),
    page.data && diff.render(page.data.versions.map((line) => line.version.number)),
    h("section", null, placement(row, pods)),
    page.data && conditions(page.data.conditions),
    page.data && specification(page.data.spec),
  ];
}

function training(running, curve) {
  const found = curve.data?.curve;
  const drawn = found && chart("Loss", [["training loss", found.training], ["evaluation loss", found.evaluation]], found.maxSteps);
  if (!running && !drawn) return null;
  return h("section", null, h("h2", null, "Training"),
    running
      ? [h("p", null, progress(running)), facts([
        ["State", running.state], ["Why", running.reason], ["Loss", running.loss],
        ["Left", running.etaSeconds === undefined ? "" : duration(running.etaSeconds)], ["Job", running.job],
        ["Batch", running.batchSize && `${running.batchSize} × ${running.gradientAccumulation ?? 1}`],
        ["Begins with", running.warmStart && version(running.warmStart.number)],
      ])]
      : h("p", null, `No training runs; this is Job ${found.job}.`),
    drawn || h("p", null, "No loss has been told yet."),
    h("p", { class: "note" }, curve.data?.source === "Logged"
      ? "Of the trainer's log, and of status since the dashboard was started."
      : "Of status, since the dashboard was started; the whole course stands in the version's report."),
    curve.data?.problem && h("p", { class: "note" }, "The trainer's log was not read: ", curve.data.problem), problem(curve.error));
}

function versionsTable(row, lines, place) {
  const report = ({ version: one }) => {
    if (!place?.reports) return "–";
    const query = new URLSearchParams({ namespace: row.node.namespace, name: row.node.name, number: one.number });
    return h("a", { href: `report?${query}`, target: "_blank", rel: "noreferrer" }, "report", h("span", { class: "unseen" }, ` of version ${one.number}, in a new tab`));
  };
  const better = (own, base) => (own === undefined ? "–" : `${own}${base === undefined ? "" : ` (base ${base})`}`);
  return h("section", null, table("Versions", [
    ["Version", (line) => version(line.version.number)],
    ["State", (line) => line.version.state],
    ["Use", (line) => line.uses.join(", ") || "–"],
    ["Why", (line) => line.version.reason],
    ["Base", (line) => short(line.version.baseDigest)],
    ["Rank", (line) => line.version.rank ?? "–", "number"],
    ["Loss", (line) => better(line.version.evalLoss, line.version.baseEvalLoss), "number"],
    ["Exact", (line) => better(line.version.exactMatch, line.version.baseExactMatch), "number"],
    ["Published", (line) => ago(line.version.publishedTime)],
    ["Report", report],
    ["Message", (line) => line.version.message || "–", "words"],
  ], lines, (line) => line.version.number, "There is no version yet."),
  h("p", { class: "note" }, "The newest, as status tells them; the registry holds all. ",
    !place?.reports && "Reports lie in the registry's bucket: start the dashboard with --registry to open them from here."));
}

function placement(row, pods) {
  if (!pods) return [h("h2", null, "Pods that hold it"), h("p", { class: "empty" }, "Not asked yet.")];
  if (pods.error) return [h("h2", null, "Pods that hold it"), problem(pods.error)];
  if (!pods.data) return [h("h2", null, "Pods that hold it"), h("p", { class: "empty" }, "Asking the pods.")];
  const held = (pod) => pod.adapters.find((one) => one.name === row.node.name);
  return table("Pods that hold it", [
    ["Pod", (pod) => link("pod", `${row.node.namespace}/${row.base}/${pod.pod}`, pod.pod)],
    ["Node", (pod) => pod.node || "–"],
    ["Holds", (pod) => holds(pod, held(pod)), "words"],
    ["Last asked", (pod) => ago(held(pod)?.lastAsked)],
  ], pods.data.pods, (pod) => pod.pod, "No pod serves its base.");
}

function holds(pod, held) {
  if (pod.problem) return mood("bad", pod.problem);
  if (!held?.versions.length) return "nothing of it";
  return held.versions.map((one) => `v${one.number} ${one.state}${one.weight ? `, answers ${one.weight} %` : ""}${one.message ? `: ${one.message}` : ""}`).join("; ");
}

export function conditions(items) {
  return h("section", null, table("Conditions", [
    ["Type", (one) => one.type],
    ["Status", (one) => one.status],
    ["Reason", (one) => one.reason],
    ["Since", (one) => ago(one.lastTransitionTime)],
    ["Message", (one) => one.message || "–", "words"],
  ], items, (one) => one.type, "The operator has said nothing yet."));
}

export function specification(text) {
  return h("section", null, h("details", null, h("summary", null, "The spec"),
    h("pre", { tabindex: "0", role: "region", "aria-label": "The spec, as YAML" }, text)));
}
