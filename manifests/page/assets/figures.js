// The figures above the table: they show how what is kept is spread, and choose what is kept.
// The paths are those of manifests/page/figures.py.

const WIDTH = 10, HEIGHT = 100, BAR = 9, LEAST = 0.8;

export class Figures {
  constructor(rows, change) {
    this.rows = rows;
    this.change = change;
    this.panels = [];
    for (const panel of document.querySelectorAll(".panel")) {
      const column = rows.byName.get(panel.dataset.column);
      panel.disabled = false;
      this.panels.push(column.levels.length ? this.levels(panel, column) : this.numbers(panel, column));
    }
  }

  show(choice, kept) {
    this.choice = choice;
    for (const panel of this.panels) panel(kept);
  }

  numbers(panel, column) {
    const { low, count } = column.bins;
    const { per } = column;
    const top = Number(panel.querySelector(".bars").dataset.top); // of all: what is kept has the same scale
    const [least, most] = panel.querySelectorAll("input[type=range]");
    const [from, to] = panel.querySelectorAll("input[type=number]");
    const high = Number(most.max);
    const set = (a, b) => this.change(this.choice.withRange(column.name, a, b));
    const slid = (moved) => {
      let a = Number(least.value), b = Number(most.value);
      if (a > b) { if (moved === least) { least.value = a = b; } else { most.value = b = a; } }
      set(a <= low ? null : a, b >= high ? null : b);
    };
    least.addEventListener("input", () => slid(least));
    most.addEventListener("input", () => slid(most));
    const written = (field) => (field.value === "" ? null : rounded(Number(field.value) * per));
    for (const field of [from, to]) field.addEventListener("input", () => set(written(from), written(to)));

    const measured = this.rows.columns.find((other) => other.shows === column.name);
    const groups = this.rows.groups;
    const place = binned(column.values, column.bins);
    const placeMeasured = measured && binned(measured.values, column.bins);
    const parts = [...panel.querySelectorAll("path.part")];
    const line = panel.querySelector("path.measured");
    return (kept) => {
      const [a, b] = this.choice.ranges.get(column.name) ?? [null, null];
      least.value = a ?? low;
      most.value = b ?? high;
      least.style.zIndex = least.value > (low + high) / 2 ? 1 : 0; // so that neither hides the other
      for (const [field, value] of [[from, a], [to, b]]) {
        if (field !== document.activeElement) field.value = value === null ? "" : rounded(value / per);
      }
      for (const slider of [least, most]) slider.setAttribute("aria-valuetext", `${rounded(slider.value / per)} ${column.unit}`);
      const counts = parts.map(() => new Uint32Array(count));
      for (const row of kept) {
        const bin = place[row];
        if (bin === 255) continue;
        const group = groups ? groups.values[row] : 0;
        if (counts[group]) counts[group][bin]++;
      }
      const below = new Uint32Array(count);
      parts.forEach((path, group) => {
        path.setAttribute("d", bars(counts[group], top, below));
        counts[group].forEach((more, bin) => { below[bin] += more; });
      });
      if (line) {
        const found = new Uint32Array(count);
        for (const row of kept) if (placeMeasured[row] !== 255) found[placeMeasured[row]]++;
        line.setAttribute("d", outline(found, top));
      }
    };
  }

  levels(panel, column) {
    const boxes = [...panel.querySelectorAll("input")];
    boxes.forEach((box, place) => box.addEventListener("change", () => {
      this.change(this.choice.withLevel(column.name, place, box.checked));
    }));
    const drawn = [...panel.querySelectorAll("rect.part")];
    const top = Number(panel.querySelector(".bar")?.dataset.top);
    const told = [...panel.querySelectorAll(".count")];
    return (kept) => {
      const chosen = this.choice.levels.get(column.name);
      boxes.forEach((box, place) => { box.checked = chosen?.has(place) ?? false; });
      const counts = new Uint32Array(boxes.length);
      for (const row of kept) counts[column.values[row]]++;
      counts.forEach((count, place) => {
        drawn[place].setAttribute("width", (count / top) * 100);
        told[place].textContent = count.toLocaleString("en");
      });
    };
  }
}

// The bin of each value; 255 where there is none.
function binned(values, { low, step, count }) {
  const places = new Uint8Array(values.length);
  for (let row = 0; row < values.length; row++) {
    const place = Math.floor((values[row] - low) / step);
    places[row] = Number.isNaN(place) ? 255 : Math.min(Math.max(place, 0), count - 1);
  }
  return places;
}

function bars(counts, most, below) {
  let path = "";
  counts.forEach((count, bin) => {
    if (!count) return;
    const height = Math.max(LEAST, units((count / most) * HEIGHT)); // one image of many is seen too
    const foot = units(HEIGHT - (below[bin] / most) * HEIGHT);
    path += `M${bin * WIDTH} ${foot}v-${height}h${BAR}v${height}z`;
  });
  return path;
}

function outline(counts, most) {
  let path = `M0 ${HEIGHT}`;
  for (const count of counts) path += `V${units(HEIGHT - Math.min(1, count / most) * HEIGHT)}h${WIDTH}`;
  return `${path}V${HEIGHT}`;
}

// Without the last digits that a change of unit leaves.
function rounded(value) {
  return Number(value.toPrecision(12));
}

function units(length) {
  return Number(length.toFixed(1));
}
