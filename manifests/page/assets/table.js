// The table: one page of the rows that are kept. Arrow keys walk through it.

const ROWS = 20;

export class Table {
  constructor(rows, pictures, { address, open, sort }) {
    Object.assign(this, { rows, pictures, address, open, sort, page: 0, at: 0 });
    const told = (column) => column.role !== "key" && (column.role === "asked" || column.levels.length > 1);
    this.usual = rows.columns.filter(told);
    this.more = rows.columns.filter((column) => column.role === "measured" && !column.shows);
    this.columns = this.usual;
    this.place = document.getElementById("rows");
    this.build();
    this.offerAll(document.getElementById("columns"));
    const pages = this.pager = document.getElementById("pages");
    pages.addEventListener("click", (event) => this.turn(event.target.dataset?.turn));
    this.buttons = Object.fromEntries([...pages.querySelectorAll("button")].map((b) => [b.dataset.turn, b]));
    this.told = document.getElementById("page");
  }

  // What was measured and not asked for stands in the table only for who wants it.
  offerAll(place) {
    if (!this.more.length) return;
    place.hidden = false;
    place.querySelector("span").textContent = `Show ${this.more.length} more measures`;
    place.querySelector("input").addEventListener("change", (event) => {
      this.columns = event.target.checked ? [...this.usual, ...this.more] : this.usual;
      this.build();
      this.show(this.choice, this.kept);
    });
  }

  build() {
    const table = element("table");
    const head = table.createTHead().insertRow();
    this.heads = new Map();
    for (const column of [this.rows.index, ...this.columns]) {
      const cell = element("th", { scope: "col" });
      const label = column.role === "key" ? "Image" : column.short;
      const found = this.rows.partner(column);
      cell.append(found ? this.pairHead(cell, label, column, found) : this.sorter(cell, label, column));
      cell.classList.toggle("number", !column.levels.length && column.role !== "key");
      head.append(cell);
    }
    this.body = table.createTBody();
    this.body.addEventListener("keydown", (event) => this.walk(event));
    this.body.addEventListener("click", (event) => {
      const link = event.target.closest("tr")?.querySelector("a");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      link.focus();
      this.open(link.textContent);
    });
    this.place.replaceChildren(table);
  }

  // A button in the head of a column that sorts by it.
  sorter(cell, label, column, unit = column.unit) {
    const button = element("button", { type: "button" }, label);
    if (unit) button.append(" ", element("span", { className: "unit" }, unit));
    button.addEventListener("click", () => this.sort(column.name));
    this.heads.set(column.name, { cell, button });
    return button;
  }

  pairHead(cell, label, column, found) {
    const pair = element("span", { className: "pair" });
    const name = element("span", { className: "label" }, label);
    if (column.unit) name.append(" ", element("span", { className: "unit" }, column.unit));
    const asked = this.sorter(cell, "asked", column, "");
    const measured = this.sorter(cell, "measured", found, "");
    for (const [button, of] of [[asked, "asked"], [measured, "measured"]]) button.setAttribute("aria-label", `${label}, ${of}`);
    pair.append(name, asked, measured);
    return pair;
  }

  show(choice, kept) {
    const same = kept.length === this.kept?.length && choice.sort === this.choice.sort;
    if (!same) this.page = this.at = 0;
    Object.assign(this, { choice, kept });
    const way = choice.sort.startsWith("-") ? "descending" : "ascending";
    for (const { cell } of this.heads.values()) cell.setAttribute("aria-sort", "none");
    for (const [name, { cell, button }] of this.heads) {
      const sorted = choice.sort.replace(/^-/, "") === name;
      if (sorted) cell.setAttribute("aria-sort", way);
      button.classList.toggle("sorted-up", sorted && way === "ascending");
      button.classList.toggle("sorted-down", sorted && way === "descending");
    }
    this.draw();
  }

  draw() {
    const first = this.page * ROWS;
    const shown = this.kept.subarray(first, first + ROWS);
    this.body.replaceChildren(...Array.from(shown, (row, place) => this.line(row, place)));
    const full = this.kept.length > ROWS ? ROWS : 0; // the last page is as high as the others
    for (let left = shown.length; left < full; left++) {
      const line = element("tr", { className: "blank" });
      line.append(element("td", { colSpan: this.columns.length + 1 }, "\u00a0"));
      this.body.append(line);
    }
    const last = Math.max(0, Math.ceil(this.kept.length / ROWS) - 1);
    this.told.textContent = `Page ${(this.page + 1).toLocaleString("en")} of ${(last + 1).toLocaleString("en")}`;
    this.buttons.first.disabled = this.buttons.back.disabled = this.page === 0;
    this.buttons.last.disabled = this.buttons.on.disabled = this.page === last;
    this.last = last;
    this.pager.hidden = last === 0;
  }

  line(row, place) {
    const line = element("tr", { className: this.rows.hasImage(row) ? "" : "without" });
    const sample = this.rows.sample(row);
    const link = element("a", { href: this.address(sample), tabIndex: place === this.at ? 0 : -1 });
    const thumb = element("span", { className: "thumb" });
    const picture = this.rows.hasImage(row) ? this.pictures.of(row, "") : null;
    if (picture) thumb.append(picture);
    link.append(thumb, sample);
    const key = element("th", { scope: "row" });
    key.append(link);
    line.append(key);
    for (const column of this.columns) {
      const found = this.rows.partner(column);
      const cell = element("td", {}, found ? "" : this.rows.text(column, row));
      if (found) cell.append(this.pair(column, found, row));
      cell.classList.toggle("number", !column.levels.length);
      line.append(cell);
    }
    return line;
  }

  // What was asked and what was measured, side by side.
  pair(column, found, row) {
    const pair = element("span", { className: "pair" });
    pair.append(
      element("span", {}, this.rows.text(column, row)),
      element("span", { className: "measured-value" }, this.rows.text(found, row)),
    );
    return pair;
  }

  turn(where) {
    const pages = { first: 0, back: this.page - 1, on: this.page + 1, last: this.last };
    if (!(where in pages)) return false;
    const page = Math.min(Math.max(pages[where], 0), this.last);
    if (page === this.page) return false;
    this.page = page;
    this.at = 0;
    this.draw();
    return true;
  }

  walk(event) {
    const links = [...this.body.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement);
    if (at < 0) return;
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 };
    let to = steps[event.key];
    if (event.key === "PageDown" || (event.key === "ArrowDown" && to === links.length)) {
      to = this.turn("on") ? 0 : links.length - 1;
    } else if (event.key === "PageUp" || to === -1) {
      to = this.turn("back") ? (event.key === "PageUp" ? 0 : ROWS - 1) : 0;
    }
    if (to === undefined) return;
    event.preventDefault();
    this.focus(to);
  }

  focus(place) {
    const links = [...this.body.querySelectorAll("a")];
    this.at = place;
    links.forEach((link, at) => { link.tabIndex = at === place ? 0 : -1; });
    links[place].focus();
  }
}

function element(name, properties = {}, text = "") {
  const made = Object.assign(document.createElement(name), properties);
  if (text) made.textContent = text;
  return made;
}
