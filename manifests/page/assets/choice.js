// What a reader has chosen: ranges, levels, a text to find, an order, a sample to look at.
// It is written in the address, and as a filter of `brainpress ... --where`.

const NONE = { ranges: new Map(), levels: new Map(), find: "", sort: "index", sample: null };
const PREFIX = "where."; // a column may be called "sort"

export class Choice {
  constructor(parts, rows) {
    Object.assign(this, NONE, parts);
    this.rows = rows;
  }

  static read(hash, rows) {
    const parts = { ranges: new Map(), levels: new Map() };
    const words = new URLSearchParams(hash.replace(/^#/, ""));
    for (const name of new Set(words.keys())) {
      const column = name.startsWith(PREFIX) && rows.byName.get(name.slice(PREFIX.length));
      if (!column) continue;
      if (column.levels.length) {
        const places = words.getAll(name).map((level) => column.levels.indexOf(level));
        const known = new Set(places.filter((place) => place >= 0));
        if (known.size) parts.levels.set(column.name, known);
      } else {
        const [low, high] = words.get(name).split("..").map(asNumber);
        if (low !== null || high != null) parts.ranges.set(column.name, [low, high ?? null]);
      }
    }
    parts.find = searched(words.get("find") ?? "");
    const sort = words.get("sort") ?? "index";
    parts.sort = rows.byName.has(sort.replace(/^-/, "")) ? sort : "index";
    parts.sample = words.get("sample");
    return new Choice(parts, rows);
  }

  with(part) {
    if ("find" in part) part = { ...part, find: searched(part.find) };
    const { ranges, levels, find, sort, sample } = this;
    return new Choice({ ranges, levels, find, sort, sample, ...part }, this.rows);
  }

  // With another range of a column; null is no end.
  withRange(name, low, high) {
    const ranges = new Map(this.ranges);
    if (low === null && high === null) ranges.delete(name); else ranges.set(name, [low, high]);
    return { ranges };
  }

  // With a level chosen, or chosen no more; where none is chosen, all are kept.
  withLevel(name, place, chosen) {
    const levels = new Map(this.levels);
    const places = new Set(levels.get(name));
    if (chosen) places.add(place); else places.delete(place);
    if (places.size) levels.set(name, places); else levels.delete(name);
    return { levels };
  }

  cleared() {
    return { ranges: new Map(), levels: new Map(), find: "" };
  }

  narrows() {
    return this.ranges.size > 0 || this.levels.size > 0 || this.find !== "";
  }

  address() {
    const words = new URLSearchParams();
    if (this.sample) words.set("sample", this.sample);
    for (const [name, [low, high]] of this.ranges) words.set(PREFIX + name, `${low ?? ""}..${high ?? ""}`);
    for (const [name, places] of this.levels) {
      for (const place of places) words.append(PREFIX + name, this.rows.byName.get(name).levels[place]);
    }
    if (this.find) words.set("find", this.find);
    if (this.sort !== "index") words.set("sort", this.sort);
    return `#${words}` === "#" ? location.pathname + location.search : `#${words}`;
  }

  // The filter in the language of --where; "" where nothing is left out.
  where() {
    const terms = [];
    for (const [name, [low, high]] of this.ranges) {
      if (low !== null) terms.push(`${name} >= ${low}`);
      if (high !== null) terms.push(`${name} <= ${high}`);
    }
    for (const [name, places] of this.levels) {
      const column = this.rows.byName.get(name);
      const bare = name === "extrapolated";
      const words = [...places].sort((a, b) => a - b).map((place) => column.levels[place])
        .map((level) => (bare ? level : `'${level.replaceAll("'", "''")}'`));
      terms.push(words.length === 1 ? `${name} = ${words[0]}`
        : bare ? words.map((word) => `${name} = ${word}`).join(" or ").replace(/^(.*)$/, "($1)")
        : `${name} in (${words.join(", ")})`);
    }
    if (this.find) terms.push(`participant_id like '%${this.find}%'`);
    return terms.join(" and ");
  }
}

function asNumber(text) {
  const value = text.trim() === "" ? NaN : Number(text);
  return Number.isFinite(value) ? value : null;
}

// What can stand in a participant's key.
function searched(text) {
  return text.toLowerCase().replace(/[^a-z0-9-]/g, "").slice(0, 40);
}
