// The figures above the table: they show how what is kept is spread, and choose what is kept.
// The paths are those of manifests/page/figures.py.

const WIDTH = 10, HEIGHT = 100, BAR = 9;

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
    const { low, step, count } = column.bins;
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
    const written = (field) => (field.value === "" ? null : Number(field.value));
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
        if (field !== document.activeElement) field.value = value ?? "";
      }
      const counts = parts.map(() => new Uint32Array(count));
      const totals = new Uint32Array(count);
      for (const row of kept) {
        const bin = place[row];
        if (bin === 255) continue;
        totals[bin]++;
        const group = groups ? groups.values[row] : 0;
        if (counts[group]) counts[group][bin]++;
      }
      const greatest = Math.max(1, ...totals);
      const below = new Uint32Array(count);
      parts.forEach((path, group) => {
        path.setAttribute("d", bars(counts[group], greatest, below));
        counts[group].forEach((more, bin) => { below[bin] += more; });
      });
      if (line) {
        const found = new Uint32Array(count);
        for (const row of kept) if (placeMeasured[row] !== 255) found[placeMeasured[row]]++;
        line.setAttribute("d", outline(found, greatest));
      }
    };
  }

  levels(panel, column) {
    const boxes = [...panel.querySelectorAll("input")];
    boxes.forEach((box, place) => box.addEventListener("change", () => {
      this.change(this.choice.withLevel(column.name, place, box.checked));
    }));
    const drawn = [...panel.querySelectorAll("rect.part")];
    const told = [...panel.querySelectorAll(".count")];
    return (kept) => {
      const chosen = this.choice.levels.get(column.name);
      boxes.forEach((box, place) => { box.checked = chosen?.has(place) ?? false; });
      const counts = new Uint32Array(boxes.length);
      for (const row of kept) counts[column.values[row]]++;
      const greatest = Math.max(1, ...counts);
      counts.forEach((count, place) => {
        drawn[place].setAttribute("width", (count / greatest) * 100);
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
    const height = units((count / most) * HEIGHT);
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

function units(length) {
  return Number(length.toFixed(1));
}
