// Two versions of an adapter, side by side.

import { h } from "./elements.js";
import { Document } from "./live.js";
import { problem, table } from "./words.js";

export function versionDiff(rerender, named) {
  const choice = { before: null, after: null };
  let found = null;

  function choose(changed) {
    Object.assign(choice, changed);
    found = new Document("diff", { ...named, ...choice }, rerender);
    rerender();
  }

  function picker(words, field, numbers) {
    return h("label", null, `${words} `, h("select", { change: (event) => choose({ [field]: Number(event.target.value) }) },
      numbers.map((number) => h("option", { value: number, selected: number === choice[field], key: number }, `v${number}`))));
  }

  return {
    render: (numbers) => {
      if (numbers.length < 2) return null;
      if (choice.before === null) choose({ before: numbers[1], after: numbers[0] });
      return h("section", null, h("form", { class: "controls", submit: (event) => event.preventDefault() },
        h("fieldset", null, h("legend", null, "Compare two versions"),
          picker("From", "before", numbers), picker("to", "after", numbers))),
      problem(found.error), found.data && difference(found.data));
    },
  };
}

function difference({ before, after, rows }) {
  return table(`From v${before} to v${after}`, [
    ["Field", (row) => row.field],
    [`v${before}`, (row) => row.before, "words"],
    [`v${after}`, (row) => (row.before === row.after ? row.after : h("strong", null, row.after)), "words"],
    ["Change", (row) => row.change || (row.before === row.after ? "same" : "differs"), "number"],
  ], rows, (row) => row.field, "Status tells nothing of them.");
}
