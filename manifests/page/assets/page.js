// The page: one state (the filter, the order, the sample that is open), kept in the address.

import { Choice } from "./choice.js";
import { showCommands, showDigest } from "./commands.js";
import { Figures } from "./figures.js";
import { Mosaic } from "./mosaic.js";
import { Pictures } from "./pictures.js";
import { loadRows } from "./rows.js";
import { Table } from "./table.js";
import { Viewer } from "./viewer.js";

const explore = document.getElementById("explore");
const found = document.getElementById("found");
const find = document.getElementById("find");
const clear = document.getElementById("clear");

showCommands("");
showDigest();
try {
  start(await loadRows(explore.dataset.columns));
} catch (error) {
  found.textContent = `The table cannot be loaded (${error.message}). Is the page complete?`;
}

function start(rows) {
  let choice = Choice.read(location.hash, rows);
  let kept = new Uint32Array(0);
  let shown = null; // the address of what is shown, without the sample
  let waiting = false;

  const figures = new Figures(rows, change);
  const pictures = new Pictures(rows);
  const mosaic = new Mosaic(rows, pictures, address);
  const table = new Table(rows, pictures, { address, open, sort });
  const viewer = new Viewer(rows, { open, close, neighbour });

  for (const part of document.querySelectorAll("#explore .tools, #rows")) part.hidden = false;
  find.addEventListener("input", () => change({ find: find.value }));
  clear.addEventListener("click", () => { change(choice.cleared()); find.focus(); });
  addEventListener("popstate", followAddress);
  addEventListener("hashchange", followAddress);
  for (const place of document.querySelectorAll(".hero, .mosaic")) place.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-sample]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open(link.dataset.sample);
  });
  followAddress();
  performance.mark("ready");

  // A change of the filter by hand: into the address, without a step to go back to.
  function change(part) {
    choice = choice.with(part);
    history.replaceState(history.state, "", address(choice.sample));
    later();
  }

  function sort(name) {
    change({ sort: choice.sort === name ? `-${name}` : name });
  }

  function open(sample) {
    history.pushState({ opened: true }, "", address(sample));
    followAddress();
  }

  function close() {
    if (history.state?.opened) { history.back(); return; }
    history.replaceState(null, "", address(null));
    followAddress();
  }

  // The sample that stands so many places on among those kept, or null.
  function neighbour(sample, step) {
    const place = kept.indexOf(rows.rowOf(sample));
    const row = place < 0 ? undefined : kept[place + step];
    return row === undefined ? null : rows.sample(row);
  }

  function address(sample) {
    return choice.with({ sample }).address();
  }

  function followAddress() {
    if (shown !== null && /^#[a-z]+$/.test(location.hash)) return; // a place on the page
    choice = Choice.read(location.hash, rows);
    if (find.value !== choice.find) find.value = choice.find;
    if (address(null) !== shown) show(); // else the row that was chosen keeps the focus
    viewer.show(choice.sample);
  }

  // At most once a frame, however fast a thumb moves.
  function later() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; show(); });
  }

  function show() {
    const started = performance.now();
    shown = address(null);
    kept = rows.kept(choice);
    performance.measure("filter", { start: started, end: performance.now() });
    figures.show(choice, kept);
    mosaic.show(choice, kept);
    table.show(choice, kept);
    const all = rows.count.toLocaleString("en");
    found.textContent = kept.length === rows.count ? `${all} samples`
      : `${kept.length.toLocaleString("en")} of ${all} samples`;
    clear.disabled = !choice.narrows();
    showCommands(choice.where());
    performance.measure("show", { start: started, end: performance.now() });
  }
}
