// A NIfTI-1 volume, unpacked in the browser and turned so that x, y, z go right, front, top.

const READERS = {
  2: ["getUint8", 1], 256: ["getInt8", 1], 4: ["getInt16", 2], 512: ["getUint16", 2],
  8: ["getInt32", 4], 768: ["getUint32", 4], 16: ["getFloat32", 4], 64: ["getFloat64", 8],
};
const ARRAYS = {
  2: Uint8Array, 256: Int8Array, 4: Int16Array, 512: Uint16Array,
  8: Int32Array, 768: Uint32Array, 16: Float32Array, 64: Float64Array,
};
const MOST_VOXELS = 512 ** 3;
const HEADER = 348;
const OPACITY = 0.45; // of the regions over an image

export async function fetchVolume(address, signal) {
  const answer = await fetch(address, { signal });
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return parse(await unpacked(await answer.blob()));
}

// A server may have unpacked it already.
async function unpacked(blob) {
  const start = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  if (start[0] !== 0x1f || start[1] !== 0x8b) return blob.arrayBuffer();
  return new Response(blob.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

export function parse(buffer) {
  if (buffer.byteLength < HEADER) throw new Error("the file is too short for a NIfTI volume");
  const view = new DataView(buffer);
  const little = view.getInt32(0, true) === HEADER;
  if (!little && view.getInt32(0, false) !== HEADER) throw new Error("the file is no NIfTI volume");
  const float = (at) => view.getFloat32(at, little);
  const short = (at) => view.getInt16(at, little);

  const shape = [1, 2, 3].map((axis) => (axis <= short(40) ? Math.max(1, short(40 + 2 * axis)) : 1));
  const count = shape[0] * shape[1] * shape[2];
  const type = short(70), start = float(108);
  if (!READERS[type]) throw new Error(`voxels of NIfTI type ${type} cannot be shown`);
  const [reader, bytes] = READERS[type];
  if (count > MOST_VOXELS || !(start >= HEADER) || start + count * bytes > buffer.byteLength) {
    throw new Error("the file is shorter than its header says");
  }
  const native = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
  let voxels;
  if (little === native && start % bytes === 0) {
    voxels = new ARRAYS[type](buffer, start, count);
  } else {
    voxels = Float64Array.from({ length: count }, (_, i) => view[reader](start + i * bytes, little));
  }
  const slope = float(112) || 1, intercept = float(112) ? float(116) : 0;
  return new Volume(shape, affineOf(view, float, short), voxels, slope, intercept);
}

// Voxel to mm, three rows of four: the sform, else the qform, else the voxels' sizes.
function affineOf(view, float, short) {
  const row = (at) => [0, 4, 8, 12].map((step) => float(at + step));
  if (short(254) > 0) return [row(280), row(296), row(312)];
  const size = [80, 84, 88].map((at) => Math.abs(float(at)) || 1);
  if (short(252) <= 0) return size.map((s, i) => [0, 1, 2].map((j) => (i === j ? s : 0)).concat(0));
  const [b, c, d] = [256, 260, 264].map(float);
  const a = Math.sqrt(Math.max(0, 1 - b * b - c * c - d * d));
  const turn = [
    [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
    [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
    [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
  ];
  const sign = float(76) < 0 ? -1 : 1;
  return turn.map((line, i) => [line[0] * size[0], line[1] * size[1], line[2] * size[2] * sign, float(268 + 4 * i)]);
}

export class Volume {
  constructor(shape, affine, voxels, slope, intercept) {
    Object.assign(this, { voxels, slope, intercept, affine });
    const strides = [1, shape[0], shape[0] * shape[1]];
    const free = [0, 1, 2];
    // For right, front and top in turn: the axis of the file that goes most that way.
    this.axes = [0, 1, 2].map((way) => {
      free.sort((p, q) => Math.abs(affine[way][q]) - Math.abs(affine[way][p]));
      const axis = free.shift();
      const turned = affine[way][axis] < 0;
      return { axis, turned, side: shape[axis], stride: turned ? -strides[axis] : strides[axis],
        first: turned ? (shape[axis] - 1) * strides[axis] : 0,
        size: Math.hypot(affine[0][axis], affine[1][axis], affine[2][axis]) };
    });
    this.shape = this.axes.map(({ side }) => side);
    this.first = this.axes.reduce((sum, { first }) => sum + first, 0);
    this.white = this.brightest(0.998);
  }

  at([i, j, k]) {
    const [x, y, z] = this.axes;
    return this.voxels[this.first + i * x.stride + j * y.stride + k * z.stride] * this.slope + this.intercept;
  }

  // Whether another volume's voxels lie where these do, in the same order.
  sameGrid(other) {
    const near = (row, y) => row.every((value, x) => Math.abs(value - other.affine[y][x]) < 1e-3);
    return this.voxels.length === other.voxels.length && this.affine.every(near)
      && this.shape.every((side, way) => side === other.shape[way]);
  }

  // Where a voxel lies, in mm.
  millimetres(place) {
    const voxel = [0, 0, 0];
    this.axes.forEach(({ axis, turned, side }, way) => { voxel[axis] = turned ? side - 1 - place[way] : place[way]; });
    return this.affine.map((row) => row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2] + row[3]);
  }

  // The middle of the head, raised to the ventricles.
  middle() {
    const step = Math.max(1, Math.round(Math.cbrt(this.voxels.length / 100_000)));
    const sums = [0, 0, 0], least = this.white / 10;
    let count = 0, low = this.shape[2], high = 0;
    for (let k = 0; k < this.shape[2]; k += step) {
      for (let j = 0; j < this.shape[1]; j += step) {
        for (let i = 0; i < this.shape[0]; i += step) {
          if (this.at([i, j, k]) <= least) continue;
          sums[0] += i; sums[1] += j; sums[2] += k;
          count++;
          if (k < low) low = k;
          if (k > high) high = k;
        }
      }
    }
    if (!count) return this.shape.map((side) => side >> 1);
    sums[2] += count * 0.05 * (high - low);
    return sums.map((sum) => Math.round(sum / count));
  }

  // The value below which this share of some 100,000 voxels lies.
  brightest(share) {
    const step = Math.max(1, Math.floor(this.voxels.length / 100_003));
    const some = new Float64Array(Math.ceil(this.voxels.length / step));
    for (let i = 0; i < some.length; i++) some[i] = this.voxels[i * step] * this.slope + this.intercept;
    some.sort();
    return some[Math.floor(share * (some.length - 1))] || some[some.length - 1] || 1;
  }

  // The grey picture across two ways at a place, top row first; 0 is right, 1 front, 2 top.
  // Over it, where given, what a label map of the same grid tells there, in the colours of `regions`.
  // `low` is drawn black and `high` white.
  slice(across, up, place, labels = null, regions = null, { low = 0, high = this.white, opacity = OPACITY } = {}) {
    const width = this.shape[across], height = this.shape[up];
    const pixels = new Uint8ClampedArray(width * height * 4);
    const through = 3 - across - up;
    const start = this.first + place[through] * this.axes[through].stride;
    const scale = 255 / (high - low);
    for (let y = 0, to = 0; y < height; y++) {
      let from = start + (height - 1 - y) * this.axes[up].stride;
      for (let x = 0; x < width; x++, to += 4, from += this.axes[across].stride) {
        const grey = (this.voxels[from] * this.slope + this.intercept - low) * scale;
        pixels[to] = pixels[to + 1] = pixels[to + 2] = grey;
        pixels[to + 3] = 255;
        const region = labels && regions.get(labels.voxels[from]);
        if (!region) continue;
        for (let part = 0; part < 3; part++) {
          pixels[to + part] = (1 - opacity) * pixels[to + part] + opacity * region.colour[part];
        }
      }
    }
    return new ImageData(pixels, width, height);
  }
}
