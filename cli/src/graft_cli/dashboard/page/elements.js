// Elements as plain descriptions, and a page that is made to look like them. What has not changed stays the very element
// that it was, so focus, selection and scrolling survive news. Text only ever becomes text: there is no way here to
// insert HTML.

// What turns the direction of a text, or can't be seen: nobody's words may look like other words. Scripts and emoji need
// the two joiners.
const UNSEEN = /(?![\n\t\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

const SVG = new Set(["svg", "g", "line", "polyline", "circle", "text", "title", "desc"]);

/** Describe an element. `key` tells it from its siblings; functions are listeners; null and false are left out. */
export function h(tag, attributes, ...children) {
  const { key, ...rest } = attributes ?? {};
  const kept = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  return { tag, key, attributes: rest, children: kept };
}

/** Make the children of an element those that are described. */
export function show(parent, ...descriptions) {
  patch(parent, h("", null, ...descriptions).children, false);
}

function patch(parent, wanted, inSvg) {
  const keyed = new Map();
  for (const node of parent.childNodes) if (node.graftKey !== undefined) keyed.set(node.graftKey, node);
  let place = parent.firstChild;
  for (const description of wanted) {
    const node = reusable(place, description, keyed) ?? create(description, inSvg);
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
    update(node, description);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function reusable(place, description, keyed) {
  if (typeof description !== "object") return place?.nodeType === Node.TEXT_NODE ? place : null;
  if (description.key !== undefined) {
    const node = keyed.get(description.key);
    return node?.localName === description.tag ? node : null;
  }
  return place?.localName === description.tag && place.graftKey === undefined ? place : null;
}

function create(description, inSvg) {
  if (typeof description !== "object") return document.createTextNode("");
  const svg = description.tag === "svg" || (inSvg && SVG.has(description.tag));
  const node = svg
    ? document.createElementNS("http://www.w3.org/2000/svg", description.tag)
    : document.createElement(description.tag);
  if (description.key !== undefined) node.graftKey = description.key;
  return node;
}

function update(node, description) {
  if (typeof description !== "object") {
    const text = String(description).replaceAll("\r\n", "\n").replace(UNSEEN, "\ufffd");
    if (node.data !== text) node.data = text;
    return;
  }
  const before = node.graftAttributes ?? {};
  const now = description.attributes;
  for (const name of Object.keys(before)) if (!(name in now)) unset(node, name, before[name]);
  for (const [name, value] of Object.entries(now)) {
    if (typeof value === "function") node[`on${name}`] = value;
    else if (before[name] !== value) setAttribute(node, name, value);
  }
  node.graftAttributes = now;
  patch(node, description.children, node.namespaceURI !== "http://www.w3.org/1999/xhtml");
}

function unset(node, name, value) {
  if (typeof value === "function") node[`on${name}`] = null;
  else node.removeAttribute(name);
}

function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : value);
}
