// Sliders ask, the server draws and then measures. One question at a time: the latest one waits.
import { Planes } from "./planes.js";

const element = (id) => document.getElementById(id);
const planes = new Planes({
  sagittal: element("sagittal"), coronal: element("coronal"), axial: element("axial"),
});
const status = (text) => { element("status").textContent = text; };
let about = null;
let asking = false;
let wanted = null; // what is to be drawn next
const chosen = new Map(); // name -> value
const held = new Set(); // names that go into the command

async function ask(what, question) {
  const answer = await fetch(what, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(question),
  });
  const document = await answer.json();
  if (!answer.ok) throw new Error(document.error ?? answer.statusText);
  return document;
}

const number = (value) => Number(value).toLocaleString("en", { maximumFractionDigits: 1 });

function shown(covariate, value) {
  if (typeof value === "string") return value;
  if (covariate.unit === "mm3") return `${number(value / 1000)} mL`;
  return `${number(value)} ${covariate.unit}`.trim();
}

function make(tag, attributes, ...children) {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children);
  return node;
}

function control(covariate) {
  const id = `of-${covariate.name}`;
  const title = make("label", { htmlFor: id, className: "title", textContent: covariate.name.replaceAll("_", " ") });
  title.title = covariate.description;
  const hold = make("input", { type: "checkbox", className: "hold" });
  hold.dataset.name = covariate.name;
  hold.addEventListener("change", () => {
    if (hold.checked) held.add(covariate.name); else held.delete(covariate.name);
    command();
  });
  const fixed = make("label", { className: "fixed" }, hold, " fixed in a release");
  const set = (value) => {
    chosen.set(covariate.name, value);
    held.add(covariate.name);
    hold.checked = true;
    changed();
  };
  const box = make("div", { className: "covariate" });
  if (covariate.levels.length) {
    const select = make("select", { id }, ...covariate.levels.map((level) => make("option", { value: level, textContent: level })));
    select.addEventListener("change", () => set(select.value));
    box.append(make("div", { className: "row" }, title, select), fixed);
    covariate.put = (value) => { select.value = value; };
  } else {
    const range = { min: covariate.minimum, max: covariate.maximum, step: covariate.step };
    const slider = make("input", { type: "range", id, ...range });
    const field = make("input", { type: "number", step: "any" });
    field.setAttribute("aria-label", `${covariate.name} in ${covariate.unit}`);
    slider.addEventListener("input", () => { field.value = slider.value; set(Number(slider.value)); });
    field.addEventListener("change", () => {
      if (!Number.isFinite(field.valueAsNumber)) return;
      slider.value = field.value;
      set(field.valueAsNumber);
    });
    box.append(make("div", { className: "row" }, title, field, make("span", { textContent: covariate.unit })), slider, fixed);
    covariate.put = (value) => { slider.value = value; field.value = value; };
  }
  covariate.release = () => { hold.checked = false; };
  return box;
}

function reset() {
  for (const covariate of about.covariates) {
    chosen.set(covariate.name, covariate.value);
    covariate.put(covariate.value);
    covariate.release();
  }
  held.clear();
  changed();
}

function question() {
  return { seed: Math.max(0, Math.floor(element("seed").valueAsNumber || 0)), covariates: Object.fromEntries(chosen) };
}

function changed() {
  wanted = question();
  command();
  compare({});
  if (!asking) answerAll();
}

function show(drawn) {
  planes.show(drawn.shape, Uint8Array.from(atob(drawn.voxels), (c) => c.charCodeAt(0)));
}

async function answerAll() {
  asking = true;
  while (wanted) {
    const now = wanted;
    wanted = null;
    try {
      status("drawing");
      if (about.sketches) {
        const sketch = await ask("sketch", now);
        show(sketch);
        status(`sketched in ${sketch.seconds} s; drawing its fine structure`);
        if (wanted) continue;
      }
      const drawn = await ask("draw", now);
      show(drawn);
      const beyond = drawn.beyond.length ? ` Beyond what the model was trained on: ${drawn.beyond.join("; ")}.` : "";
      status(`drawn in ${drawn.seconds} s; measuring.${beyond}`);
      if (wanted) continue;
      const told = await ask("measure", now);
      if (wanted) continue;
      compare(told.found);
      status(`drawn in ${drawn.seconds} s and measured.${beyond}`);
    } catch (error) {
      status(String(error.message ?? error));
    }
  }
  asking = false;
}

function compare(found) {
  const rows = about.covariates.map((covariate) => {
    const value = found[covariate.name];
    const measured = value === undefined ? (covariate.measured ? "…" : "not measured") : shown(covariate, value);
    return make("tr", {},
      make("th", { scope: "row", textContent: covariate.name.replaceAll("_", " ") }),
      make("td", { textContent: shown(covariate, chosen.get(covariate.name)) }),
      make("td", { textContent: measured, className: "measured" }));
  });
  element("compared").tBodies[0].replaceChildren(...rows);
}

const word = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function command() {
  const count = Math.max(1, Math.floor(element("count").valueAsNumber || 1));
  const fixed = about.covariates.filter(({ name }) => held.has(name))
    .flatMap(({ name }) => ["--fix", `${name}=${chosen.get(name)}`]);
  const words = ["brainpress", "generate", "--model", about.source, "--n", String(count), ...fixed, "--out", "such-people"];
  element("command").firstElementChild.textContent = words.map(word).join(" ");
}

async function begin() {
  about = await ask("about", {});
  document.title = `brainpress: ${about.name}`;
  element("name").textContent = about.demo ? `${about.name}, a demonstration` : about.name;
  element("told").textContent = about.told;
  element("measured-by").textContent = `Measured: ${about.measured_by}; volumes as they are, not normalised for head size.`;
  element("covariates").append(...about.covariates.map(control));
  element("another").addEventListener("click", () => { element("seed").value = (element("seed").valueAsNumber || 0) + 1; changed(); });
  element("seed").addEventListener("change", changed);
  element("reset").addEventListener("click", reset);
  element("count").addEventListener("input", command);
  element("people").addEventListener("submit", (event) => event.preventDefault());
  element("command-button").addEventListener("click", () => { element("command").hidden = false; element("copy").hidden = false; });
  element("copy").addEventListener("click", () => navigator.clipboard.writeText(element("command").innerText.trim()));
  reset();
}

begin().catch((error) => status(String(error.message ?? error)));
