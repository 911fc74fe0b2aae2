// The viewer: three planes of one volume, its covariates beside them, its neighbours a key away.

import { fetchVolume } from "./nifti.js";
import { hasWebGL2, openNiiVue } from "./niivue.js";

// Ways: 0 right, 1 front, 2 top.
const PLANES = [
  { name: "Coronal", across: 0, up: 2, ends: ["L", "R"] },
  { name: "Sagittal", across: 1, up: 2, ends: ["P", "A"] },
  { name: "Axial", across: 0, up: 1, ends: ["L", "R"] },
];

export class Viewer {
  constructor(rows, { open, close, neighbour }) {
    Object.assign(this, { rows, open, close, neighbour, sample: null, ended: null });
    const parts = {
      dialog: "viewer", title: "viewer-title", note: "viewer-note", facts: "viewer-facts",
      file: "viewer-file", button: "viewer-niivue", planes: "planes", place: "niivue",
      before: "before", after: "after", told: "readout", choice: "viewer-regions",
      regionsOn: "viewer-regions-on",
    };
    for (const [name, id] of Object.entries(parts)) this[name] = document.getElementById(id);
    this.dialog.addEventListener("cancel", (event) => { event.preventDefault(); this.close(); });
    this.dialog.addEventListener("click", (event) => { if (event.target === this.dialog) this.close(); });
    document.getElementById("close").addEventListener("click", () => this.close());
    this.before.addEventListener("click", () => this.step(-1));
    this.after.addEventListener("click", () => this.step(1));
    this.button.addEventListener("click", () => this.toggleNiiVue());
    this.regionsOn.addEventListener("change", () => this.toggleRegions());
    this.planeViews = PLANES.map((plane) => this.plane(plane));
    this.planes.prepend(...this.planeViews.map(({ figure }) => figure));
  }

  // Open on a sample, or close where it is null.
  show(sample) {
    if (sample === this.sample) return;
    this.sample = sample;
    this.loading?.abort();
    this.endNiiVue();
    if (sample === null) {
      this.dialog.close();
      return;
    }
    this.volume = this.labels = null;
    this.planes.classList.add("empty");
    const row = this.rows.rowOf(sample);
    this.title.textContent = row < 0 ? "No such image" : sample;
    this.tell(row);
    this.before.disabled = this.neighbour(sample, -1) === null;
    this.after.disabled = this.neighbour(sample, 1) === null;
    if (!this.dialog.open) this.dialog.showModal();
    this.load(row);
  }

  step(by) {
    const next = this.neighbour(this.sample, by);
    if (next !== null) this.open(next);
  }

  // What the manifest says of it; what is the same of every sample is left out.
  tell(row) {
    const facts = [];
    for (const column of row < 0 ? [] : this.rows.columns) {
      if (column.role === "key" || (column.role === "told" && column.levels.length < 2)) continue;
      const value = element("dd", { textContent: this.rows.text(column, row) });
      if (column.unit) value.append(element("span", { className: "unit", textContent: ` ${column.unit}` }));
      const bins = column.bins ?? this.rows.byName.get(column.shows)?.bins;
      if (bins) value.append(scale(bins, column.values[row]));
      const fact = element("div", {});
      fact.append(element("dt", { textContent: column.label }), value);
      facts.push(fact);
    }
    this.facts.replaceChildren(...facts);
    this.told.textContent = "";
  }

  async load(row) {
    const there = row >= 0 && this.rows.hasImage(row);
    this.file.hidden = this.button.hidden = !there;
    this.labelsAt = there ? this.rows.labels(row) : null;
    this.choice.hidden = this.labelsAt === null;
    if (!there) {
      this.note.textContent = row < 0 ? "This release has no image of that name." : "This sample has no image.";
      return;
    }
    const address = this.rows.image(row);
    this.file.href = address;
    this.address = address;
    this.loading = new AbortController();
    this.note.textContent = "Loading…";
    try {
      const volume = await fetchVolume(address, this.loading.signal);
      if (address !== this.address) return;
      this.at = volume.middle();
      this.volume = volume;
      this.note.textContent = "";
      this.lay();
      this.draw();
    } catch (error) {
      if (error.name !== "AbortError") this.note.textContent = `It cannot be shown: ${error.message}.`;
      return;
    }
    await this.loadLabels();
  }

  async toggleRegions() {
    this.endNiiVue();
    if (this.volume) this.draw();
    await this.loadLabels();
  }

  // The label map, fetched once a reader wants to see it.
  async loadLabels() {
    const { address, volume } = this;
    if (!this.regionsOn.checked || this.labelsAt === null || this.labels || !volume) return;
    try {
      const labels = await fetchVolume(this.labelsAt, this.loading.signal);
      if (address !== this.address) return;
      if (!volume.sameGrid(labels)) throw new Error("it lies on another grid than its image");
      this.labels = labels;
      this.draw();
    } catch (error) {
      if (error.name !== "AbortError") this.note.textContent = `No label map can be shown: ${error.message}.`;
    }
  }

