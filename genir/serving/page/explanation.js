// How the hits were generated: the codes of one docid, level by level, and the whole search as a tree.

import { count, element, factor, percent, shape, shorten } from "./elements.js";

const MOST_RIVALS = 5;
const COLUMN = 196, ROW = 40, WIDTH = 156, HEIGHT = 32, OUTCOME = 330, TOP = 20;

/** The prefixes from the root to a hit; an empty list if another document, or none, has its rank. */
export function findPath(node, hit) {
  if (hit && node.rank === hit.rank) return node.doc_id === hit.doc_id ? [node] : [];
  for (const child of node.children) {
    const path = findPath(child, hit);
    if (path.length) return [node, ...path];
  }
  return [];
}

/** What became of a prefix, in a few words. */
function describeOutcome(node) {
  const document = [node.doc_id, node.title].filter(Boolean).join(" ");
  const documents = count(node.documents, "document", "documents");
  if (node.status === "hit") return `${node.rank}. ${document}`;
  if (node.status === "pruned") return `pruned: ${document || documents}`;
  if (!node.others) return documents;
  return `${documents}; ${node.others.toLocaleString("en")} ${node.children.length ? "more" : "prefixes, all"} pruned`;
}

/** How a hit was generated: at each level, its code among the codes that could have followed. */
export function explainHit({ tree, experts }, hit) {
  const path = findPath(tree, hit);
  if (!path.length) return element("p", {}, "The documents have changed since this search; search again.");
  const steps = path.slice(1).map((node, i) => explainLevel(path[i], node, namePrior(experts)));
  const factors = path.slice(1).map((node) => percent(Math.exp(node.code_logp)));
  const total = percent(Math.exp(path.at(-1).logp));
  const product = factors.length > 1 ? `${factors.join(" × ")} = ${total}` : total;
  const summary = path.length > 1
    ? `The probability of this document is ${product}.`
    : "It is the only document, so that there was nothing to choose.";
  const legend = `A bar is the probability of a code; the mark on it is ${experts.length ? "that by the experts alone" : "its share of the documents"}.`;
  const result = element("p", {}, summary, followedBy(path.at(-1)));
  return element("div", { class: "generated" }, ...steps, result, element("p", { class: "legend" }, legend));
}

function followedBy(node) {
  const rest = node.codes.length - Math.max(node.level, 1);
  if (rest < 1) return "";
  return rest === 1 ? " The last code has no alternative." : ` The last ${rest} codes have no alternatives.`;
}

/** What gives the probabilities without the model: the experts, or all documents alike. */
export function namePrior(experts) {
  return experts.length ? "Experts" : "Share";
}

function explainLevel(parent, chosen, prior) {
  const rivals = parent.children.filter((child) => child !== chosen).slice(0, MOST_RIVALS);
  const rows = [chosen, ...rivals].sort((a, b) => b.logp - a.logp);
  const hidden = parent.children.length + parent.others - rows.length;
  const rest = Math.max(0, 1 - rows.reduce((sum, node) => sum + Math.exp(node.code_logp), 0));
  const possible = count(parent.children.length + parent.others, "alternative", "alternatives");
  const after = parent.codes.length ? `after ${parent.text}` : "first";
  const name = chosen.shared ? "Which of the documents with this docid" : `Code ${chosen.level}`;
  return element(
    "table",
    {},
    element("caption", {}, element("b", {}, name), ` ${after}, ${possible}`),
    element("thead", {}, element("tr", {}, ...["Code", "Probability", prior, "Model"].map(head))),
    element("tbody", {}, ...rows.map((node) => explainCode(node, node === chosen))),
    hidden ? element("tfoot", {}, element("tr", {}, element("td", { colspan: 4 }, writeRest(hidden, rest)))) : null,
  );
}

function writeRest(hidden, rest) {
  return `${hidden.toLocaleString("en")} more, together ${percent(rest)}`;
}

function head(name) {
  return element("th", { scope: "col" }, name);
}

function explainCode(node, isChosen) {
  const bar = element("span", { class: "bar", "aria-hidden": "true" }, element("i"), element("b"));
  bar.children[0].style.width = `${100 * Math.exp(node.code_logp)}%`;
  bar.children[1].style.left = `${100 * Math.exp(node.code_prior)}%`;
  const status = isChosen ? "this hit" : node.status === "hit" ? `hit ${node.rank}` : node.status;
  const note = node.doc_id && !isChosen ? `${status}: ${shorten(node.title || node.doc_id, 26)}` : status;
  return element(
    "tr",
    { class: isChosen ? "chosen" : node.status },
    element("th", { scope: "row" }, shorten(node.label, 16), " ", element("small", {}, note)),
    element("td", {}, bar, element("span", {}, percent(Math.exp(node.code_logp)))),
    element("td", {}, percent(Math.exp(node.code_prior))),
    element("td", {}, node.shared ? "–" : factor(node.code_model)),
  );
}

