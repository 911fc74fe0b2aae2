// A small picture of any image: that which lies beside the page, else one drawn from the image.

import { fetchVolume } from "./nifti.js";

const MOST_AT_ONCE = 2, MOST_KEPT = 400;

export class Pictures {
  constructor(rows) {
    this.rows = rows;
    this.there = new Set(rows.pictured.indices);
    this.drawn = new Map(); // sample -> canvas
    this.waiting = [];
    this.busy = 0;
    this.seen = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        this.seen.unobserve(target);
        this.waiting.push(target);
      }
      this.next();
    }, { rootMargin: "100px" });
  }

  // Whether there is a picture of a row, or can be.
  has(row) {
    return this.there.has(this.rows.index.values[row]) || this.canDraw(row);
  }

  canDraw(row) {
    return this.rows.pictured.drawn && this.rows.hasImage(row) && !navigator.connection?.saveData;
  }

  // An <img>, or a <canvas> that is drawn once it is seen; null where there is no picture.
  of(row, alt) {
    const { width, height } = this.rows.pictured;
    const sample = this.rows.sample(row);
    if (this.there.has(this.rows.index.values[row])) {
      return Object.assign(document.createElement("img"), {
        width, height, alt, loading: "lazy", decoding: "async", src: `page/pictures/${sample}.png`,
      });
    }
    if (!this.canDraw(row)) return null;
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    if (alt) { canvas.setAttribute("role", "img"); canvas.setAttribute("aria-label", alt); }
    else canvas.setAttribute("aria-hidden", "true");
    canvas.dataset.row = row;
    if (this.drawn.has(sample)) canvas.getContext("2d").drawImage(this.drawn.get(sample), 0, 0);
    else this.seen.observe(canvas);
    return canvas;
  }

  async next() {
    while (this.busy < MOST_AT_ONCE && this.waiting.length) {
      const canvas = this.waiting.shift();
      if (!canvas.isConnected) continue;
      this.busy++;
      this.draw(canvas, Number(canvas.dataset.row)).catch(() => {}).finally(() => { this.busy--; this.next(); });
    }
  }

  async draw(canvas, row) {
    const volume = await fetchVolume(this.rows.image(row));
    const slice = volume.slice(0, 1, volume.middle());
    const whole = Object.assign(document.createElement("canvas"), { width: slice.width, height: slice.height });
    whole.getContext("2d").putImageData(slice, 0, 0);
    const [left, top, width, height] = this.rows.pictured.crop;
    canvas.getContext("2d").drawImage(
      whole, left * slice.width, top * slice.height, width * slice.width, height * slice.height,
      0, 0, canvas.width, canvas.height,
    );
    if (this.drawn.size >= MOST_KEPT) this.drawn.delete(this.drawn.keys().next().value);
    this.drawn.set(this.rows.sample(row), canvas);
  }
}
