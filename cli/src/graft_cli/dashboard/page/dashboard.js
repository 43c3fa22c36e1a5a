// The page: which view is shown, and when it is drawn again.

import { adapter } from "./adapter.js";
import { base, pod } from "./base.js";
import { h, show } from "./elements.js";
import { adapters, bases, canaries, overview, trainings } from "./lists.js";
import { ask, follow, known } from "./live.js";

const TICK = 5000; // milliseconds between two questions to pods

const VIEWS = {
  "": ["Overview", () => overview()],
  bases: ["Bases", () => bases()],
  adapters: ["Adapters", (key) => adapters(draw, key)],
  trainings: ["Trainings", () => trainings()],
  canaries: ["Canaries", () => canaries()],
  adapter: [null, (key) => adapter(draw, key, () => place)],
  base: [null, (key) => base(draw, key)],
  pod: [null, (key) => pod(draw, key)],
};

const main = document.getElementById("main");
let view = null;
let place = null;
let waiting = false;

/** Draw before the next frame; however many ask, once. */
function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    drawNow();
  });
}

function drawNow() {
  drawHeader();
  if (!view) return;
  document.title = `${view.title} – Graft`;
  show(main, h("h1", { tabindex: "-1", id: "title" }, view.title), known.seen || known.problem ? view.render() : null);
}

function drawHeader() {
  const counts = {
    bases: known.bases.size,
    adapters: known.adapters.size,
    trainings: 0,
    canaries: 0,
  };
  for (const { node } of known.adapters.values()) {
    if (node.training) counts.trainings += 1;
    if (node.canary) counts.canaries += 1;
  }
  const here = route()[0];
  show(document.getElementById("views"), h("ul", null, Object.entries(VIEWS).filter(([, [words]]) => words)
    .map(([name, [words]]) => h("li", null, h("a", { href: `#/${name}`, "aria-current": name === here ? "page" : null },
      words, name in counts && h("span", { class: "count" }, ` ${counts[name]}`))))));
  show(document.getElementById("live"), known.connection);
  show(document.getElementById("seen"), known.seen ? `as of ${known.seen.toLocaleTimeString()}` : "");
  show(document.getElementById("problem"), known.problem && h("p", null, known.problem.message, known.problem.fix ? ` (to fix: ${known.problem.fix})` : ""));
  if (place) show(document.getElementById("place"), [place.context, place.namespace ?? "all namespaces"].filter(Boolean).join(", "));
}

function route() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  try {
    return [Object.hasOwn(VIEWS, name) ? name : "", rest.map(decodeURIComponent).join("/")];
  } catch {
    return ["", ""]; // a mistyped address
  }
}

function navigate(moved) {
  if (view && location.hash && !location.hash.startsWith("#/")) return; // the link that skips to the content
  const [name, key] = route();
  view = VIEWS[name][1](key);
  show(main);
  drawNow();
  if (moved) document.getElementById("title").focus();
}

window.addEventListener("hashchange", () => navigate(true));
setInterval(() => {
  if (document.hidden) return;
  view?.tick?.();
  draw(); // times pass, too
}, TICK);
navigate(false);
follow((keys) => {
  view?.changed?.(keys);
  draw();
});
ask("place", {}).then((found) => {
  place = found;
  draw();
}, draw);