  plane({ name, across, up, ends }) {
    const through = 3 - across - up;
    const figure = element("figure", { className: `plane ${name.toLowerCase()}` });
    const stage = element("div", { className: "stage" });
    const canvas = element("canvas", { width: 1, height: 1, tabIndex: 0 });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${name} slice; arrow keys move the cross, Page Up and Page Down the slice`);
    const lines = ["upright", "across"].map((kind) => element("i", { className: kind }));
    const marks = ends.map((end, side) => element("span", { className: `end end${side}`, textContent: end }));
    const slider = element("input", { type: "range", min: 0, step: 1 });
    slider.setAttribute("aria-label", `${name} slice`);
    stage.append(canvas, ...lines, ...marks);
    figure.append(stage, slider);

    const move = (way, to) => {
      if (!this.volume) return;
      this.at[way] = Math.min(Math.max(Math.round(to), 0), this.volume.shape[way] - 1);
      this.draw();
    };
    slider.addEventListener("input", () => move(through, Number(slider.value)));
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      if (!this.volume || !(event.buttons & 1)) return;
      move(across, ((event.clientX - box.left) / box.width) * this.volume.shape[across] - 0.5);
      move(up, (1 - (event.clientY - box.top) / box.height) * this.volume.shape[up] - 0.5);
    };
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); point(event); });
    canvas.addEventListener("pointermove", point);
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      move(through, this.at[through] - Math.sign(event.deltaY));
    }, { passive: false });
    const keys = { ArrowLeft: [across, -1], ArrowRight: [across, 1], ArrowUp: [up, 1], ArrowDown: [up, -1],
      PageUp: [through, 1], PageDown: [through, -1] };
    canvas.addEventListener("keydown", (event) => {
      const key = keys[event.key];
      if (!key || !this.volume) return;
      event.preventDefault();
      move(key[0], this.at[key[0]] + key[1]);
    });
    return { figure, stage, canvas, lines, slider, across, up, through };
  }

  // The planes to one scale, so that a millimetre is as long in each.
  lay() {
    const length = this.volume.axes.map(({ side, size }) => side * size);
    this.planes.style.setProperty("--columns", `${length[0]}fr ${length[1]}fr`);
    this.dialog.style.setProperty("--ratio", (length[0] + length[1]) / (length[2] + length[1]));
    for (const { stage, canvas, slider, across, up, through } of this.planeViews) {
      stage.style.aspectRatio = `${length[across]} / ${length[up]}`;
      canvas.width = this.volume.shape[across];
      canvas.height = this.volume.shape[up];
      slider.max = this.volume.shape[through] - 1;
    }
    this.planes.classList.remove("empty");
  }

  draw() {
    const { volume, at } = this;
    const labels = this.regionsOn.checked ? this.labels : null;
    for (const { canvas, lines, slider, across, up, through } of this.planeViews) {
      canvas.getContext("2d").putImageData(volume.slice(across, up, at, labels, this.rows.regions), 0, 0);
      lines[0].style.left = `${((at[across] + 0.5) / volume.shape[across]) * 100}%`;
      lines[1].style.top = `${(1 - (at[up] + 0.5) / volume.shape[up]) * 100}%`;
      slider.value = at[through];
      slider.setAttribute("aria-valuetext", `${volume.millimetres(at)[through].toFixed(1)} mm`);
    }
    const [x, y, z] = volume.millimetres(at).map((length) => length.toFixed(1).replace("-", "−"));
    const region = labels && this.rows.regions.get(labels.at(at))?.name;
    this.told.textContent = `x ${x}  y ${y}  z ${z} mm\nintensity ${volume.at(at).toFixed(3)}${region ? `\n${region}` : ""}`;
  }

  async toggleNiiVue() {
    if (this.ended) { this.endNiiVue(); return; }
    if (!hasWebGL2()) {
      this.note.textContent = "NiiVue needs WebGL 2, which this browser does not have.";
      return;
    }
    const address = this.address;
    this.note.textContent = "Loading NiiVue…";
    this.button.disabled = true;
    this.planes.classList.add("rich");
    this.place.hidden = false;
    try {
      const { niivue: src, integrity } = this.dialog.dataset;
      const labels = this.regionsOn.checked && this.labels ? this.labelsAt : null;
      const end = await openNiiVue(this.place, address, { src, integrity, labels, regions: this.rows.regions });
      if (address !== this.address) { end(); return; }
      this.ended = end;
      this.button.textContent = "Back to the plain view";
      this.note.textContent = "";
    } catch (error) {
      this.endNiiVue();
      this.note.textContent = `${error.message}.`;
    } finally {
      this.button.disabled = false;
    }
  }

  endNiiVue() {
    this.ended?.();
    this.ended = null;
    this.place.hidden = true;
    this.planes.classList.remove("rich");
    this.button.textContent = "Open in NiiVue";
  }
}

// Where a value stands between the ends of its figure.
function scale({ low, step, count }, value) {
  const line = element("span", { className: "scale" });
  const mark = element("i", {});
  mark.style.left = `${Math.min(1, Math.max(0, (value - low) / (step * count))) * 100}%`;
  if (!Number.isNaN(value)) line.append(mark);
  return line;
}

function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
