"use strict";
// Texts, names and formulas are shown with textContent alone, so that none of them can become HTML.
const find = (id) => document.getElementById(id);
const MOST_CLASSES = 12;

function element(kind, className, text) {
  const made = document.createElement(kind);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function headers() {
  const key = find("key").value.trim();
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

async function call(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers() });
  const body = await response.json();
  if (response.status === 401) find("key-row").hidden = false;
  if (!response.ok) throw new Error(body.error || `status ${response.status}`);
  return body;
}

let runs = [];

async function loadRuns() {
  runs = (await call("/info")).runs;
  find("runs").replaceChildren(...runs.map((run, index) => {
    const card = element("article");
    card.id = `run-${index}`;
    card.append(
      element("h2", "", run.title),
      element("p", "formula", run.formula),
      element("p", "small", `${run.name}: ${run.layers} blocks of width ${run.width}, ${run.norms} norms, ${run.skips} skips`),
      element("div", "classes"),
    );
    return card;
  }));
}

function show(card, answer) {
  const ranked = Object.entries(answer.probabilities).sort((first, second) => second[1] - first[1]);
  const rows = ranked.slice(0, MOST_CLASSES).map(([name, probability]) => {
    const row = element("div", name === answer.label ? "class best" : "class");
    const track = element("div", "track");
    const bar = element("div", "bar");
    bar.style.width = `${100 * probability}%`;
    track.append(bar);
    const label = element("span", "", name);
    label.title = name;
    row.append(label, track, element("span", "number", probability.toFixed(3)));
    return row;
  });
  if (ranked.length > MOST_CLASSES) rows.push(element("p", "small", `and ${ranked.length - MOST_CLASSES} more classes`));
  if (answer.is_full) rows.push(element("p", "small", "The text fills what this run reads; the rest was not read."));
  card.querySelector(".classes").replaceChildren(...rows);
}

async function ask() {
  const button = document.querySelector("button");
  button.disabled = true;
  find("notice").textContent = "";
  try {
    if (!runs.length) await loadRuns();
    const text = find("text").value;
    await Promise.all(runs.map(async (run, index) => {
      const body = JSON.stringify({ text, run: run.name });
      show(find(`run-${index}`), (await call("/predict", { method: "POST", body })).answers[0]);
    }));
  } catch (error) {
    document.querySelectorAll(".classes").forEach((place) => place.replaceChildren());
    find("notice").textContent = error.message;
  } finally {
    button.disabled = false;
  }
}

find("question").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
find("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); ask(); }
});

// A text after # never leaves the browser by itself, so a link can carry one past every log.
const given = new URLSearchParams(location.hash.slice(1)).get("text");
loadRuns().then(() => { if (given) { find("text").value = given; return ask(); } }).catch((error) => {
  find("notice").textContent = error.message;
});
