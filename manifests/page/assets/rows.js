// The manifest's columns as typed arrays, and the rows of them that a choice keeps.

const TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f8: Float64Array };
const brief = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });

export async function loadRows(address) {
  const about = await (await fetched(address)).json();
  const data = await (await fetched(about.data)).arrayBuffer();
  return new Rows(about, data);
}

async function fetched(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address.split("?")[0]}: ${answer.status}`);
  return answer;
}

export class Rows {
  constructor(about, data) {
    this.count = about.rows;
    this.columns = about.columns.map((column) => ({
      ...column, values: decoded(column.stored, data, about.rows),
    }));
    this.byName = new Map(this.columns.map((column) => [column.name, column]));
    this.groups = this.byName.get(about.groups) ?? null;
    this.index = this.byName.get("index");
    this.pictured = about.pictured;
    for (const column of this.columns) {
      const { decimals } = column;
      column.format = new Intl.NumberFormat("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
    }
    this.orders = new Map();
    this.suffixes = about.suffixes ?? ["T1w"];
    // What the numbers in label maps mean; null of a release that has none.
    this.regions = about.regions ? new Map(about.regions.map((region) => [region.number, region])) : null;
  }

  // Where the label map of a row's image lies; null where it can have none.
  labels(row) {
    const sample = this.sample(row);
    if (!this.regions || !this.image(row).endsWith("_T1w.nii.gz")) return null;
    return `derivatives/segmentation/${sample}/anat/${sample}_desc-regions_dseg.nii.gz`;
  }

  // The key of a row's sample; image files are named by it.
  sample(row) {
    return `sub-${String(this.index.values[row]).padStart(6, "0")}`;
  }

  // Where a row's image lies; of several contrasts, modality tells which it is.
  image(row) {
    const [suffix] = this.suffixes.length > 1 ? [this.text(this.byName.get("modality"), row)] : this.suffixes;
    return `${this.sample(row)}/anat/${this.sample(row)}_${suffix}.nii.gz`;
  }

  // The row of a sample; -1 where there is none. The index ascends.
  rowOf(sample) {
    return this.rowOfIndex(/^sub-\d{6,15}$/.test(sample) ? Number(sample.slice(4)) : NaN);
  }

  rowOfIndex(wanted) {
    let low = 0, high = this.count - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const found = this.index.values[middle];
      if (found === wanted) return middle;
      if (found < wanted) low = middle + 1; else high = middle - 1;
    }
    return -1;
  }

  hasImage(row) {
    return this.text(this.byName.get("status"), row) === "ok";
  }

  // A value as people read it.
  text(column, row) {
    const value = column.values[row];
    if (Number.isNaN(value)) return "–";
    return column.levels.length ? column.levels[value] : column.format.format(value / column.per);
  }

  // What was measured of what a column asks; undefined where nothing was.
  partner(column) {
    return this.columns.find((other) => other.shows === column.name);
  }

  // Two covariates at most, as manifests/page/html.py has them: "F · 61 years".
  caption(row) {
    const told = [];
    for (const column of this.columns) {
      const value = column.values[row];
      if (column.role !== "asked" || Number.isNaN(value)) continue;
      told.push(column.levels.length ? column.levels[value].slice(0, 40)
        : `${brief.format(value / column.per)}${column.unit && ` ${column.unit}`}`);
    }
    return told.slice(0, 2).join(" · ") || this.sample(row).slice(4);
  }

  // Rows in the order of the first covariate that is a number.
  hung(rows) {
    const values = this.columns.find((column) => column.role === "asked" && !column.levels.length)?.values;
    return rows.sort((a, b) => (values ? values[a] - values[b] : 0) || a - b);
  }

  // The rows that satisfy a choice, in its order.
  kept(choice) {
    let rows = this.order(choice.sort);
    for (const test of this.tests(choice)) rows = rows.filter(test);
    return rows;
  }

  // Whether a row satisfies a choice.
  test(choice) {
    const tests = this.tests(choice);
    return (row) => tests.every((test) => test(row));
  }

  tests(choice) {
    const tests = [];
    for (const [name, [low, high]] of choice.ranges) {
      const { values } = this.byName.get(name);
      tests.push((row) => values[row] >= (low ?? -Infinity) && values[row] <= (high ?? Infinity));
    }
    for (const [name, places] of choice.levels) {
      const { values } = this.byName.get(name);
      const chosen = new Uint8Array(this.byName.get(name).levels.length);
      for (const place of places) chosen[place] = 1;
      tests.push((row) => chosen[values[row]] === 1);
    }
    if (choice.find) tests.push((row) => this.sample(row).includes(choice.find));
    return tests;
  }

  // All rows in the order of a column, "-name" for the greatest first; rows without a value last.
  order(sort) {
    if (!this.orders.has(sort)) this.orders.set(sort, this.sorted(sort));
    return this.orders.get(sort);
  }

  sorted(sort) {
    const rows = Uint32Array.from({ length: this.count }, (_, row) => row);
    if (sort === "index") return rows;
    const { values } = this.byName.get(sort.replace(/^-/, ""));
    const known = rows.filter((row) => !Number.isNaN(values[row]));
    known.sort(sort.startsWith("-") ? (a, b) => values[b] - values[a] : (a, b) => values[a] - values[b]);
    const unknown = rows.filter((row) => Number.isNaN(values[row]));
    rows.set(known);
    rows.set(unknown, known.length);
    return rows;
  }
}

// The numbers of a column, see manifests/page/columns.py.
function decoded(stored, data, count) {
  const values = new Float64Array(count);
  const scale = 10 ** (stored.decimals ?? 0);
  if (stored.type === "range") {
    for (let row = 0; row < count; row++) values[row] = (stored.least + row) / scale;
    return values;
  }
  const codes = new TYPES[stored.type](data, stored.offset, count);
  if (stored.type === "f8") return codes;
  for (let row = 0; row < count; row++) {
    values[row] = codes[row] === 0 ? NaN : (codes[row] - 1 + stored.least) / scale;
  }
  return values;
}
