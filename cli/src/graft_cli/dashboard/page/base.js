// One base: what serves it, and what each of its pods holds.

import { conditions, specification } from "./adapter.js";
import { h } from "./elements.js";
import { keyOf, model, pager } from "./lists.js";
import { Document, known } from "./live.js";
import { ago, facts, findings, link, mood, problem, short, state, table } from "./words.js";

const NAMES = 100;
const PAGE = 100;

export function base(rerender, key) {
  const [namespace, name] = key.split("/");
  const page = new Document("base", { namespace, name }, rerender);
  const pods = new Document("pods", { namespace, base: name }, rerender);
  return {
    title: `Base ${key}`,
    render: () => {
      const row = known.bases.get(key);
      if (!row) return h("p", null, known.connection === "Connecting" ? "Connecting." : `There is no BaseModel ${key}.`);
      return parts(row, page, pods);
    },
    changed: (keys) => keys.has(`bases ${key}`) && page.refresh(),
    tick: () => pods.refresh(),
  };
}

function parts(row, page, pods) {
  const { node, readaptation } = row;
  return [
    h("section", null, h("p", null, state(row)), findings(node.findings), facts([
      ["Model", model(node.resolved)],
      ["Quantization", node.resolved?.quantization],
      ["Revision", node.resolved?.revision.slice(0, 12)],
      ["Digest", short(node.resolved?.digest)],
      ["Endpoint", row.endpoint],
      ["Re-adapting", readaptation?.granted.length ? readaptation.granted.join(", ") : ""],
      ["Queued", readaptation?.queued ? `${readaptation.queued}: ${readaptation.waitingFor ?? ""}` : ""],
    ]), problem(page.error)),
    h("p", null, link("adapters", row.key, `Its ${node.counts.total} adapters`),
      `: ${node.counts.upToDate} up to date, ${node.counts.readapting} re-adapting, ${node.counts.blocked} blocked.`),
    h("section", null, revisions(node.serving)),
    h("section", null, podsTable(row.key, pods)),
    page.data && conditions(page.data.conditions),
    page.data && specification(page.data.spec),
  ];
}

function revisions(serving) {
  return table("Revisions that are served", [
    ["Base", (one) => short(one.digest)],
    ["Deployment", (one) => one.deployment],
    ["Pods", (one) => `${one.readyReplicas} of ${one.replicas} answer`],
    ["Wait for a place", (one) => names(one.waiting)],
    ["Not loaded now", (one) => names(one.notResident)],
    ["Told nothing new", (one) => names(one.leftOut)],
  ], serving, (one) => one.digest, "Nothing is served.");
}

function names(all) {
  if (!all?.length) return "–";
  const more = all.length > NAMES ? ` and ${all.length - NAMES} more` : "";
  return h("details", null, h("summary", null, `${all.length} adapters`), `${all.slice(0, NAMES).join(", ")}${more}`);
}

function podsTable(key, pods) {
  if (!pods.data) return [h("h2", null, "Pods"), problem(pods.error) ?? h("p", { class: "empty" }, "Asking the pods.")];
  const loaded = (pod) => pod.adapters.filter((one) => one.versions.length);
  return [table("Pods", [
    ["Pod", (pod) => link("pod", `${key}/${pod.pod}`, pod.pod)],
    ["Node", (pod) => pod.node || "–"],
    ["State", (pod) => podState(pod)],
    ["Base", (pod) => short(pod.baseDigest)],
    ["Adapters", (pod) => (pod.problem ? "–" : `${loaded(pod).length} held, ${pod.adapters.length} known`)],
    ["Message", (pod) => pod.problem || pod.message || "–", "words"],
  ], pods.data.pods, (pod) => pod.pod, "No pod serves it."), problem(pods.error)];
}

function podState(pod) {
  if (pod.problem) return mood("bad", `${pod.phase || "Unknown"}, not told`);
  return mood(pod.ready ? "good" : "busy", `${pod.phase}, engine ${pod.engine || "not known"}`);
}

/** One pod: all that it holds. */
export function pod(rerender, key) {
  const [namespace, base, name] = key.split("/");
  const pods = new Document("pods", { namespace, base }, rerender);
  const choice = { page: 0 };
  const choose = (changed) => {
    Object.assign(choice, changed);
    rerender();
  };
  return {
    title: `Pod ${name}`,
    render: () => {
      const found = pods.data?.pods.find((one) => one.pod === name);
      if (!found) return problem(pods.error) ?? h("p", null, pods.data ? `No pod ${name} serves ${namespace}/${base}.` : "Asking the pods.");
      return [h("section", null, h("p", null, podState(found)), facts([
        ["Base", link("base", `${namespace}/${base}`, base)], ["Revision", short(found.baseDigest)], ["Node", found.node],
        ["Message", found.problem || found.message],
      ]), problem(pods.error)), held(namespace, found, choice, choose)];
    },
    tick: () => pods.refresh(),
  };
}

function held(namespace, found, choice, choose) {
  const rows = found.adapters.flatMap((one) => one.versions.map((version) => (
    { key: `${one.name} ${version.number}`, adapter: one, version })));
  const pages = Math.max(1, Math.ceil(rows.length / PAGE));
  choice.page = Math.min(choice.page, pages - 1);
  return h("section", null, table("What it holds", [
    ["Adapter", (row) => link("adapter", `${namespace}/${row.adapter.name}`, row.adapter.name)],
    ["Version", (row) => `v${row.version.number}`],
    ["State", (row) => row.version.state],
    ["Answers", (row) => `${row.version.weight} %`, "number"],
    ["Requests", (row) => row.version.requests, "number"],
    ["Errors", (row) => row.version.errors, "number"],
    ["In flight", (row) => row.version.inflight, "number"],
    ["Last asked", (row) => ago(row.adapter.lastAsked)],
    ["Message", (row) => [row.version.reason, row.version.message].filter(Boolean).join(": ") || "–", "words"],
  ], rows.slice(choice.page * PAGE, (choice.page + 1) * PAGE), keyOf, "Nothing."), pager(choice, pages, rows.length, choose));
}
