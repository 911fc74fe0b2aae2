// The viewer: three planes of one volume, what is known of it beside them, its neighbours a key away.

import { fetchVolume } from "./nifti.js";
import { hasWebGL2, openNiiVue } from "./niivue.js";
import { Plane, PLANES } from "./plane.js";

const MOST_ZOOM = 8;

export class Viewer {
  constructor(rows, { open, close, neighbour }) {
    Object.assign(this, { rows, open, close, neighbour, sample: null, ended: null, zoomed: 1 });
    const parts = {
      dialog: "viewer", title: "viewer-title", note: "viewer-note", facts: "viewer-facts",
      file: "viewer-file", button: "viewer-niivue", planes: "planes", place: "niivue",
      before: "before", after: "after", told: "readout", choice: "viewer-regions",
      regionsOn: "viewer-regions-on", opacity: "opacity", width: "window", level: "level",
      zoomTold: "zoom-told", zoomIn: "zoom-in", zoomOut: "zoom-out", reset: "as-it-was",
    };
    for (const [name, id] of Object.entries(parts)) this[name] = document.getElementById(id);
    this.dialog.addEventListener("cancel", (event) => { event.preventDefault(); this.close(); });
    this.dialog.addEventListener("click", (event) => { if (event.target === this.dialog) this.close(); });
    document.getElementById("close").addEventListener("click", () => this.close());
    this.before.addEventListener("click", () => this.step(-1));
    this.after.addEventListener("click", () => this.step(1));
    this.button.addEventListener("click", () => this.toggleNiiVue());
    this.regionsOn.addEventListener("change", () => this.toggleRegions());
    for (const slider of [this.width, this.level, this.opacity]) slider.addEventListener("input", () => this.draw());
    this.zoomIn.addEventListener("click", () => this.zoom(1.5));
    this.zoomOut.addEventListener("click", () => this.zoom(1 / 1.5));
    this.reset.addEventListener("click", () => this.asItWas());
    const moves = { move: (...where) => this.move(...where), zoom: (factor) => this.zoom(factor) };
    this.planeViews = PLANES.map((plane) => new Plane(plane, moves));
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
    const columns = row < 0 ? [] : this.rows.columns.filter((column) => !column.shows
      && column.role !== "key" && !(column.role === "told" && column.levels.length < 2));
    const measured = columns.some((column) => this.rows.partner(column) || column.role === "measured");
    const lines = columns.map((column) => this.fact(column, row, measured));
    this.facts.replaceChildren(...(measured ? [head(["", "asked", "measured"])] : []), ...lines);
    this.told.textContent = "";
  }

  fact(column, row, measured) {
    const line = element("tr", {});
    const name = element("th", { scope: "row", textContent: column.short });
    if (column.unit) name.append(element("span", { className: "unit", textContent: ` ${column.unit}` }));
    line.append(name);
    const found = column.role === "measured" ? column : this.rows.partner(column);
    for (const one of measured ? [column.role === "measured" ? null : column, found] : [column]) {
      line.append(element("td", { className: "number", textContent: one ? this.rows.text(one, row) : "" }));
    }
    return line;
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
    this.draw();
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

  // The cross to a voxel of a way, or so many voxels on.
  move(way, to, by = false) {
    if (!this.volume) return;
    const place = Math.round(by ? this.at[way] + to : to);
    this.at[way] = Math.min(Math.max(place, 0), this.volume.shape[way] - 1);
    this.draw();
  }

  // Nearer or farther; 0 shows all of it.
  zoom(factor) {
    this.zoomed = Math.min(Math.max(this.zoomed * factor, 1), MOST_ZOOM);
    if (this.zoomed < 1.02) this.zoomed = 1;
    this.draw();
  }

  asItWas() {
    for (const slider of [this.width, this.level, this.opacity]) slider.value = slider.defaultValue;
    this.zoom(0);
  }

  // The planes to one scale, so that a millimetre is as long in each.
  lay() {
    const length = this.volume.axes.map(({ side, size }) => side * size);
    this.planes.style.setProperty("--columns", `${length[0]}fr ${length[1]}fr`);
    this.dialog.style.setProperty("--ratio", (length[0] + length[1]) / (length[2] + length[1]));
    for (const plane of this.planeViews) plane.lay(this.volume, length);
    this.planes.classList.remove("empty");
  }

  // Between which intensities a voxel is black and white.
  ends() {
    const { white } = this.volume;
    const level = (this.level.value / 100) * white, width = (this.width.value / 100) * white;
    return { low: level - width / 2, high: level + width / 2 };
  }

  draw() {
    const { volume, at } = this;
    if (!volume) return;
    const labels = this.regionsOn.checked ? this.labels : null;
    const look = { labels, regions: this.rows.regions, ...this.ends(), opacity: this.opacity.value / 100 };
    for (const plane of this.planeViews) plane.draw(volume, at, this.zoomed, look);
    this.width.setAttribute("aria-valuetext", (look.high - look.low).toPrecision(3));
    this.level.setAttribute("aria-valuetext", ((look.high + look.low) / 2).toPrecision(3));
    this.zoomTold.textContent = `${Math.round(this.zoomed * 100)} %`;
    this.zoomOut.disabled = this.zoomed === 1;
    this.zoomIn.disabled = this.zoomed === MOST_ZOOM;
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
    this.dialog.classList.add("rich");
    this.place.hidden = false;
    try {
      const { niivue: src, integrity } = this.dialog.dataset;
      const labels = this.regionsOn.checked && this.labels ? this.labelsAt : null;
      const look = { labels, regions: this.rows.regions, opacity: this.opacity.value / 100, ...this.ends() };
      const end = await openNiiVue(this.place, address, this.volume.millimetres(this.at), look, { src, integrity });
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
    this.dialog.classList.remove("rich");
    this.button.textContent = "Open in NiiVue";
  }
}

function head(names) {
  const top = element("thead", {});
  const line = top.insertRow();
  names.forEach((name, place) => line.append(element(place ? "th" : "td", {
    ...(place ? { scope: "col" } : {}), className: place ? "number" : "", textContent: name,
  })));
  return top;
}

function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
