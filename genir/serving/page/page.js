// The search page: sends queries, and shows hits, their certificate, and on demand how they were generated.

import { count, element, percent } from "./elements.js";
import { drawTree, explainHit, listTree, namePrior } from "./explanation.js";

const [form, query, key, status, error, results, certificate, hits, tree] = [
  "form", "query", "key", "status", "error", "results", "certificate", "hits", "tree",
].map((id) => document.getElementById(id));
const MOST_EXPLAINED = 100;  // hits, and beams, of a search that the service explains
let running = new AbortController();

/** Send a request, and return the answer; throws an Error with the message of the service. */
async function ask(path, options) {
  const headers = { "Content-Type": "application/json" };
  const secret = key.querySelector("input").value || sessionStorage.getItem("key");
  if (secret) headers.Authorization = `Bearer ${secret}`;
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new Error("The service cannot be reached.");
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.ok && secret) sessionStorage.setItem("key", secret);
  if (answer.status === 401) key.hidden = false;
  if (!answer.ok) throw new Error(readMessage(body) || `The service answered with status ${answer.status}.`);
  return body;
}

/** The message in an answer to a request that failed: a text, or FastAPI's list of what is wrong. */
function readMessage(body) {
  const message = body.error?.message ?? body.error ?? body.detail?.[0]?.msg ?? body.detail;
  return typeof message === "string" ? message : "";
}

/** Search with the parameters of the address, and show the result. */
async function search() {
  const parameters = new URLSearchParams(location.search);
  const fields = ["q", "k", "beams"].map((name) => (form.elements[name].value = parameters.get(name) ?? ""));
  document.getElementById("options").open ||= Boolean(fields[1] || fields[2]);
  document.title = fields[0] ? `${fields[0]} – genir` : "genir";
  running.abort();
  running = new AbortController();
  const { signal } = running;
  results.hidden = error.hidden = true;
  status.textContent = "";
  if (!fields[0]) return;
  const request = { query: fields[0], k: Number(fields[1] || 10) };
  if (fields[2]) request.beams = Number(fields[2]);
  status.textContent = "Searching…";
  try {
    const found = await ask("search", { method: "POST", body: JSON.stringify(request), signal });
    showResults(found, request, signal);
  } catch (problem) {
    showError(problem);
  }
}

function showError(problem) {
  if (problem.name === "AbortError") return;
  status.textContent = "";
  error.textContent = problem.message;
  error.hidden = false;
}

function showResults(found, request, signal) {
  let explanation;  // asked for when it is first needed, and again only after an error
  const explain = () => (explanation ??= ask(`explain?${new URLSearchParams(request)}`, { signal }).catch((problem) => {
    explanation = undefined;
    throw problem;
  }));
  const isExplained = Math.max(request.k, countBeams(request)) <= MOST_EXPLAINED;
  const view = { opened: null, redraw: () => {} };
  const taken = found.timings ? ` in ${Math.max(1, Math.round(found.timings.search_ms))} ms` : "";
  status.textContent = `${count(found.hits.length, "hit", "hits")}${taken}${found.exact ? ", proven to be the best" : ""}`;
  showCertificate(found, request);
  const isProven = (hit) => !found.exact && hit.rank <= found.num_proven;
  hits.replaceChildren(...found.hits.map((hit) => showHit(hit, isProven(hit), isExplained ? explain : null, view)));
  if (isExplained) showTree(explain, view);
  else tree.replaceChildren(element("p", {}, `Searches with more than ${MOST_EXPLAINED} hits or beams are not explained.`));
  results.hidden = false;
}

/** The beam size of a search, as the service chooses it. */
function countBeams({ k, beams }) {
  return beams ?? Math.max(k, Math.min(k + 10, Number(form.elements.beams.max)));
}

/** Tell whether it is proven that no other document is more likely, and offer more beams if not. */
function showCertificate(found, request) {
  const total = percent(Math.min(1, found.hits.reduce((sum, hit) => sum + Math.exp(hit.score), 0)));
  const proven = found.num_proven ?? 0;
  certificate.className = found.exact ? "proven" : "unproven";
  if (found.exact) {
    const text = ` No other document is more likely. Together these have ${total} of the probability.`;
    certificate.replaceChildren(element("strong", {}, "✓ Proven best."), text);
    return;
  }
  const before = countBeams(request);
  const beams = Math.min(4 * before, Number(form.elements.beams.max));
  const [part, missed] = !proven
    ? ["Not proven.", "a document that is better"]
    : proven < found.hits.length
      ? [`Only the first ${proven} are proven.`, "a document better than the others"]
      : ["These are proven.", "the documents that follow them"];
  const text = ` The beams may have missed ${missed}. Together these have ${total} of the probability. `;
  const again = () => open({ ...request, beams });
  const button = element("button", { type: "button", class: "quiet", onclick: again }, `Search with ${beams} beams`);
  certificate.replaceChildren(element("strong", {}, part), text, ...(beams > before ? [button] : []));
}

