// The mosaic: some of the images that are kept, in full rows.

const MOST = 24;

export class Mosaic {
  constructor(rows, pictures, address) {
    Object.assign(this, { rows, pictures, address });
    this.place = document.getElementById("mosaic");
    this.told = document.getElementById("mosaic-told");
    this.pictured = Uint32Array.from(rows.pictured.indices, (index) => rows.rowOfIndex(index));
    this.shown = this.place.querySelectorAll("a").length ? this.first() : "";
    addEventListener("resize", () => this.lay());
    this.lay();
  }

  // What the page came with.
  first() {
    return [...this.place.querySelectorAll("a")].map((link) => link.dataset.sample).join();
  }

  show(choice, kept) {
    const chosen = this.chosen(choice, kept);
    const key = chosen.map((row) => this.rows.sample(row)).join();
    const all = kept.length === this.rows.count;
    this.told.textContent = chosen.length < kept.length ? `${chosen.length} of ${kept.length.toLocaleString("en")}, evenly chosen`
      : all ? "All of them" : "All that match";
    if (key !== this.shown) {
      this.shown = key;
      this.place.replaceChildren(...chosen.map((row) => this.tile(row)));
      if (!chosen.length) this.place.append(element("li", { className: "none" }, this.none(kept)));
      this.lay();
    }
  }

  none(kept) {
    return kept.length ? "None of the pictures match. The table opens each image." : "No image matches.";
  }

  // Evenly among those kept; first those whose picture lies beside the page.
  chosen(choice, kept) {
    const keeps = this.rows.test(choice);
    const chosen = evenly(this.pictured.filter(keeps), MOST);
    const within = new Set(chosen);
    if (this.rows.pictured.drawn) {
      for (const row of evenly(kept, 2 * MOST)) {
        if (within.size === MOST) break;
        if (!within.has(row) && this.pictures.has(row)) within.add(row);
      }
    }
    return this.rows.hung([...within]);
  }

  tile(row) {
    const sample = this.rows.sample(row);
    const link = element("a", { href: this.address(sample) });
    link.dataset.sample = sample;
    link.append(this.pictures.of(row, `Axial slice of ${sample}`), element("span", {}, this.rows.caption(row)));
    const item = element("li");
    item.append(link);
    return item;
  }

  // As many columns as fill every row, where there is such a number; else the last one is centred.
  lay() {
    const count = this.place.querySelectorAll("a").length;
    const most = innerWidth > 1152 ? 8 : innerWidth > 736 ? 6 : 4;
    let columns = Math.min(most, Math.max(count, 1));
    for (let n = columns; n >= Math.ceil(most / 2); n--) if (count % n === 0) { columns = n; break; }
    this.place.style.setProperty("--columns", columns);
  }
}

function evenly(things, most) {
  if (things.length <= most) return [...things];
  return Array.from({ length: most }, (_, place) => things[Math.round((place * (things.length - 1)) / (most - 1))]);
}

function element(name, properties = {}, text = "") {
  const made = Object.assign(document.createElement(name), properties);
  if (text) made.textContent = text;
  return made;
}
