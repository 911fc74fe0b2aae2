// The table: one page of the rows that are kept. Arrow keys walk through it.

const ROWS = 20;

export class Table {
  constructor(rows, { address, open, sort }) {
    Object.assign(this, { rows, address, open, sort, page: 0, at: 0 });
    this.columns = rows.columns.filter(
      (column) => column.role === "asked" || column.role === "measured" || column.levels.length > 1,
    );
    this.build(document.getElementById("rows"));
    const pages = document.getElementById("pages");
    pages.addEventListener("click", (event) => this.turn(event.target.dataset?.turn));
    this.buttons = Object.fromEntries([...pages.querySelectorAll("button")].map((b) => [b.dataset.turn, b]));
    this.told = document.getElementById("page");
  }

  build(place) {
    const table = element("table");
    const head = table.createTHead().insertRow();
    this.heads = new Map();
    for (const column of [this.rows.index, ...this.columns]) {
      const cell = element("th", { scope: "col" });
      const label = column.role === "key" ? "Image" : column.label;
      const button = element("button", { type: "button" }, label);
      if (column.unit) button.append(" ", element("span", { className: "unit" }, column.unit));
      button.addEventListener("click", () => this.sort(column.name));
      cell.append(button);
      cell.classList.toggle("number", !column.levels.length && column.role !== "key");
      head.append(cell);
      this.heads.set(column.name, cell);
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
    place.replaceChildren(table);
  }

  show(choice, kept) {
    const same = kept.length === this.kept?.length && choice.sort === this.choice.sort;
    if (!same) this.page = this.at = 0;
    Object.assign(this, { choice, kept });
    for (const [name, cell] of this.heads) {
      const sorted = choice.sort.replace(/^-/, "") === name;
      const way = choice.sort.startsWith("-") ? "descending" : "ascending";
      cell.setAttribute("aria-sort", sorted ? way : "none");
    }
    this.draw();
  }

  draw() {
    const first = this.page * ROWS;
    const shown = this.kept.subarray(first, first + ROWS);
    this.body.replaceChildren(...Array.from(shown, (row, place) => this.line(row, place)));
    for (let left = shown.length; left < ROWS; left++) {
      const line = element("tr", { className: "blank" });
      line.append(element("td", { colSpan: this.columns.length + 1 }, "\u00a0"));
      this.body.append(line);
    }
    const last = Math.max(0, Math.ceil(this.kept.length / ROWS) - 1);
    this.told.textContent = `Page ${(this.page + 1).toLocaleString("en")} of ${(last + 1).toLocaleString("en")}`;
    this.buttons.first.disabled = this.buttons.back.disabled = this.page === 0;
    this.buttons.last.disabled = this.buttons.on.disabled = this.page === last;
    this.last = last;
  }

  line(row, place) {
    const line = element("tr", { className: this.rows.hasImage(row) ? "" : "without" });
    const sample = this.rows.sample(row);
    const link = element("a", { href: this.address(sample), tabIndex: place === this.at ? 0 : -1 }, sample);
    const key = element("th", { scope: "row" });
    key.append(link);
    line.append(key);
    for (const column of this.columns) {
      const cell = element("td", {}, this.rows.text(column, row));
      cell.classList.toggle("number", !column.levels.length);
      line.append(cell);
    }
    return line;
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