/** A hit; `explain` asks how it was generated, and is null if the service does not explain the search. */
function showHit(hit, isProven, explain, view) {
  const panel = element("div", { id: `generated-${hit.rank}`, class: "panel", hidden: "" });
  const attributes = { type: "button", class: "quiet", "aria-expanded": "false", "aria-controls": panel.id };
  const button = element("button", { ...attributes, "aria-describedby": `title-${hit.rank}` }, "How it was generated");
  const bar = element("span", { class: "bar", "aria-hidden": "true" }, element("i"));
  bar.firstChild.style.width = `${100 * Math.exp(hit.score)}%`;
  button.addEventListener("click", () => toggle(button, panel, explain, (found) => {
    view.opened = panel.hidden ? null : hit;
    view.redraw();
    panel.replaceChildren(explainHit(found, hit));
  }));
  return element(
    "li",
    {},
    element("span", { class: "rank", "aria-hidden": "true" }, String(hit.rank)),
    element(
      "div",
      { class: "hit" },
      element("h2", { id: `title-${hit.rank}` }, hit.title || hit.doc_id),
      element("p", {}, element("span", {}, hit.doc_id), element("code", {}, hit.docid_text), explain && button),
    ),
    element(
      "p",
      { class: "score", title: `log-probability ${hit.score.toFixed(3)}` },
      element("b", {}, percent(Math.exp(hit.score))), bar, isProven ? element("small", { class: "proven" }, "✓ proven") : null, element("small", {}, `log p ${hit.score.toFixed(3)}`),
    ),
    panel,
  );
}

/** Open or close a panel; the explanation is shown by `show` as soon as it has arrived. */
async function toggle(button, panel, explain, show) {
  panel.hidden = !panel.hidden;
  button.setAttribute("aria-expanded", String(!panel.hidden));
  if (!panel.hidden && !panel.hasChildNodes()) panel.replaceChildren(element("p", {}, "Loading…"));
  try {
    show(await explain());
  } catch (problem) {
    if (problem.name !== "AbortError") panel.replaceChildren(element("p", { role: "alert", class: "error" }, problem.message));
  }
}

/** The whole search as a tree, drawn and as a list. */
function showTree(explain, view) {
  const panel = element("div", { id: "tree-panel", class: "panel", hidden: "" });
  const attributes = { type: "button", "aria-expanded": "false", "aria-controls": panel.id };
  const button = element("button", attributes, "Show the whole search as a tree");
  button.addEventListener("click", () => toggle(button, panel, explain, (found) => {
    const frame = element("div", { class: "frame", tabindex: "0", role: "img", "aria-label": "The tree, drawn; the list below says the same" });
    view.redraw = () => frame.replaceChildren(drawTree(found, view.opened));
    view.redraw();
    panel.replaceChildren(
      element("p", {}, ...describeTree(found)),
      frame,
      element("details", {}, element("summary", {}, "The tree as a list"), element("ul", { class: "list" }, listTree(found.tree, namePrior(found.experts).toLowerCase()))),
    );
  }));
  tree.replaceChildren(button, panel);
}

function describeTree(found) {
  const levels = found.levels.map(({ level, considered, kept, hits: ended }) =>
    `Level ${level}: ${count(considered, "prefix", "prefixes")} considered, ${kept} kept, ${count(ended, "hit", "hits")}. `);
  return [
    `${count(found.beams, "beam", "beams")}. ${levels.join("")}Each box has a prefix of docids, its probability, `,
    found.experts.length ? "what the experts alone would give it" : "the share of the documents below it",
    ", and by which factor the model changes that. ",
    element("b", { class: "hit" }, "Green"), " are hits, ", element("b", { class: "kept" }, "blue"), " what the beams kept, ",
    element("b", { class: "pruned" }, "grey"), " the most likely of what they lost.",
  ];
}

/** Search for something else, with an address of its own. */
function open(request) {
  const parameters = new URLSearchParams({ q: request.query });
  if (request.k && Number(request.k) !== 10) parameters.set("k", request.k);
  if (request.beams) parameters.set("beams", request.beams);
  history.pushState(null, "", `?${parameters}`);
  search();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const { q, k, beams } = form.elements;
  if (q.value.trim()) open({ query: q.value.trim(), k: k.value, beams: beams.value });
});
addEventListener("popstate", search);
search();