/** Place the prefixes: a column for each level, and a prefix in the row of its most likely child. */
function place(root) {
  const placed = [];
  const add = (node, parent, row) => {
    const here = { node, parent, row };
    placed.push(here);
    let end = row;
    for (const child of node.children) end = add(child, here, end);
    return Math.max(end, row + 1);
  };
  add(root, null, 0);
  const levels = [...new Set(placed.map((x) => x.node.level))].sort((a, b) => a - b);
  for (const x of placed) x.column = levels.indexOf(x.node.level);
  return { placed, levels };
}

/** Draw the prefixes as an SVG; the hit `marked` and the way to it stand out, unless it is null. */
export function drawTree({ tree, experts }, marked) {
  const { placed, levels } = place(tree), prior = namePrior(experts).toLowerCase();
  const width = (levels.length - 1) * COLUMN + WIDTH + OUTCOME;
  const height = (Math.max(...placed.map((x) => x.row)) + 1) * ROW + TOP;
  const path = new Set(findPath(tree, marked));
  const importance = (x) => [path.has(x.node), x.node.status !== "pruned", x.node.logp];
  const lines = placed.slice(1).sort((a, b) => compare(importance(a), importance(b)));
  return shape(
    "svg",
    { width, height, viewBox: `0 ${-TOP} ${width} ${height}`, "aria-hidden": "true", focusable: "false" },
    ...levels.slice(1).map((level, i) => shape("text", { x: (i + 1) * COLUMN, y: -6, class: "level" }, `Level ${level}`)),
    ...lines.map((x) => drawLine(x, path.has(x.node))),
    ...placed.map((x) => drawBox(x, path.has(x.node), prior)),
  );
}

function compare(a, b) {
  const i = a.findIndex((value, j) => value !== b[j]);
  return i < 0 ? 0 : a[i] - b[i];
}

function drawLine({ node, parent, column, row }, isMarked) {
  const x0 = parent.column * COLUMN + WIDTH, y0 = parent.row * ROW + ROW / 2;
  const x1 = column * COLUMN, y1 = row * ROW + ROW / 2, gap = COLUMN - WIDTH;
  const d = `M${x0} ${y0}H${x1 - gap}C${x1 - gap / 2} ${y0} ${x1 - gap / 2} ${y1} ${x1} ${y1}`;
  const attributes = { d, class: `${node.status}${isMarked ? " marked" : ""}` };
  return shape("path", { ...attributes, "stroke-width": (isMarked ? 2.5 : 1) + 4 * Math.exp(node.logp) });
}

function drawBox({ node, column, row }, isMarked, prior) {
  const x = column * COLUMN, y = row * ROW + (ROW - HEIGHT) / 2;
  const write = (text, left, down, name) => shape("text", { x: x + left, y: y + down, class: name }, text);
  const isRoot = node.level === 0;
  return shape(
    "g",
    { class: `${node.status}${isMarked ? " marked" : ""}` },
    shape("rect", { x: x + 0.5, y, width: WIDTH - 1, height: HEIGHT, rx: 6 }),
    write(shorten(node.label, 12) || "any docid", 8, 14, "code"),
    write(isRoot ? count(node.documents, "document", "documents") : `${prior} ${percent(Math.exp(node.prior))}`, 8, 26, "small"),
    isRoot ? null : write(percent(Math.exp(node.logp)), WIDTH - 8, 14, "code end"),
    isRoot ? null : write(factor(node.model), WIDTH - 8, 26, "small end"),
    node.children.length ? null : write(shorten(describeOutcome(node), 46), WIDTH + 8, 20, "outcome"),
  );
}

/** The prefixes as a nested list, with the same numbers as the drawing. */
export function listTree(node, prior) {
  const numbers = `${percent(Math.exp(node.logp))} (${prior} ${percent(Math.exp(node.prior))}, model ${factor(node.model)})`;
  const text = node.level ? `${node.label}: ${numbers}; ${describeOutcome(node)}` : `any docid: ${describeOutcome(node)}`;
  const below = node.children.map((child) => listTree(child, prior));
  return element("li", { class: node.status }, text, below.length ? element("ul", {}, ...below) : null);
}
