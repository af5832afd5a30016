// Elements of the page, and how numbers are written. Texts become text nodes, so that they are never read as HTML.

const SVG = "http://www.w3.org/2000/svg";

function append(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") node.addEventListener("click", value);
    else if (value !== null && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Create an HTML element; children are elements and texts. An attribute that is null or false is left out. */
export function element(tag, attributes = {}, ...children) {
  return append(document.createElement(tag), attributes, children);
}

/** Create an SVG element. */
export function shape(tag, attributes = {}, ...children) {
  return append(document.createElementNS(SVG, tag), attributes, children);
}

/** Write a probability in per cent. */
export function percent(p) {
  const x = 100 * p;
  if (x >= 10) return `${x.toFixed(x > 99 && x < 99.95 ? 1 : 0)}\u00a0%`;
  if (x >= 1) return `${x.toFixed(1)}\u00a0%`;
  return x >= 0.01 ? `${Number(x.toPrecision(2))}\u00a0%` : "<0.01\u00a0%";
}

/** Write by which factor the model changes a probability, from the difference of the logarithms. */
export function factor(model) {
  const x = Math.exp(model);
  if (x >= 9999.5) return "×>9,999";
  if (x >= 9.95) return `×${Math.round(x).toLocaleString("en")}`;
  if (x >= 0.95) return `×${x.toFixed(1)}`;
  return x >= 0.01 ? `×${Number(x.toPrecision(2))}` : "×<0.01";
}

/** Write a number of things. */
export function count(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** Cut a text that is too long, and mark that it is cut. */
export function shorten(text, longest) {
  return text.length <= longest ? text : `${text.slice(0, longest - 1)}…`;
}
