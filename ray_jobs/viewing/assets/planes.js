// Three planes of a volume on three canvases; a click moves the others there.

// Of each plane: the axis across, the axis upwards, and the one it is cut through.
const PLANES = { sagittal: [1, 2, 0], coronal: [0, 2, 1], axial: [0, 1, 2] };

export class Planes {
  constructor(canvases) {
    this.canvases = canvases;
    this.volume = null;
    this.at = null;
    for (const [name, canvas] of Object.entries(canvases)) {
      canvas.addEventListener("click", (event) => this.point(name, canvas, event));
    }
  }

  // A volume: shape [x, y, z] and voxels, one byte each, x the fastest.
  show(shape, voxels) {
    const same = this.volume && this.volume.shape.join() === shape.join();
    this.volume = { shape, voxels };
    if (!same) this.at = shape.map((side) => Math.floor(side / 2));
    this.draw();
  }

  point(name, canvas, event) {
    if (!this.volume) return;
    const [across, up] = PLANES[name];
    const { shape } = this.volume;
    const box = canvas.getBoundingClientRect();
    const part = (value, size) => Math.min(0.999, Math.max(0, value / size));
    this.at[across] = Math.floor(part(event.clientX - box.left, box.width) * shape[across]);
    this.at[up] = shape[up] - 1 - Math.floor(part(event.clientY - box.top, box.height) * shape[up]);
    this.draw();
  }

  draw() {
    for (const [name, canvas] of Object.entries(this.canvases)) this.cut(name, canvas);
  }

  cut(name, canvas) {
    const { shape, voxels } = this.volume;
    const [across, up, through] = PLANES[name];
    const strides = [1, shape[0], shape[0] * shape[1]];
    const [width, height] = [shape[across], shape[up]];
    canvas.width = width;
    canvas.height = height;
    const pen = canvas.getContext("2d");
    const image = pen.createImageData(width, height);
    const first = this.at[through] * strides[through];
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const grey = voxels[first + x * strides[across] + (height - 1 - y) * strides[up]];
        image.data.set([grey, grey, grey, 255], 4 * (y * width + x));
      }
    }
    pen.putImageData(image, 0, 0);
    pen.fillStyle = "#4aa3ff66";
    pen.fillRect(this.at[across], 0, 1, height);
    pen.fillRect(0, height - 1 - this.at[up], width, 1);
  }
}
