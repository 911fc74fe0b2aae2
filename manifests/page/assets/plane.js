// One plane of a volume: its slice, the cross in it, and how near it is looked at.

// Ways: 0 right, 1 front, 2 top.
export const PLANES = [
  { name: "Coronal", across: 0, up: 2, ends: ["L", "R"] },
  { name: "Sagittal", across: 1, up: 2, ends: ["P", "A"] },
  { name: "Axial", across: 0, up: 1, ends: ["L", "R"] },
];

export class Plane {
  // `move(way, to)` puts the cross at a voxel, `zoom(factor)` goes nearer.
  constructor({ name, across, up, ends }, { move, zoom }) {
    Object.assign(this, { across, up, through: 3 - across - up, scale: 1, left: 0, top: 0 });
    this.figure = element("figure", { className: `plane ${name.toLowerCase()}` });
    this.stage = element("div", { className: "stage" });
    this.canvas = element("canvas", { width: 1, height: 1, tabIndex: 0 });
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${name} slice`);
    if (matchMedia("(hover: hover)").matches) this.canvas.setAttribute("aria-describedby", "viewer-keys");
    this.lines = ["upright", "across"].map((kind) => element("i", { className: kind }));
    const marks = ends.map((end, side) => element("span", { className: `end end${side}`, textContent: end }));
    this.slider = element("input", { type: "range", min: 0, step: 1 });
    this.slider.setAttribute("aria-label", `${name} slice`);
    this.stage.append(this.canvas, ...this.lines, ...marks);
    this.figure.append(this.stage, this.slider);
    this.slider.addEventListener("input", () => move(this.through, Number(this.slider.value)));
    this.listen(move, zoom);
  }

  listen(move, zoom) {
    const { canvas, across, up, through } = this;
    const fingers = new Map();
    let apart = 0;
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      move(across, ((event.clientX - box.left) / box.width) * canvas.width - 0.5);
      move(up, (1 - (event.clientY - box.top) / box.height) * canvas.height - 0.5);
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, event);
      if (fingers.size === 1) point(event); else apart = distance(fingers);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!fingers.has(event.pointerId)) return;
      fingers.set(event.pointerId, event);
      if (fingers.size === 1) { point(event); return; }
      const now = distance(fingers);
      if (apart) zoom(now / apart);
      apart = now;
    });
    const lift = (event) => { fingers.delete(event.pointerId); apart = 0; };
    canvas.addEventListener("pointerup", lift);
    canvas.addEventListener("pointercancel", lift);
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.ctrlKey || event.metaKey) zoom(event.deltaY < 0 ? 1.1 : 1 / 1.1);
      else move(through, -Math.sign(event.deltaY), true);
    }, { passive: false });
    const steps = { ArrowLeft: [across, -1], ArrowRight: [across, 1], ArrowUp: [up, 1], ArrowDown: [up, -1],
      PageUp: [through, 1], PageDown: [through, -1] };
    const factors = { "+": 1.25, "=": 1.25, "-": 1 / 1.25, "0": 0 };
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key in steps) move(...steps[event.key], true);
      else if (event.key in factors) zoom(factors[event.key]);
      else return;
      event.preventDefault();
    });
  }

  // The plane's shape, of a volume whose axes are so long.
  lay(volume, length) {
    this.stage.style.aspectRatio = `${length[this.across]} / ${length[this.up]}`;
    this.canvas.width = volume.shape[this.across];
    this.canvas.height = volume.shape[this.up];
    this.slider.max = volume.shape[this.through] - 1;
  }

  draw(volume, at, scale, look) {
    const { across, up, through } = this;
    this.canvas.getContext("2d").putImageData(volume.slice(across, up, at, look.labels, look.regions, look), 0, 0);
    const x = (at[across] + 0.5) / volume.shape[across];
    const y = 1 - (at[up] + 0.5) / volume.shape[up];
    this.frame(x, y, scale);
    this.canvas.style.transform = `scale(${scale}) translate(${-this.left * 100}%, ${-this.top * 100}%)`;
    this.lines[0].style.left = `${(x - this.left) * scale * 100}%`;
    this.lines[1].style.top = `${(y - this.top) * scale * 100}%`;
    this.slider.value = at[through];
    this.slider.setAttribute("aria-valuetext", `${volume.millimetres(at)[through].toFixed(1)} mm`);
  }

  // What part of the slice is seen: it stays until the cross would leave it, or the scale changes.
  frame(x, y, scale) {
    const side = 1 / scale;
    const inside = (place, from) => place >= from && place <= from + side;
    if (scale === this.scale && inside(x, this.left) && inside(y, this.top)) return;
    this.scale = scale;
    this.left = Math.min(Math.max(x - side / 2, 0), 1 - side);
    this.top = Math.min(Math.max(y - side / 2, 0), 1 - side);
  }
}

function distance(fingers) {
  const [a, b] = [...fingers.values()];
  return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
}

function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
